"""The voices of one model, by name, read when first asked for.

A name is looked up in a list made when the model was opened; it never becomes a path, so a client may send any string.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from bark_stream.config import ModelConfig
from bark_stream.errors import BadVoice, UnknownVoice
from bark_stream.voice import Voice, read_voice

VoiceReader = Callable[[], Voice]

_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)*")


class VoiceLibrary:
    def __init__(self, readers: Mapping[str, VoiceReader], config: ModelConfig) -> None:
        """Args: readers: how to read each voice, by name; config: what a voice must fit, and the aliases.

        Raises: BadVoice for a name that could not be a file's.
        """
        for name in readers:
            if not _NAME.fullmatch(name):
                raise BadVoice(repr(name), "its name is none: letters, digits, - _ and inner dots, in parts by /")
        self._readers = dict(readers)
        self._config = config
        self._voices: dict[str, Voice] = {}
        self._lock = threading.Lock()

    def names(self) -> tuple[str, ...]:
        """Names without aliases, sorted."""
        return tuple(sorted(self._readers))

    def get(self, name: str) -> Voice:
        """The voice of that name or alias, checked against the model.

        Raises: UnknownVoice; BadVoice if its file is damaged.
        """
        if name not in self._readers:
            name = self._config.voice_aliases.get(name, name)
        if name not in self._readers:
            raise UnknownVoice(name, self.names())
        with self._lock:
            if name not in self._voices:
                self._voices[name] = self._readers[name]().check(self._config)
            return self._voices[name]


def voice_readers(folder: Path) -> dict[str, VoiceReader]:
    """Readers of every `.npz` below a folder, named by their path in it: `v2/en_speaker_6`, `announcer`."""
    readers: dict[str, VoiceReader] = {}
    for path in sorted(folder.rglob("*.npz")):
        name = path.relative_to(folder).with_suffix("").as_posix()
        readers[name] = partial(read_voice, path, name)
    return readers
