"""The voices of one model, by name, read when first asked for; and, beside them, voices of one's own.

A name is looked up in a list made when the model was opened, or of what a `VoiceStore` holds; it never becomes a path
by itself, so a client may send any string.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

from bark_stream.config import ModelConfig
from bark_stream.errors import BadVoice, UnknownVoice
from bark_stream.provenance import VoiceOrigin
from bark_stream.voice import Voice, read_voice
from bark_stream.voice_store import VoiceStore

VoiceReader = Callable[[], Voice]

_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)*")


class VoiceLibrary:
    def __init__(self, readers: Mapping[str, VoiceReader], config: ModelConfig, own: VoiceStore | None = None) -> None:
        """Args:
            readers: how to read each voice, by name.
            config: what a voice must fit, and the aliases.
            own: voices that may come and go; the model's own names go before theirs.
        Raises: BadVoice for a name that could not be a file's.
        """
        for name in readers:
            if not _NAME.fullmatch(name):
                raise BadVoice(repr(name), "its name is none: letters, digits, - _ and inner dots, in parts by /")
        self._readers = dict(readers)
        self._config = config
        self._own = own
        self._voices: dict[str, Voice] = {}
        self._lock = threading.Lock()

    def names(self) -> tuple[str, ...]:
        """Names without aliases, sorted."""
        own = () if self._own is None else self._own.names()
        return tuple(sorted({*self._readers, *own}))

    def with_own(self, own: VoiceStore) -> VoiceLibrary:
        """The same voices, and those of a store."""
        return VoiceLibrary(self._readers, self._config, own)

    def is_of_model(self, name: str) -> bool:
        """Whether the model came with it, under this name or an alias."""
        return self._config.voice_aliases.get(name, name) in self._readers or name in self._readers

    def origin(self, name: str) -> VoiceOrigin:
        """Where a voice comes from. Raises: UnknownVoice; BadVoice if its file is damaged."""
        if self.is_of_model(name):
            return "preset"
        return "cloned" if self.get(name).is_cloned else "own"

    def get(self, name: str) -> Voice:
        """The voice of that name or alias, checked against the model.

        Raises: UnknownVoice; BadVoice if its file is damaged.
        """
        if not self.is_of_model(name):
            if self._own is not None and name in self._own:
                return self._own.get(name).check(self._config)
            raise UnknownVoice(name, self.names())
        if name not in self._readers:
            name = self._config.voice_aliases[name]
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


def library_of(voices: Iterable[Voice], config: ModelConfig) -> VoiceLibrary:
    """Voices that are there already, by their own names."""
    return VoiceLibrary({voice.name: partial(_same, voice) for voice in voices}, config)


def _same(voice: Voice) -> Voice:
    return voice
