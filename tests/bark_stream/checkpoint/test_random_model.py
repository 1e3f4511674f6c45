"""Random models, and the sizes of the published ones."""

from __future__ import annotations

import pytest
import torch
from tokenizers import Tokenizer
from torch import nn

from bark_stream.checkpoint import Checkpoint, build_models, random_checkpoint
from bark_stream.checkpoint.bark_numbers import (
    BLOCK_SIZE,
    COARSE_VOCAB_SIZES,
    FINE_VOCAB_SIZES,
    SEMANTIC_VOCAB_SIZES,
    bark_config,
)
from bark_stream.checkpoint.models import NoInitialisation, new_fine_model
from bark_stream.codec import build_network
from bark_stream.config import TransformerConfig
from bark_stream.transformer import CausalGPT

PARTS = ("semantic", "coarse", "fine", "codec")


def test_random_model_of_a_seed_is_always_the_same(tiny_checkpoint: Checkpoint) -> None:
    """A seed fixes every weight and the voice; another seed changes them."""
    again, other = random_checkpoint("tiny", seed=0), random_checkpoint("tiny", seed=1)
    for part in PARTS:
        mine, same, different = (getattr(checkpoint, part) for checkpoint in (tiny_checkpoint, again, other))
        assert all(torch.equal(mine[name], same[name]) for name in mine)
        assert not all(torch.equal(mine[name], different[name]) for name in mine)
    assert again.voices.get("en_speaker_0") == tiny_checkpoint.voices.get("en_speaker_0")
    assert other.voices.get("en_speaker_0") != tiny_checkpoint.voices.get("en_speaker_0")


def test_random_model_takes_lively_tokens(tiny_checkpoint: Checkpoint) -> None:
    """The most likely token changes from position to position, or tests of tokens would test nothing."""
    model = build_models(tiny_checkpoint).semantic
    with torch.inference_mode():
        hidden = model(model.embed(torch.arange(100)[None]))
        tokens = model.logits(hidden, slice(0, 100)).argmax(-1)
    assert len(set(tokens.flatten().tolist())) > 30


def test_random_model_has_a_token_for_every_character(tiny_checkpoint: Checkpoint) -> None:
    """Text goes character by character; what is not known has a token of its own."""
    tokenizer = Tokenizer.from_str(tiny_checkpoint.tokenizer)
    assert len(set(tokenizer.encode("aA. ♪\n").ids)) == 6
    assert tokenizer.encode("日本").ids == [0, 0]


def num_values(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("sizes", "semantic", "coarse", "fine"),
    [((12, 12, 768), 192_989_952, 104_319_744, 92_247_552), ((24, 16, 1024), 446_088_192, 327_861_248, 311_789_568)],
)
def test_published_sizes_have_the_published_number_of_weights(
    sizes: tuple[int, int, int], semantic: int, coarse: int, fine: int
) -> None:
    """Both published Barks have exactly as many weights here as in their files."""

    def transformer(vocab_sizes: tuple[int, int]) -> TransformerConfig:
        return TransformerConfig(
            num_layers=sizes[0],
            num_heads=sizes[1],
            hidden_size=sizes[2],
            block_size=BLOCK_SIZE,
            input_vocab_size=vocab_sizes[0],
            output_vocab_size=vocab_sizes[1],
        )

    config = bark_config(
        "bark",
        semantic=transformer(SEMANTIC_VOCAB_SIZES),
        coarse=transformer(COARSE_VOCAB_SIZES),
        fine=transformer(FINE_VOCAB_SIZES),
    )
    with torch.device("meta"), NoInitialisation():
        assert num_values(CausalGPT(config.semantic.transformer)) == semantic
        assert num_values(CausalGPT(config.coarse.transformer)) == coarse
        assert num_values(new_fine_model(config)) == fine
    with NoInitialisation():
        codec = build_network(config.codec).state_dict()
    assert (len(codec), sum(tensor.numel() for tensor in codec.values())) == (252, 23_273_218)
