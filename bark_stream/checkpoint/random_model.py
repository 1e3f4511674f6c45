"""Models that were never trained: for tests of arithmetic, and for measuring time at a real Bark's shape.

`tiny` has every part of Bark and short windows, so that a sentence crosses many of them in milliseconds. `small` and
`large` are Bark's two published shapes.
"""

from __future__ import annotations

import json
import string
from dataclasses import replace
from typing import Literal, TypedDict

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from torch import Tensor, nn

from bark_stream.checkpoint.bark_numbers import (
    BLOCK_SIZE,
    COARSE_VOCAB_SIZES,
    FINE_VOCAB_SIZES,
    SEMANTIC_VOCAB_SIZES,
    bark_config,
)
from bark_stream.checkpoint.checkpoint import Checkpoint
from bark_stream.checkpoint.models import new_fine_model, without_tied_heads
from bark_stream.codec import build_network
from bark_stream.config import (
    CoarseConfig,
    CodecConfig,
    FineConfig,
    ModelConfig,
    SamplingConfig,
    SemanticConfig,
    TransformerConfig,
)
from bark_stream.transformer import CausalGPT
from bark_stream.uninitialised import NoInitialisation
from bark_stream.voice import Voice, voice_from_codes
from bark_stream.voice_library import library_of

Shape = Literal["tiny", "small", "large"]
VOICE = "en_speaker_0"
"""The one voice of a random model; `v2/en_speaker_0` is an alias."""

NOTICE = "the weights of this model are random: it makes noise, not speech"

_CHARACTERS = string.printable[:95] + "—…♪’“”"
_UNKNOWN = "[UNK]"


def random_checkpoint(shape: Shape = "tiny", seed: int = 0) -> Checkpoint:
    """A checkpoint of that shape; the same seed gives the same weights and the same voice."""
    config = replace(_tiny_config() if shape == "tiny" else _bark_config(shape), notice=NOTICE)
    voice = _random_voice(config, np.random.default_rng(seed))
    return Checkpoint(
        source=f"random {shape} model",
        config=config,
        tokenizer=_character_tokenizer(),
        voices=library_of([voice], config),
        **random_weights(config, seed),
    )


class Weights(TypedDict):
    """The tensors of a Checkpoint."""

    semantic: dict[str, Tensor]
    coarse: dict[str, Tensor]
    fine: dict[str, Tensor]
    codec: dict[str, Tensor]


def random_weights(config: ModelConfig, seed: int) -> Weights:
    """Weights for any configuration; the same seed gives the same."""
    generator = torch.Generator().manual_seed(seed)
    with NoInitialisation():
        semantic, coarse = CausalGPT(config.semantic.transformer), CausalGPT(config.coarse.transformer)
        fine, codec = new_fine_model(config), build_network(config.codec)
    return {
        "semantic": _random_stage(semantic, generator),
        "coarse": _random_stage(coarse, generator),
        "fine": dict(without_tied_heads(_random_stage(fine, generator), config, "random model")),
        "codec": _random_codec(codec, generator),
    }


def _random_stage(model: nn.Module, generator: torch.Generator) -> dict[str, Tensor]:
    """Wide enough that the most likely token changes from step to step."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                parameter.normal_(0.0 if name.endswith("bias") else 1.0, 0.1, generator=generator)
            else:
                is_table = ".wte" in name or ".wpe" in name
                parameter.normal_(0.0, 1.0 if is_table else 1.2 * parameter.shape[1] ** -0.5, generator=generator)
    return {name: tensor.detach() for name, tensor in model.state_dict().items()}


def _random_codec(network: nn.Module, generator: torch.Generator) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = {}
    for name, tensor in network.state_dict().items():
        if name.endswith(("inited", "cluster_size", "weight_g")):
            weights[name] = torch.ones_like(tensor)
        elif name.endswith("bias"):
            weights[name] = torch.zeros_like(tensor)
        else:
            weights[name] = torch.empty_like(tensor).normal_(0, 0.3, generator=generator)
    for name in list(weights):
        if name.endswith("embed_avg"):
            weights[name] = weights[name.removesuffix("_avg")].clone()
    return weights


def _random_voice(config: ModelConfig, random: np.random.Generator) -> Voice:
    num_tokens = config.semantic.max_history_tokens * 5 // 4
    num_frames = int(num_tokens * config.frames_per_semantic)
    fine = random.integers(0, config.codec.codebook_size, (config.fine.num_codebooks, num_frames))
    semantic = random.integers(0, config.semantic.vocab_size, num_tokens)
    return voice_from_codes(VOICE, semantic, fine, config).check(config)


def _character_tokenizer() -> str:
    vocabulary = {_UNKNOWN: 0} | {character: i for i, character in enumerate(_CHARACTERS, 1)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=_UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    return json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False)


def _bark_config(shape: Shape) -> ModelConfig:
    num_layers, num_heads, hidden_size = (12, 12, 768) if shape == "small" else (24, 16, 1024)

    def transformer(vocab_sizes: tuple[int, int]) -> TransformerConfig:
        return TransformerConfig(
            num_layers=num_layers,
            num_heads=num_heads,
            hidden_size=hidden_size,
            block_size=BLOCK_SIZE,
            input_vocab_size=vocab_sizes[0],
            output_vocab_size=vocab_sizes[1],
        )

    config = bark_config(
        f"random-{shape}",
        semantic=transformer(SEMANTIC_VOCAB_SIZES),
        coarse=transformer(COARSE_VOCAB_SIZES),
        fine=transformer(FINE_VOCAB_SIZES),
    )
    config.voice_aliases[f"v2/{VOICE}"] = VOICE
    return config


def _tiny_config() -> ModelConfig:
    def transformer(block_size: int, input_vocab_size: int, output_vocab_size: int) -> TransformerConfig:
        return TransformerConfig(
            num_layers=2,
            num_heads=2,
            hidden_size=32,
            block_size=block_size,
            input_vocab_size=input_vocab_size,
            output_vocab_size=output_vocab_size,
        )

    return ModelConfig(
        name="random-tiny",
        semantic=SemanticConfig(
            transformer=transformer(384, 256, 112),
            vocab_size=100,
            pad_token=100,
            infer_token=255,
            text_pad_token=251,
            text_offset=112,
            max_text_tokens=128,
            max_history_tokens=128,
            max_new_tokens=256,
            rate_hz=49.9,
        ),
        coarse=CoarseConfig(
            transformer=transformer(160, 240, 240),
            semantic_pad_token=228,
            infer_token=230,
            rate_hz=75.0,
            num_codebooks=2,
            max_semantic_tokens=48,
            max_history_tokens=60,
            sliding_window_len=20,
        ),
        fine=FineConfig(
            transformer=transformer(128, 72, 72),
            num_codebooks=8,
            num_codebooks_given=1,
            max_history_frames=64,
            window_frames=128,
        ),
        codec=CodecConfig(
            sample_rate_hz=24_000,
            num_filters=4,
            dimension=16,
            ratios=(8, 5, 4, 2),
            num_lstm_layers=2,
            num_quantizers=8,
            codebook_size=64,
        ),
        sampling=SamplingConfig(),
        voice_aliases={f"v2/{VOICE}": VOICE},
    )
