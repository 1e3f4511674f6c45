"""Promises of `bark_stream.int8_layers`: nearly the float model, and nobody's result depends on company."""

from __future__ import annotations

import pytest
import torch

from bark_stream.bark import Bark
from bark_stream.checkpoint import Checkpoint, build_models, random_checkpoint
from bark_stream.config import TransformerConfig
from bark_stream.int8_layers import Int8Layers
from bark_stream.kv_cache import KVCache
from bark_stream.transformer import CausalGPT, Span

CONFIG = TransformerConfig(
    num_layers=3, num_heads=2, hidden_size=64, block_size=24, input_vocab_size=50, output_vocab_size=40, bias=True
)


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return random_checkpoint("tiny", seed=6)


def models() -> tuple[CausalGPT, CausalGPT]:
    """The same weights in float32 and in int8."""
    torch.manual_seed(0)
    model, twin = CausalGPT(CONFIG).eval().requires_grad_(False), CausalGPT(CONFIG).eval().requires_grad_(False)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.15)
    twin.load_state_dict(model.state_dict())
    twin.layers = Int8Layers(CONFIG, model.state_dict(), num_threads=1)
    return model, twin


MODEL, TWIN = models()
TOKENS = torch.randint(0, 50, (3, 20), generator=torch.Generator().manual_seed(1))


def last_hidden(model: CausalGPT, tokens: torch.Tensor) -> torch.Tensor:
    cache = KVCache(CONFIG, 1)
    return model.step(model.embed(tokens), [Span(cache.acquire(), len(tokens))], cache)[0]


def error(actual: torch.Tensor, expected: torch.Tensor) -> float:
    return float((actual - expected).norm() / expected.norm())


def test_int8_layers_are_close_to_float32() -> None:
    """Hidden states and logits are a few percent from the float model's: 8 bits, no more lost than that."""
    hidden, twin = last_hidden(MODEL, TOKENS[0]), last_hidden(TWIN, TOKENS[0])
    assert error(twin, hidden) < 0.05
    rows = slice(10, 40)
    assert error(TWIN.logits(hidden[None], rows), MODEL.logits(hidden[None], rows)) < 0.02


def test_int8_layers_keep_extreme_levels() -> None:
    """The largest weights and activations do not overflow, whatever the processor adds them up in."""
    model = CausalGPT(CONFIG)
    head = torch.full_like(model.lm_head.weight, 3.0)
    logits = TWIN.layers.logits(torch.full((1, 64), 2.0), head, slice(0, 40)) if TWIN.layers else None
    torch.testing.assert_close(logits, torch.full((1, 40), 384.0), rtol=1e-3, atol=0)


def test_int8_layers_rows_do_not_depend_on_company() -> None:
    """A decode step in a batch, beside much louder ones and a prefill, equals the same step alone, bit for bit."""

    def decode(spans: list[int]) -> torch.Tensor:
        cache = KVCache(CONFIG, 3)
        slots = [cache.acquire() for _ in range(3)]
        TWIN.step(TWIN.embed(TOKENS[0, :7]), [Span(slots[0], 7)], cache)
        embeddings = [TWIN.embed(TOKENS[0, 7:8]), 50 * TWIN.embed(TOKENS[1, :1]), TWIN.embed(TOKENS[2, :6])]
        lengths = [1, 1, 6]
        packed = torch.cat([embeddings[i] for i in spans])
        return TWIN.step(packed, [Span(slots[i], lengths[i]) for i in spans], cache)[0]

    assert torch.equal(decode([0, 1, 2]), decode([0]))


def test_int8_model_keeps_no_float_layers(checkpoint: Checkpoint) -> None:
    """An int8 model holds its tables and head, and not a second copy of its layers."""
    names = build_models(checkpoint, "int8").coarse.state_dict().keys()
    assert set(names) == {"transformer.wte.weight", "transformer.wpe.weight", "lm_head.weight"}


@pytest.mark.parametrize("precision", ["int8", "bfloat16"])
def test_bark_speaks_in_every_precision(checkpoint: Checkpoint, precision: str) -> None:
    """Less precise models speak too, the same again for the same seed."""
    bark = Bark(checkpoint, precision="int8" if precision == "int8" else "bfloat16")
    speech = bark.synthesize("One.", voice="en_speaker_0", max_s=0.6)
    assert speech.audio_s > 0.3
    again = bark.synthesize("One.", voice="en_speaker_0", max_s=0.6)
    assert (speech.pcm == again.pcm).all()
