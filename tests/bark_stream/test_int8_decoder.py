"""Promises of `bark_stream.int8_decoder`: nearly the float model, and nobody's result depends on company."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bark_stream.bark import Bark
from bark_stream.checkpoint import Checkpoint, build_models, random_checkpoint
from bark_stream.config import TransformerConfig
from bark_stream.int8_decoder import Int8Decoder
from bark_stream.int8_matrix import Int8Matrix
from bark_stream.kv_cache import KVCache
from bark_stream.onnx_graph import Graph
from bark_stream.transformer import CausalGPT, Gaze, Span

CONFIG = TransformerConfig(
    num_layers=3, num_heads=2, hidden_size=64, block_size=24, input_vocab_size=50, output_vocab_size=40, bias=True
)
ROWS = slice(10, 40)
LOUD = 49
"""A token whose embedding is fifty times as large as the others."""
Floats = NDArray[np.float32]


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return random_checkpoint("tiny", seed=6)


def models() -> tuple[CausalGPT, CausalGPT]:
    """The same weights in float32 and as a graph in int8."""
    torch.manual_seed(0)
    model, twin = (CausalGPT(CONFIG, ROWS).eval().requires_grad_(False) for _ in range(2))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.15)
    model.transformer["wte"].weight[LOUD] *= 50
    twin.load_state_dict(model.state_dict())
    twin.graph = Int8Decoder(
        CONFIG, model.state_dict(), ROWS, watched_layers=frozenset([1]), activation_bits=8, num_threads=1
    )
    return model, twin


MODEL, TWIN = models()
TOKENS = torch.randint(0, LOUD, (3, 24), generator=torch.Generator().manual_seed(1))


def decode(model: CausalGPT, cache: KVCache, slot: int, tokens: torch.Tensor, gaze: Gaze | None = None) -> Floats:
    """Logits [R] after these tokens."""
    logits: Floats = model.decode(tokens.tolist(), [Span(slot, len(tokens))], cache, gaze)[0]
    return logits


def error(actual: Floats, expected: Floats) -> float:
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize("pieces", [(20,), (1,) * 20, (7, 1, 1, 11)])
def test_decode_is_close_to_float32(pieces: tuple[int, ...]) -> None:
    """Logits are a few percent from the float model's, in one piece, position by position, and mixed."""
    expected = decode(MODEL, KVCache(CONFIG, 1), 0, TOKENS[0, :20])
    cache, first = KVCache(CONFIG, 1), 0
    for num in pieces:
        logits = decode(TWIN, cache, 0, TOKENS[0, first : first + num])
        first += num
    assert error(logits, expected) < 0.06
    assert cache.lengths[0] == 20


def test_decode_company_changes_nothing() -> None:
    """A stream's step beside others, one of them with far larger values and a prefill, equals the same step alone, bit
    for bit, wherever their slots lie."""

    def step(slots: list[int]) -> Floats:
        cache = KVCache(CONFIG, 4)
        decode(TWIN, cache, slots[0], TOKENS[0, :7])
        chosen = list(zip(slots, [TOKENS[0, 7:8].tolist(), [LOUD], TOKENS[2, :6].tolist()], strict=False))
        spans = [Span(slot, len(tokens)) for slot, tokens in chosen]
        logits: Floats = TWIN.decode([token for _, tokens in chosen for token in tokens], spans, cache)[0]
        return logits

    alone = step([0])
    for slots in ([0, 1, 2], [1, 0, 3], [2, 0, 1], [3]):
        assert np.array_equal(step(slots), alone)


def test_decode_leaves_other_slots_alone() -> None:
    """A step writes the new positions of its own slots and nothing else."""
    cache = KVCache(CONFIG, 4)
    for slot in range(4):
        decode(TWIN, cache, slot, TOKENS[0, : 5 + slot])
    before = cache.keys.clone()
    TWIN.decode(TOKENS[0, :2].tolist(), [Span(1, 1), Span(2, 1)], cache)
    changed = (cache.keys != before).any(-1).any(2).any(0)  # [slots, positions]
    assert changed.nonzero().tolist() == [[1, 6], [2, 7]]


