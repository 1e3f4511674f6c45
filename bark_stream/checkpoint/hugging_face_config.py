"""Hugging Face's config.json and generation_config.json -> ModelConfig.

What a file does not say is as Suno published it (`bark_numbers`); what it says otherwise than can be computed here is
refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bark_stream.checkpoint.bark_numbers import (
    BLOCK_SIZE,
    COARSE_VOCAB_SIZES,
    ENCODEC_24KHZ,
    FINE_VOCAB_SIZES,
    SEMANTIC_VOCAB_SIZES,
    bark_config,
)
from bark_stream.checkpoint.config_json import from_json, to_json
from bark_stream.config import (
    CoarseConfig,
    CodecConfig,
    FineConfig,
    ModelConfig,
    SamplingConfig,
    SemanticConfig,
    TransformerConfig,
)
from bark_stream.errors import CheckpointError, ConfigError

MODEL_TYPE = "bark"
STAGE_KEYS = ("semantic", "coarse_acoustics", "fine_acoustics")
CODEC_KEY = "codec_model"

Values = Mapping[str, Any]

_SEMANTIC = {
    "vocab_size": "semantic_vocab_size",
    "pad_token": "semantic_pad_token",
    "infer_token": "semantic_infer_token",
    "text_pad_token": "text_pad_token",
    "text_offset": "text_encoding_offset",
    "max_text_tokens": "max_input_semantic_length",
    "max_history_tokens": "max_input_semantic_length",
    "max_new_tokens": "max_new_tokens",
    "rate_hz": "semantic_rate_hz",
}
_COARSE = {
    "semantic_pad_token": "coarse_semantic_pad_token",
    "infer_token": "coarse_infer_token",
    "rate_hz": "coarse_rate_hz",
    "num_codebooks": "n_coarse_codebooks",
    "max_semantic_tokens": "max_coarse_input_length",
    "max_history_tokens": "max_coarse_history",
    "sliding_window_len": "sliding_window_len",
}
_FINE = {"max_history_frames": "max_fine_history_length", "window_frames": "max_fine_input_length"}
_CODEC = {
    "sample_rate_hz": "sampling_rate",
    "num_filters": "num_filters",
    "dimension": "hidden_size",
    "ratios": "upsampling_ratios",
    "num_lstm_layers": "num_lstm_layers",
    "codebook_size": "codebook_size",
}
_CODEC_FIXED = {
    "audio_channels": 1,
    "compress": 2,
    "dilation_growth_rate": 2,
    "kernel_size": 7,
    "last_kernel_size": 7,
    "norm_type": "weight_norm",
    "normalize": False,
    "num_residual_layers": 1,
    "pad_mode": "reflect",
    "residual_kernel_size": 3,
    "trim_right_ratio": 1.0,
    "use_causal_conv": True,
    "use_conv_shortcut": True,
}
"""EnCodec 24 kHz as encodec builds it."""


def model_config(config: Values, generation: Values, *, num_quantizers: int, source: str) -> ModelConfig:
    """Args: the two files' content; how many quantizers the weights hold; where it comes from, for messages.

    Raises: CheckpointError that names the setting.
    """
    try:
        return _model_config(config, generation, num_quantizers)
    except ConfigError as exc:
        raise CheckpointError(source, str(exc)) from exc


def _model_config(config: Values, generation: Values, num_quantizers: int) -> ModelConfig:
    semantic, coarse, fine = (_section(config, f"{key}_config") for key in STAGE_KEYS)
    semantic_use, coarse_use, fine_use = (_section(generation, f"{key}_config") for key in STAGE_KEYS)
    semantic_use.setdefault("semantic_pad_token", semantic_use.get("eos_token_id"))
    transformers = (
        _transformer(semantic, SEMANTIC_VOCAB_SIZES, "semantic_config"),
        _transformer(coarse, COARSE_VOCAB_SIZES, "coarse_acoustics_config"),
        _transformer(fine, FINE_VOCAB_SIZES, "fine_acoustics_config"),
    )
    published = _published()
    fine_counts = {
        "num_codebooks": fine.get("n_codes_total", published["fine"]["num_codebooks"]),
        "num_codebooks_given": fine.get("n_codes_given", published["fine"]["num_codebooks_given"]),
    }
    use_name = "generation_config"
    return ModelConfig(
        name=str(config.get("_name_or_path") or MODEL_TYPE).rsplit("/", 1)[-1],
        semantic=from_json(
            SemanticConfig,
            _values(published["semantic"], _SEMANTIC, semantic_use) | {"transformer": to_json(transformers[0])},
            f"{use_name}.semantic_config",
        ),
        coarse=from_json(
            CoarseConfig,
            _values(published["coarse"], _COARSE, coarse_use) | {"transformer": to_json(transformers[1])},
            f"{use_name}.coarse_acoustics_config",
        ),
        fine=from_json(
            FineConfig,
            _values(published["fine"], _FINE, fine_use) | fine_counts | {"transformer": to_json(transformers[2])},
            f"{use_name}.fine_acoustics_config",
        ),
        codec=_codec(_section(config, "codec_config"), num_quantizers),
        sampling=_sampling(semantic_use, coarse_use, fine_use),
    )


def _published() -> dict[str, Any]:
    """Suno's numbers, as JSON values; the transformers in them are of no size and are replaced."""
    empty = {"num_layers": 1, "num_heads": 1, "hidden_size": 1, "block_size": BLOCK_SIZE, "bias": False}

    def transformer(sizes: tuple[int, int]) -> TransformerConfig:
        return from_json(TransformerConfig, empty | {"input_vocab_size": sizes[0], "output_vocab_size": sizes[1]})

    return to_json(
        bark_config(
            MODEL_TYPE,
            semantic=transformer(SEMANTIC_VOCAB_SIZES),
            coarse=transformer(COARSE_VOCAB_SIZES),
            fine=transformer(FINE_VOCAB_SIZES),
        )
    )


