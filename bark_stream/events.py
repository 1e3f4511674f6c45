"""What leaves the engine while a sentence is spoken. Values only: no tensors, no threads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from bark_stream.errors import BarkStreamError


@dataclass(frozen=True, slots=True)
class Word:
    """A word of the text and when it is heard, in seconds from the sentence's first sample."""

    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class MouthShape:
    """How a speaking face holds its mouth, in seconds from the sentence's first sample."""

    shape: str
    """One of `bark_stream.mouth.SHAPES`."""
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """Audio handed over at once. Chunks of a stream are gapless."""

    sentence: int
    """Index of the sentence it belongs to."""
    pcm: NDArray[np.float32]
    """[T] mono at the model's sample rate, nominally -1 … 1 (EnCodec does not clip)."""
    start_sample: int
    """Its first sample on the stream's clock."""
    words: tuple[Word, ...] | None = None
    """Those that begin in this audio; None when the model cannot tell. A word that goes on in audio not yet thought of
    ends, for now, where thought ends."""
    mouth_shapes: tuple[MouthShape, ...] = ()
    """Of this audio, without gaps; empty when the model cannot tell."""

    @property
    def end_sample(self) -> int:
        return self.start_sample + len(self.pcm)


@dataclass(frozen=True, slots=True)
class SentenceDone:
    """After the last chunk of a sentence."""

    sentence: int
    start_sample: int
    num_samples: int
    compute_s: float
    words: tuple[Word, ...] | None = None
    """All of them, those of its chunks and any that were never clearly heard; None when the model cannot tell."""


@dataclass(frozen=True, slots=True)
class GuardFired:
    """A guard changed what the model would have said."""

    sentence: int
    guard: str
    """`duration`, `loop`, `silence` or `leading_silence`."""
    at_s: float
    """Where in the sentence, in seconds of what the model made."""


@dataclass(frozen=True, slots=True)
class SentenceFailed:
    """This sentence could not be spoken; the stream lives on."""

    sentence: int
    error: BarkStreamError


Event: TypeAlias = Chunk | SentenceDone | GuardFired | SentenceFailed
