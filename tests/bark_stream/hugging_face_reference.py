"""The other implementation of Bark, at any shape: `transformers`' BarkModel with random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from bark_stream.benchmark.transformers_bark import model_sizes, model_use
from bark_stream.config import ModelConfig


def bark_history(tokenizer: str, path: Path) -> Any:
    """What BarkProcessor makes of a voice file: tensors by the file's keys."""
    from transformers import BarkProcessor, PreTrainedTokenizerFast

    words = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(tokenizer), pad_token="[UNK]")
    return BarkProcessor(words)("Hello", voice_preset=str(path))["history_prompt"]


def bark_model(config: ModelConfig, seed: int = 0) -> Any:
    """A BarkModel of that shape with its generation config, weights wide enough for lively tokens."""
    from transformers import BarkConfig, BarkModel
    from transformers.models.bark.generation_configuration_bark import BarkGenerationConfig

    model = BarkModel(BarkConfig(**model_sizes(config)))
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
    model.generation_config = BarkGenerationConfig(**model_use(config))
    return model.eval()


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
