"""What a session tells whoever measures and logs. Never holds text that people speak."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class ContextOpened:
    stream: int
    audio_format: str


@dataclass(frozen=True, slots=True)
class FirstAudio:
    """The first packet of a context left."""

    stream: int
    ttfa_s: float


@dataclass(frozen=True, slots=True)
class AudioSent:
    num_packets: int
    num_bytes: int
    lead_s: float
    """Sent and not yet heard, after these packets."""


@dataclass(frozen=True, slots=True)
class Underrun:
    """A packet inside a sentence was made after its playback time."""

    stream: int


@dataclass(frozen=True, slots=True)
class ContextDone:
    stream: int
    audio_s: float
    num_sentences: int
    rtf: float | None


@dataclass(frozen=True, slots=True)
class ContextCancelled:
    stream: int
    audio_s: float
    played_s: float


@dataclass(frozen=True, slots=True)
class ErrorSent:
    code: str


Notice: TypeAlias = ContextOpened | FirstAudio | AudioSent | Underrun | ContextDone | ContextCancelled | ErrorSent
Observer: TypeAlias = Callable[[str, Notice], None]
"""Called with the session's label and a notice."""
