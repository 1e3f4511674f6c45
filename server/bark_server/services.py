"""What all sessions of a server share: the model that clients are told about, the engine's door, limits, measuring."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from bark_server.admission import Admission
from bark_server.limits import Limits
from bark_server.notices import Observer
from bark_server.speech import SpeechStream
from bark_stream.config import ChunkPolicy, SamplingConfig
from bark_stream.provenance import VoiceOrigin


@dataclass(frozen=True, slots=True)
class Model:
    """What clients are told about the engine."""

    name: str
    sample_rate_hz: int
    list_voices: Callable[[], tuple[str, ...]]
    voice_origin: Callable[[str], VoiceOrigin]
    default_voice: str | None
    sampling: SamplingConfig
    """What a context uses where it asks for nothing else."""

    @property
    def voices(self) -> tuple[str, ...]:
        """Those that there are now: cloned ones come and go."""
        return self.list_voices()


@dataclass(frozen=True, slots=True)
class SpeechRequest:
    """What the engine must know to open a stream."""

    number: int
    """Of the context within its session."""
    voice: str | None
    seed: int
    sampling: SamplingConfig
    policy: ChunkPolicy


OpenSpeech: TypeAlias = Callable[[str, SpeechRequest], SpeechStream]
"""Called with the id of the session that the engine's events are for."""


@dataclass(frozen=True, slots=True)
class Services:
    model: Model
    limits: Limits
    admission: Admission
    open_speech: OpenSpeech
    observe: Observer
