"""A name or a path -> a checkpoint, whichever of the formats it is in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bark_stream.checkpoint.checkpoint import Checkpoint
from bark_stream.checkpoint.folder import is_own_folder, read_folder
from bark_stream.checkpoint.hub import cached_folder, is_repo_name
from bark_stream.checkpoint.hugging_face import is_hugging_face_folder, read_hugging_face_folder
from bark_stream.checkpoint.suno import is_suno_folder, read_suno_folder
from bark_stream.errors import CheckpointError, UnknownModel

ASSETS = Path(__file__).resolve().parent.parent / "assets"
BUILT_IN = ("mini",)


def load_checkpoint(source: str | Path, *, cache: Path | None = None) -> Checkpoint:
    """Read a model. Asks no network.

    Args:
        source: a built-in name; the path of a folder in our, Hugging Face's or Suno's format; the name of a repository
            that was fetched, such as `suno/bark-small`.
        cache: where `fetch` put it; huggingface_hub's own (HF_HOME) without it.
    Raises: UnknownModel; CheckpointError that names the file, setting or tensor; UnsafeCheckpoint.
    """
    folder = Path(source)
    if source in BUILT_IN:
        folder = ASSETS / str(source)
        if not is_own_folder(folder):
            raise UnknownModel(str(source), "this installation has no built-in model; name a folder instead")
    elif not folder.is_dir():
        return _load_fetched(str(source), cache)
    return _read(folder)


def _load_fetched(name: str, cache: Path | None) -> Checkpoint:
    if not is_repo_name(name):
        raise UnknownModel(name, f"is no folder, nor one of {', '.join(BUILT_IN)}")
    folder = cached_folder(name, cache)
    if folder is None:
        raise UnknownModel(name, f"is no folder, and was not fetched yet (bark-stream fetch {name})")
    checkpoint = _read(folder)
    return replace(checkpoint, config=replace(checkpoint.config, name=name.split("/")[1]))


def _read(folder: Path) -> Checkpoint:
    if is_own_folder(folder):
        return read_folder(folder)
    if is_hugging_face_folder(folder):
        return read_hugging_face_folder(folder)
    if is_suno_folder(folder):
        return read_suno_folder(folder)
    raise CheckpointError(str(folder), "holds no model of a known format")