def test_decode_laid_over_and_next_in_one_step() -> None:
    """Positions laid over and a token behind them, both of one slot: the token sees what was just laid."""
    cache, expected = KVCache(CONFIG, 2), KVCache(CONFIG, 2)
    decode(TWIN, cache, 1, TOKENS[0, :8])
    both = torch.cat([TOKENS[1, 2:4], TOKENS[2, :1]])
    logits = TWIN.decode(both.tolist(), [Span(1, 2, 2), Span(1, 1)], cache)[1]
    decode(TWIN, expected, 1, TOKENS[0, :8])
    TWIN.decode(TOKENS[1, 2:4].tolist(), [Span(1, 2, 2)], expected)
    assert np.array_equal(logits, decode(TWIN, expected, 1, TOKENS[2, :1]))
    assert cache.lengths[1] == 9


def test_decode_fills_the_window() -> None:
    """The last position of a slot can be used."""
    cache = KVCache(CONFIG, 1)
    decode(TWIN, cache, 0, TOKENS[0, :23])
    logits = decode(TWIN, cache, 0, TOKENS[0, 23:])
    assert error(logits, decode(MODEL, KVCache(CONFIG, 1), 0, TOKENS[0])) < 0.06


def test_decode_gaze_is_that_of_float32() -> None:
    """Watched heads look where they look in the float model."""
    looks = []
    for model in (MODEL, TWIN):
        cache, gaze = KVCache(CONFIG, 3), Gaze(((1, 0),), {2: 5})
        decode(model, cache, 2, TOKENS[0, :9])
        decode(model, cache, 1, TOKENS[1, :4])
        model.decode(TOKENS[2, :2].tolist(), [Span(2, 1), Span(1, 1)], cache, gaze)
        assert set(gaze.weights) == {2}
        looks.append(gaze.weights[2])
    torch.testing.assert_close(looks[1], looks[0], atol=0.02, rtol=0)


@pytest.mark.parametrize("model", [MODEL, TWIN])
def test_decode_sums_embeddings(model: CausalGPT) -> None:
    """A position of two tokens has the sum of their embeddings: the same whichever is named first."""
    cache = KVCache(CONFIG, 2)
    one = model.decode([3, 7, 5], [Span(0, 3)], cache, summed=[(1, 11), (2, 13)])
    other = model.decode([3, 11, 13], [Span(1, 3)], cache, summed=[(1, 7), (2, 5)])
    assert np.array_equal(one, other)
    assert not np.array_equal(one, decode(model, KVCache(CONFIG, 1), 0, torch.tensor([3, 7, 5]))[None])


@pytest.mark.parametrize("bits", [7, 8])
def test_linear_keeps_extreme_levels(bits: Literal[7, 8]) -> None:
    """The largest weights and activations do not overflow, whatever the processor adds them up in."""
    graph = Graph(activation_bits=bits)
    x = graph.input("x", ("rows", 64))
    graph.output(graph.linear(x, Int8Matrix.from_float(torch.full((16, 64), 3.0))), "y")
    (y,) = graph.open(num_threads=1).run(None, {"x": np.full((1, 64), 2.0, np.float32)})
    np.testing.assert_allclose(y, 64 * 6.0, rtol=1e-3)


def test_int8_model_keeps_no_float_layers(checkpoint: Checkpoint) -> None:
    """Beside its graph and tables, an int8 model holds no second copy of anything."""
    assert not build_models(checkpoint, "int8").coarse.state_dict()


@pytest.mark.parametrize("precision", ["int8", "bfloat16"])
def test_bark_speaks_in_every_precision(checkpoint: Checkpoint, precision: str) -> None:
    """Less precise models speak too, the same again for the same seed."""
    bark = Bark(checkpoint, precision="int8" if precision == "int8" else "bfloat16")
    speech = bark.synthesize("One.", voice="en_speaker_0", max_s=0.6)
    assert speech.audio_s > 0.3
    again = bark.synthesize("One.", voice="en_speaker_0", max_s=0.6)
    assert (speech.pcm == again.pcm).all()
