"""Suno's own files: `text.pt`, `coarse.pt`, `fine.pt` (or the large `text_2.pt` …), EnCodec's `.th`, presets.

text.pt  coarse.pt  fine.pt     {"model": …, "model_args": …, "best_val_loss": …}
encodec_24khz-*.th              encodec's state dict
tokenizer.json or vocab.txt     bert-base-multilingual-cased
assets/prompts/**/*.npz         or *.npz anywhere in the folder; may be absent
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bark_stream.checkpoint.bark_numbers import bark_config
from bark_stream.checkpoint.checkpoint import Checkpoint
from bark_stream.checkpoint.models import check_tensors, without_tied_heads
from bark_stream.checkpoint.tokenizer_file import read_tokenizer
from bark_stream.checkpoint.torch_file import read_torch_file
from bark_stream.config import TransformerConfig
from bark_stream.errors import CheckpointError, ConfigError
from bark_stream.voice_library import VoiceLibrary, voice_readers

SUFFIXES = {"_2": "bark", "": "bark-small"}
"""Of the files' names, and what the model is then called; Suno takes the large one where both are."""
COMPILED_PREFIX = "_orig_mod."
"""Put before every name by torch.compile, with which Suno trained."""
MASK_SUFFIX = ".attn.bias"
"""A causal mask that was saved as if it were a weight."""

_ARGUMENTS = {
    "num_layers": "n_layer",
    "num_heads": "n_head",
    "hidden_size": "n_embd",
    "block_size": "block_size",
    "input_vocab_size": "input_vocab_size",
    "output_vocab_size": "output_vocab_size",
}


def is_suno_folder(folder: Path) -> bool:
    return any((folder / f"text{suffix}.pt").exists() for suffix in SUFFIXES)


def read_suno_folder(folder: Path) -> Checkpoint:
    """Raises: CheckpointError that names the file, argument or tensor; UnsafeCheckpoint."""
    suffix = next(suffix for suffix in SUFFIXES if (folder / f"text{suffix}.pt").exists())
    semantic, semantic_weights = _read_part(folder / f"text{suffix}.pt")
    coarse, coarse_weights = _read_part(folder / f"coarse{suffix}.pt")
    fine, fine_weights = _read_part(folder / f"fine{suffix}.pt")
    try:
        config = bark_config(SUFFIXES[suffix], semantic=semantic, coarse=coarse, fine=fine)
    except ConfigError as exc:
        raise CheckpointError(str(folder), f"is no Bark: {exc}") from exc
    prompts = folder / "assets" / "prompts"
    checkpoint = Checkpoint(
        source=str(folder),
        config=config,
        semantic=semantic_weights,
        coarse=coarse_weights,
        fine=without_tied_heads(fine_weights, config, str(folder / f"fine{suffix}.pt")),
        codec=_read_codec(folder),
        tokenizer=read_tokenizer(folder),
        voices=VoiceLibrary(voice_readers(prompts if prompts.is_dir() else folder), config),
    )
    return check_tensors(checkpoint)


def _read_part(path: Path) -> tuple[TransformerConfig, dict[str, Tensor]]:
    content = read_torch_file(path)
    for key in ("model", "model_args"):
        if not isinstance(content, dict) or not isinstance(content.get(key), dict):
            raise CheckpointError(str(path), f'holds no "{key}", as Suno\'s files do')
    return _transformer_config(path, content["model_args"]), _cleaned(path, content["model"])


def _transformer_config(path: Path, arguments: Mapping[str, Any]) -> TransformerConfig:
    arguments = dict(arguments)
    if "vocab_size" in arguments:
        vocab_size = arguments.pop("vocab_size")
        arguments = {"input_vocab_size": vocab_size, "output_vocab_size": vocab_size, **arguments}
    values = {}
    for name, theirs in _ARGUMENTS.items():
        if not isinstance(arguments.get(theirs), int):
            raise CheckpointError(str(path), f"model_args holds no number {theirs}")
        values[name] = arguments[theirs]
    try:
        return TransformerConfig(**values, bias=bool(arguments.get("bias", False)))
    except ConfigError as exc:
        raise CheckpointError(str(path), f"model_args: {exc}") from exc


def _cleaned(path: Path, weights: Mapping[str, Any]) -> dict[str, Tensor]:
    cleaned = {}
    for name, tensor in weights.items():
        if not isinstance(tensor, Tensor):
            raise CheckpointError(str(path), f"{name} is no tensor")
        if not name.endswith(MASK_SUFFIX):
            cleaned[name.removeprefix(COMPILED_PREFIX)] = tensor.to(torch.float32)
    return cleaned


def _read_codec(folder: Path) -> dict[str, Tensor]:
    found = sorted(folder.glob("encodec_24khz*.th"))
    if not found:
        raise CheckpointError(
            str(folder), "EnCodec's encodec_24khz-d7cc33bc.th is missing; put it beside the .pt files"
        )
    content = read_torch_file(found[0])
    if not isinstance(content, dict):
        raise CheckpointError(str(found[0]), "holds no tensors by name")
    return _cleaned(found[0], content)
