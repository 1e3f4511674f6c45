"""The other implementation of Bark, at any shape: `transformers`' BarkModel with random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from bark_stream.config import ModelConfig, TransformerConfig


def bark_history(tokenizer: str, path: Path) -> Any:
    """What BarkProcessor makes of a voice file: tensors by the file's keys."""
    from transformers import BarkProcessor, PreTrainedTokenizerFast

    words = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(tokenizer), pad_token="[UNK]")
    return BarkProcessor(words)("Hello", voice_preset=str(path))["history_prompt"]


def bark_model(config: ModelConfig, seed: int = 0) -> Any:
    """A BarkModel of that shape with its generation config, weights wide enough for lively tokens."""
    from transformers import BarkConfig, BarkModel
    from transformers.models.bark.generation_configuration_bark import BarkGenerationConfig

    model = BarkModel(BarkConfig(**_sizes(config)))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.startswith("codec_model") and parameter.ndim == 2:
                is_table = "embeds_layer" in name
                std = 1.0 if is_table else 1.2 * parameter.shape[1] ** -0.5
                parameter.normal_(0, std, generator=generator)
        for name, buffer in model.named_buffers():
            if name.endswith("codebook.embed"):
                buffer.normal_(0, 0.3, generator=generator)
    model.generation_config = BarkGenerationConfig(**_use(config))
    return model.eval()


def _sizes(config: ModelConfig) -> dict[str, Any]:
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


def _transformer(config: TransformerConfig) -> dict[str, Any]:
    return {
        "num_layers": config.num_layers,
        "num_heads": config.num_heads,
        "hidden_size": config.hidden_size,
        "block_size": config.block_size,
        "input_vocab_size": config.input_vocab_size,
        "output_vocab_size": config.output_vocab_size,
        "bias": config.bias,
    }


def _use(config: ModelConfig) -> dict[str, Any]:
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


def save_bark(model: Any, folder: Path, tokenizer: str, *, safetensors: bool = True) -> None:
    """What the Hub holds: weights in either format, both configs, the tokenizer."""
    from transformers import GenerationConfig

    # BarkGenerationConfig.save_pretrained fails in recent versions of transformers; its content is what counts.
    use = model.generation_config
    model.generation_config = GenerationConfig()
    model.save_pretrained(folder)
    model.generation_config = use
    (folder / "generation_config.json").write_text(json.dumps(use.to_dict(), default=lambda part: part.to_dict()))
    (folder / "tokenizer.json").write_text(tokenizer, encoding="utf-8")
    if not safetensors:
        (folder / "model.safetensors").unlink()
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
