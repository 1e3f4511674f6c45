"""A Hugging Face folder: suno/bark, suno/bark-small, or what `BarkModel.save_pretrained` wrote.

config.json  generation_config.json
model.safetensors or pytorch_model.bin, whole or in shards with an index
tokenizer.json or vocab.txt
speaker_embeddings_path.json  speaker_embeddings/     may be absent
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath

import torch
from torch import Tensor

from bark_stream.checkpoint.checkpoint import Checkpoint
from bark_stream.checkpoint.hugging_face_config import CODEC_KEY, MODEL_TYPE, STAGE_KEYS, model_config
from bark_stream.checkpoint.hugging_face_names import encodec_name, suno_name
from bark_stream.checkpoint.mapped_file import MappedFile
from bark_stream.checkpoint.models import check_tensors, without_tied_heads
from bark_stream.checkpoint.text_files import read_json
from bark_stream.checkpoint.tokenizer_file import read_tokenizer
from bark_stream.checkpoint.torch_file import read_torch_file
from bark_stream.errors import CheckpointError
from bark_stream.voice import PARTS, read_voice_parts
from bark_stream.voice_library import VoiceLibrary, VoiceReader, voice_readers

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
"""Whole, or with `.index.json` behind for a list of shards; the first found is read."""
VOICES_FILE = "speaker_embeddings_path.json"

_CAUSAL_MASK = re.compile(r"\.attn\.bias$")
_CODEC_BUFFERS = re.compile(r"\.conv\.(stride|kernel_size|padding_total)$")


def is_hugging_face_folder(folder: Path) -> bool:
    """Whether it says so and holds its weights: the Hub's suno/bark holds Suno's own files as well."""
    try:
        is_bark = read_json(folder / "config.json").get("model_type") == MODEL_TYPE
    except CheckpointError:
        return False
    return is_bark and _weight_file(folder) is not None


def read_hugging_face_folder(folder: Path) -> Checkpoint:
    """Raises: CheckpointError that names the file, setting or tensor; UnsafeCheckpoint."""
    parts = _parts(_read_weights(folder))
    generation = folder / "generation_config.json"
    config = model_config(
        read_json(folder / "config.json"),
        read_json(generation) if generation.exists() else {},
        num_quantizers=sum(name.endswith(".codebook.embed") for name in parts[CODEC_KEY]),
        source=str(folder),
    )
    num_ratios = len(config.codec.ratios)
    semantic, coarse, fine = (
        {suno_name(name): tensor for name, tensor in parts[key].items() if not _CAUSAL_MASK.search(name)}
        for key in STAGE_KEYS
    )
    codec = {
        encodec_name(name, num_ratios): tensor
        for name, tensor in parts[CODEC_KEY].items()
        if not _CODEC_BUFFERS.search(name)
    }
    checkpoint = Checkpoint(
        source=str(folder),
        config=config,
        semantic=semantic,
        coarse=coarse,
        fine=without_tied_heads(fine, config, str(folder)),
        codec=codec,
        tokenizer=read_tokenizer(folder),
        voices=VoiceLibrary(_voices(folder), config),
    )
    return check_tensors(checkpoint)


def _weight_file(folder: Path) -> Path | None:
    candidates = (folder / (name + suffix) for name in WEIGHT_FILES for suffix in ("", ".index.json"))
    return next((path for path in candidates if path.exists()), None)


def _read_weights(folder: Path) -> dict[str, Tensor]:
    path = _weight_file(folder)
    if path is None:
        raise CheckpointError(str(folder), f"holds none of {', '.join(WEIGHT_FILES)}")
    if path.suffix != ".json":
        return _read_shard(path)
    weights: dict[str, Tensor] = {}
    for name in _shard_names(path):
        weights.update(_read_shard(folder / name))
    return weights


def _shard_names(index: Path) -> list[str]:
    names = read_json(index).get("weight_map")
    if not isinstance(names, dict):
        raise CheckpointError(str(index), 'holds no "weight_map"')
    unique = sorted({str(name) for name in names.values()})
    for name in unique:
        if not _is_inside(name):
            raise CheckpointError(str(index), f"names the shard {name!r}, which lies outside the folder")
    return unique


def _read_shard(path: Path) -> dict[str, Tensor]:
    content = MappedFile(path) if path.suffix == ".safetensors" else read_torch_file(path)
    if not isinstance(content, Mapping) or not all(isinstance(tensor, Tensor) for tensor in content.values()):
        raise CheckpointError(str(path), "holds no tensors by name")
    return {
        name: tensor.to(torch.float32) if tensor.is_floating_point() else tensor for name, tensor in content.items()
    }


def _parts(weights: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    parts: dict[str, dict[str, Tensor]] = {key: {} for key in (*STAGE_KEYS, CODEC_KEY)}
    for name, tensor in weights.items():
        part, _, rest = name.partition(".")
        if part not in parts:
            raise CheckpointError("weights", f"tensor {name} belongs to no part of Bark")
        parts[part][rest] = tensor
    return parts


def _voices(folder: Path) -> dict[str, VoiceReader]:
    """Every voice of the list whose files are there; without a list, every npz below speaker_embeddings."""
    listing = folder / VOICES_FILE
    if not listing.exists():
        return voice_readers(folder / "speaker_embeddings")
    readers: dict[str, VoiceReader] = {}
    for name, paths in read_json(listing).items():
        if not isinstance(paths, dict):
            continue  # "repo_or_path": where transformers would look; here it is this folder
        found = {part: folder / _inside(listing, str(paths[part])) for part in PARTS if part in paths}
        if all(path.exists() for path in found.values()):
            readers[name] = partial(read_voice_parts, name, found)
    return readers


def _inside(listing: Path, path: str) -> str:
    if not _is_inside(path):
        raise CheckpointError(str(listing), f"{path!r} lies outside the folder")
    return path


def _is_inside(path: str) -> bool:
    """Relative and downward, on any system."""
    return not any(
        kind(path).is_absolute() or kind(path).drive or ".." in kind(path).parts
        for kind in (PurePosixPath, PureWindowsPath)
    )
