"""Voices of one's own: a folder of `.npz` files, one a voice, each whole or not there at all.

A name never becomes a path before it is known to be a plain one. Knows no model and no environment: the caller says
where the folder is.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

from bark_stream.errors import BadVoiceName, OutputError, UnknownVoice, VoiceExists
from bark_stream.voice import Voice, read_voice, save_voice

MAX_NAME_CHARACTERS = 64
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
SUFFIX = ".npz"
STALE_S = 3600.0
"""A temporary file older than this was left behind by a kill."""


def check_voice_name(name: str) -> str:
    """Whether a voice may be called that: letters, digits, - and _, nothing that could lead out of a folder.

    Returns: the name itself.
    Raises: BadVoiceName.
    """
    if not _NAME.fullmatch(name) or len(name) > MAX_NAME_CHARACTERS:
        raise BadVoiceName(
            repr(name[: 2 * MAX_NAME_CHARACTERS]),
            f"is no name: 1 to {MAX_NAME_CHARACTERS} letters, digits, - and _, beginning with a letter or digit",
        )
    return name


class VoiceStore:
    def __init__(self, folder: str | Path) -> None:
        """Args: folder: made when the first voice is saved."""
        self.folder = Path(folder)

    def names(self) -> tuple[str, ...]:
        """Sorted. What is only half written has another name."""
        if not self.folder.is_dir():
            return ()
        stems = (path.stem for path in self.folder.glob(f"*{SUFFIX}") if path.is_file())
        return tuple(sorted(name for name in stems if _NAME.fullmatch(name) and len(name) <= MAX_NAME_CHARACTERS))

    def __contains__(self, name: str) -> bool:
        return name in self.names()

    def get(self, name: str) -> Voice:
        """Raises: UnknownVoice; BadVoice for a damaged file."""
        return read_voice(self._existing(name), name)

    def save(self, voice: Voice, *, replace: bool = False) -> Path:
        """Keep a voice under its name.

        Raises: BadVoiceName; VoiceExists unless it may be replaced; OutputError, and then nothing is left of it.
        """
        path = self._path(voice.name)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise OutputError(str(self.folder), exc.strerror or str(exc)) from exc
        self._sweep()
        if path.exists() and not replace:
            raise VoiceExists(voice.name)
        save_voice(voice, path)
        return path

    def delete(self, name: str) -> None:
        """Raises: UnknownVoice, OutputError."""
        path = self._existing(name)
        try:
            path.unlink()
        except FileNotFoundError as exc:
            raise UnknownVoice(name, self.names()) from exc
        except OSError as exc:
            raise OutputError(str(path), exc.strerror or str(exc)) from exc

    def rename(self, name: str, new_name: str) -> None:
        """Raises: UnknownVoice, BadVoiceName, VoiceExists, OutputError."""
        old, new = self._existing(name), self._path(new_name)
        try:
            os.link(old, new)  # unlike a rename, never over another voice
            old.unlink()
        except FileExistsError as exc:
            raise VoiceExists(new_name) from exc
        except OSError as exc:
            raise OutputError(str(new), exc.strerror or str(exc)) from exc

    def _path(self, name: str) -> Path:
        return self.folder / f"{check_voice_name(name)}{SUFFIX}"

    def _existing(self, name: str) -> Path:
        names = self.names()
        if name not in names:
            raise UnknownVoice(name, names)
        return self.folder / f"{name}{SUFFIX}"

    def _sweep(self) -> None:
        """Remove what a kill left of a voice."""
        for path in self.folder.glob(f".*{SUFFIX}.*"):
            try:
                if time.time() - path.stat().st_mtime > STALE_S:
                    path.unlink()
            except OSError:
                continue  # somebody else was faster
