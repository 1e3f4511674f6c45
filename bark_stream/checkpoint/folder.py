"""Our own format: a folder that holds everything a model is.

config.json            ModelConfig, "format", "version"
semantic.safetensors   coarse.safetensors   fine.safetensors   codec.safetensors
tokenizer.json
semantic_vocab.json    the phone of each semantic token, in models whose tokens have one
semantic_encoder.safetensors    what hears semantic tokens, in models that can (`cloning.mel_encoder`)
voices/**/*.npz        Suno's layout
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from bark_stream.checkpoint.checkpoint import Checkpoint, StateDict
from bark_stream.checkpoint.config_json import from_json, to_json
from bark_stream.checkpoint.mapped_file import MappedFile
from bark_stream.checkpoint.models import check_tensors, without_tied_heads
from bark_stream.checkpoint.storage import Storage, StoredWeights, pack, write_safetensors
from bark_stream.checkpoint.text_files import read_json, read_text
from bark_stream.config import ModelConfig
from bark_stream.errors import CheckpointError, ConfigError, OutputError
from bark_stream.voice import save_voice
from bark_stream.voice_library import VoiceLibrary, voice_readers

FORMAT = "bark-stream"
VERSION = 1
VOCABULARY, ENCODER = "semantic_vocab.json", "semantic_encoder.safetensors"
_AVERAGE, _BOOK = "_codebook.embed_avg", "_codebook.embed"


def is_own_folder(folder: Path) -> bool:
    try:
        return bool(read_json(folder / "config.json").get("format") == FORMAT)
    except CheckpointError:
        return False


def read_folder(folder: Path) -> Checkpoint:
    """Raises: CheckpointError that names the file, and the setting or tensor."""
    config = _read_config(folder / "config.json")
    parts = {
        part: StoredWeights(MappedFile(folder / f"{part}.safetensors"), str(folder / f"{part}.safetensors"))
        for part in ("semantic", "coarse", "fine", "codec")
    }
    checkpoint = Checkpoint(
        source=str(folder),
        config=config,
        semantic=parts["semantic"],
        coarse=parts["coarse"],
        fine=without_tied_heads(parts["fine"], config, str(folder)),
        codec=_WithAverages(parts["codec"]),
        tokenizer=read_text(folder / "tokenizer.json"),
        voices=VoiceLibrary(voice_readers(folder / "voices"), config),
        phones=_read_phones(folder / VOCABULARY, config),
        folder=folder,
    )
    return check_tensors(checkpoint)


def save_checkpoint(checkpoint: Checkpoint, folder: str | Path, storage: Storage = "float32") -> None:
    """Write a model in our own format. The folder appears whole or not at all.

    An older model of ours at that place is replaced; files there that the format does not know (a model card) stay.
    `int8` concerns the transformers; the codec is then stored as float16.

    Raises: OutputError if it cannot be written, or something else is there; BadVoice, CheckpointError.
    """
    folder = Path(folder)
    check_tensors(checkpoint)
    if folder.exists() and not is_own_folder(folder) and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(str(folder), "exists, and is no model of this format")
    try:
        folder.absolute().parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            dir=folder.absolute().parent, prefix=f".{folder.name}.", ignore_cleanup_errors=True
        ) as name:
            new = Path(name) / "new"
            new.mkdir()
            _write(checkpoint, new, storage)
            if folder.exists():
                _keep_foreign_files(folder, new)
                _swap(new, folder, aside=Path(name) / "old")
            else:
                os.rename(new, folder)
    except OSError as exc:
        raise OutputError(str(folder), exc.strerror or str(exc)) from exc


def _write(checkpoint: Checkpoint, folder: Path, storage: Storage) -> None:
    source = checkpoint.source
    fine = without_tied_heads(checkpoint.fine, checkpoint.config, source)
    for part, weights in (("semantic", checkpoint.semantic), ("coarse", checkpoint.coarse), ("fine", fine)):
        write_safetensors(pack(weights, storage), folder / f"{part}.safetensors")
    codec_storage: Storage = "float16" if storage == "int8" else storage
    write_safetensors(pack(_without_averages(checkpoint.codec), codec_storage), folder / "codec.safetensors")
    (folder / "tokenizer.json").write_text(checkpoint.tokenizer, encoding="utf-8")
    for name in checkpoint.voices.names():
        path = folder / "voices" / f"{name}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_voice(checkpoint.voices.get(name), path)
    for name in (VOCABULARY, ENCODER):
        # What semantic tokens mean does not change with the weights.
        if checkpoint.folder is not None and (checkpoint.folder / name).exists():
            shutil.copyfile(checkpoint.folder / name, folder / name)
    config = {"format": FORMAT, "version": VERSION, **to_json(checkpoint.config)}
    (folder / "config.json").write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _without_averages(codec: StateDict) -> dict[str, Tensor]:
    """The codec without running sums that merely repeat their codebook: a sixth of its size."""
    repeated = {name for name in codec if name.endswith(_AVERAGE) and torch.equal(codec[name], codec[_book(name)])}
    return {name: tensor for name, tensor in codec.items() if name not in repeated}


class _WithAverages(Mapping[str, Tensor]):
    """The codec with running sums again where they were left out."""

    def __init__(self, codec: StateDict) -> None:
        self._codec = codec
        averages = {name.removesuffix(_BOOK) + _AVERAGE: name for name in codec if name.endswith(_BOOK)}
        self._books = {average: book for average, book in averages.items() if average not in codec}

    def __getitem__(self, name: str) -> Tensor:
        return self._codec[self._books.get(name, name)]

    def __contains__(self, name: object) -> bool:
        # Without it, Mapping would make the tensor to find out.
        return name in self._books or name in self._codec

    def __iter__(self) -> Iterator[str]:
        yield from self._codec
        yield from self._books

    def __len__(self) -> int:
        return len(self._codec) + len(self._books)


def _book(average: str) -> str:
    return average.removesuffix(_AVERAGE) + _BOOK


def _swap(new: Path, folder: Path, aside: Path) -> None:
    os.rename(folder, aside)
    try:
        os.rename(new, folder)
    except OSError:
        os.rename(aside, folder)
        raise


def _keep_foreign_files(old: Path, new: Path) -> None:
    for path in old.iterdir():
        if path.name != "voices" and not (new / path.name).exists():
            copy = shutil.copytree if path.is_dir() else shutil.copy2
            copy(path, new / path.name)


def _read_phones(path: Path, config: ModelConfig) -> tuple[str, ...]:
    if not path.exists():
        return ()
    phones = read_json(path).get("phone")
    if not isinstance(phones, list) or len(phones) != config.semantic.vocab_size:
        raise CheckpointError(str(path), f"`phone` must list {config.semantic.vocab_size} phones")
    if not all(isinstance(phone, str) for phone in phones):
        raise CheckpointError(str(path), "`phone` must list strings")
    return tuple(phones)


def _read_config(path: Path) -> ModelConfig:
    values = read_json(path)
    if values.pop("format", None) != FORMAT:
        raise CheckpointError(str(path), f'"format" is not "{FORMAT}"')
    version = values.pop("version", None)
    if version != VERSION:
        raise CheckpointError(str(path), f"is of version {version}; this program reads version {VERSION}")
    try:
        return from_json(ModelConfig, values)
    except ConfigError as exc:
        raise CheckpointError(str(path), str(exc)) from exc
