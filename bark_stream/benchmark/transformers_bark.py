"""The other implementation: Hugging Face's BarkModel with a checkpoint's weights, timed on the same work."""

from __future__ import annotations

import importlib
import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bark_stream.benchmark.workload import TEXT
from bark_stream.checkpoint import Checkpoint
from bark_stream.checkpoint.hugging_face_names import encodec_name, suno_name
from bark_stream.checkpoint.models import with_tied_heads
from bark_stream.config import ModelConfig, TransformerConfig
from bark_stream.device import DeviceKind
from bark_stream.errors import ConfigError
from bark_stream.text import TextEncoder


@dataclass(frozen=True, kw_only=True, slots=True)
class TransformersFigures:
    version: str
    audio_s: float
    ttfa_ms: float
    """All of it: nothing can be heard before the end."""
    rtf: float
    stage_s: dict[str, float]


def measure_transformers(checkpoint: Checkpoint, *, seconds: float, device: DeviceKind = "cpu") -> TransformersFigures:
    """One sentence of `seconds`, greedy, as `BarkModel.generate` makes it, in float32.

    Raises: ConfigError if transformers is not installed.
    """
    _hide_broken_torchaudio()
    try:
        import transformers
    except ImportError as missing:
        raise ConfigError("--against", "transformers is not installed: pip install transformers") from missing
    model, config = bark_model(checkpoint).to(device), checkpoint.config
    use = model.generation_config
    history = _history(checkpoint, device)
    num_tokens = round(seconds * config.semantic.rate_hz)
    text = TextEncoder(checkpoint.tokenizer, config.semantic).encode_padded(TEXT)
    ids = torch.tensor([text], device=device) - config.semantic.text_offset
    times: dict[str, float] = {}
    started = time.perf_counter()

    def lap(stage: str) -> None:
        times[stage] = time.perf_counter() - started - sum(times.values())

    with torch.no_grad():
        semantic = model.semantic.generate(
            ids, use.semantic_config, history_prompt=history, do_sample=False, max_new_tokens=num_tokens
        )
        lap("semantic")
        shared = {"history_prompt": history, "codebook_size": config.codec.codebook_size}
        coarse = model.coarse_acoustics.generate(
            semantic, use.semantic_config, use.coarse_acoustics_config, do_sample=False, **shared
        )
        lap("coarse")
        fine = model.fine_acoustics.generate(
            coarse,
            use.semantic_config,
            use.coarse_acoustics_config,
            use.fine_acoustics_config,
            temperature=None,
            **shared,
        )
        lap("fine")
        audio = model.codec_decode(fine).cpu()
        lap("codec")
    total_s, audio_s = sum(times.values()), audio.shape[-1] / config.sample_rate_hz
    return TransformersFigures(
        version=transformers.__version__,
        audio_s=audio_s,
        ttfa_ms=1000 * total_s,
        rtf=total_s / audio_s,
        stage_s=times,
    )


def _hide_broken_torchaudio() -> None:
    """transformers takes a torchaudio that is installed for one that works; beside a CPU torch it does not."""
    try:
        importlib.import_module("torchaudio")
    except (ImportError, OSError):
        sys.modules["torchaudio"] = None  # type: ignore[assignment]


def bark_model(checkpoint: Checkpoint) -> Any:
    """A BarkModel with exactly this checkpoint's weights."""
    from transformers import BarkConfig, BarkModel
    from transformers.models.bark.generation_configuration_bark import BarkGenerationConfig

    model = BarkModel(BarkConfig(**model_sizes(checkpoint.config)))
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            source = _tensor(checkpoint, name)
            if source is not None:
                tensor.copy_(source)
    model.generation_config = BarkGenerationConfig(**model_use(checkpoint.config))
    return model.eval()


def _tensor(checkpoint: Checkpoint, name: str) -> Tensor | None:
    """Ours, under BarkModel's name; None for its buffers that hold no weights."""
    part, _, rest = name.partition(".")
    if part == "codec_model":
        return checkpoint.codec.get(encodec_name(rest, len(checkpoint.config.codec.ratios)))
    stages = {
        "semantic": checkpoint.semantic,
        "coarse_acoustics": checkpoint.coarse,
        "fine_acoustics": with_tied_heads(checkpoint.fine, checkpoint.config),
    }
    return stages[part].get(suno_name(rest))


def _history(checkpoint: Checkpoint, device: DeviceKind) -> dict[str, Tensor] | None:
    name = checkpoint.config.default_voice or next(iter(checkpoint.voices.names()), None)
    if name is None:
        return None
    voice = checkpoint.voices.get(name)
    parts: dict[str, np.ndarray[Any, Any]] = {"semantic": voice.semantic, "coarse": voice.coarse, "fine": voice.fine}
    return {f"{part}_prompt": torch.tensor(array, device=device) for part, array in parts.items()}


def model_sizes(config: ModelConfig) -> dict[str, Any]:
    """The arguments of BarkConfig."""
    codec, bits = config.codec, (config.codec.codebook_size - 1).bit_length()
    return {
        "semantic_config": _transformer(config.semantic.transformer),
        "coarse_acoustics_config": _transformer(config.coarse.transformer),
        "fine_acoustics_config": {
            **_transformer(config.fine.transformer),
            "n_codes_total": config.fine.num_codebooks,
            "n_codes_given": config.fine.num_codebooks_given,
        },
        "codec_config": {
            "num_filters": codec.num_filters,
            "hidden_size": codec.dimension,
            "codebook_size": codec.codebook_size,
            "upsampling_ratios": list(codec.ratios),
            "num_lstm_layers": codec.num_lstm_layers,
            "sampling_rate": codec.sample_rate_hz,
            "target_bandwidths": [codec.num_quantizers * bits * codec.frame_rate_hz / 1000],
        },
    }


def model_use(config: ModelConfig) -> dict[str, Any]:
    """The arguments of BarkGenerationConfig."""
    semantic, coarse, fine = config.semantic, config.coarse, config.fine
    return {
        "semantic_config": {
            "eos_token_id": semantic.pad_token,
            "pad_token_id": semantic.pad_token,
            "text_encoding_offset": semantic.text_offset,
            "text_pad_token": semantic.text_pad_token,
            "semantic_infer_token": semantic.infer_token,
            "semantic_vocab_size": semantic.vocab_size,
            "max_input_semantic_length": semantic.max_text_tokens,
            "max_new_tokens": semantic.max_new_tokens,
            "semantic_rate_hz": semantic.rate_hz,
        },
        "coarse_acoustics_config": {
            "coarse_semantic_pad_token": coarse.semantic_pad_token,
            "coarse_rate_hz": coarse.rate_hz,
            "n_coarse_codebooks": coarse.num_codebooks,
            "coarse_infer_token": coarse.infer_token,
            "max_coarse_input_length": coarse.max_semantic_tokens,
            "max_coarse_history": coarse.max_history_tokens,
            "sliding_window_len": coarse.sliding_window_len,
        },
        "fine_acoustics_config": {
            "max_fine_history_length": fine.max_history_frames,
            "max_fine_input_length": fine.window_frames,
            "n_fine_codebooks": fine.num_codebooks,
            "temperature": 0.5,
        },
        "sample_rate": config.codec.sample_rate_hz,
        "codebook_size": config.codec.codebook_size,
    }


def _transformer(config: TransformerConfig) -> dict[str, Any]:
    names = ("num_layers", "num_heads", "hidden_size", "block_size", "input_vocab_size", "output_vocab_size", "bias")
    return {name: getattr(config, name) for name in names}