def _section(values: Values, key: str) -> dict[str, Any]:
    section = values.get(key) or {}
    if not isinstance(section, dict):
        raise ConfigError(key, "must be an object")
    return dict(section)


def _values(published: Values, names: Mapping[str, str], theirs: Values) -> dict[str, Any]:
    return dict(published) | {ours: theirs[name] for ours, name in names.items() if theirs.get(name) is not None}


def _transformer(values: Values, vocab_sizes: tuple[int, int], where: str) -> TransformerConfig:
    known = {
        "block_size": BLOCK_SIZE,
        "input_vocab_size": vocab_sizes[0],
        "output_vocab_size": vocab_sizes[1],
        "bias": False,
    }
    names = ("num_layers", "num_heads", "hidden_size", *known)
    return from_json(TransformerConfig, known | {name: values[name] for name in names if name in values}, where)


def _codec(values: Values, num_quantizers: int) -> CodecConfig:
    for name, value in _CODEC_FIXED.items():
        if values.get(name, value) != value:
            raise ConfigError(f"codec_config.{name}", f"is {values[name]!r}; only {value!r} can be computed")
    ours = _values(to_json(ENCODEC_24KHZ), _CODEC, values) | {"num_quantizers": num_quantizers}
    return from_json(CodecConfig, ours, "codec_config")


def _sampling(semantic: Values, coarse: Values, fine: Values) -> SamplingConfig:
    """The makers' temperatures, top-k and top-p; otherwise Suno's."""
    values: dict[str, Any] = {
        "text_temperature": semantic.get("temperature"),
        "waveform_temperature": coarse.get("temperature"),
        "fine_temperature": fine.get("temperature"),
        "top_k": semantic.get("top_k"),
        "top_p": semantic.get("top_p"),
        "min_eos_p": semantic.get("min_eos_p"),
    }
    return from_json(SamplingConfig, {name: value for name, value in values.items() if value is not None}, "sampling")
