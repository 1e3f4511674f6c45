"""A name or a path -> a checkpoint, whichever of the formats it is in."""

from __future__ import annotations

from pathlib import Path

from bark_stream.checkpoint.checkpoint import Checkpoint
from bark_stream.checkpoint.folder import is_own_folder, read_folder
from bark_stream.checkpoint.hugging_face import is_hugging_face_folder, read_hugging_face_folder
from bark_stream.checkpoint.suno import is_suno_folder, read_suno_folder
from bark_stream.errors import CheckpointError, UnknownModel

ASSETS = Path(__file__).resolve().parent.parent / "assets"
BUILT_IN = ("mini",)


def load_checkpoint(source: str | Path) -> Checkpoint:
    """Read a model: a built-in name, or the path of a folder.

    Raises: UnknownModel; CheckpointError that names the file or tensor.
    """
    folder = _find(source)
    if is_own_folder(folder):
        return read_folder(folder)
    if is_hugging_face_folder(folder):
        return read_hugging_face_folder(folder)
    if is_suno_folder(folder):
        return read_suno_folder(folder)
    raise CheckpointError(str(folder), "holds no model of a known format")


def _find(source: str | Path) -> Path:
    if source in BUILT_IN:
        folder = ASSETS / str(source)
        if not (folder / "config.json").exists():
            raise UnknownModel(str(source), "this installation was built without it; name a folder instead")
        return folder
    folder = Path(source)
    if not folder.is_dir():
        raise UnknownModel(str(source), f"is no folder, nor one of {', '.join(BUILT_IN)}")
    return folder
