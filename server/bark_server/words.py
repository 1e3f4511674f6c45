"""When the words of a sentence are heard: as the model tells, else interpolated by their length.

Captions and the truth about an interruption come from the same times. Knows no wire and no clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bark_stream.events import MouthShape, Word
from bark_stream.words import words_in

DEFAULT_S_PER_CHARACTER = 0.065
"""Of speech, before the context has spoken a sentence of its own."""


@dataclass(frozen=True, slots=True)
class TimedWord:
    text: str
    start_s: float
    """From the sentence's first sample."""
    end_s: float
    end_offset: int
    """Characters of the source up to and including this word."""


class SpokenSentence:
    """A sentence of a context, with as much of its audio and its word times as is known by now."""

    def __init__(self, *, index: int, source: str, offset: int, start_samples: int, rate_hz: int) -> None:
        self.index = index
        self.source = source
        self.offset = offset
        """Of `source` in the context's text."""
        self.start_samples = start_samples
        self.made_samples = 0
        self.is_done = False
        self.words: list[TimedWord] = []
        """Told so far, in order."""
        self.is_estimated = False
        self._rate_hz = rate_hz
        self._spans = [(match.group(), match.end()) for match in words_in(source)]
        self._exact: list[TimedWord] | None = None
        """As the model tells; None when it does not."""
        self._untold_shapes: list[MouthShape] = []

    @property
    def end_samples(self) -> int:
        return self.start_samples + self.made_samples

    @property
    def made_s(self) -> float:
        return self.made_samples / self._rate_hz

    @property
    def has_untold_words(self) -> bool:
        if self._exact is not None:
            return len(self.words) < len(self._exact)
        return bool(self._spans) and (not self.words or self.words[-1].end_offset < self._spans[-1][1])

    @property
    def told_samples(self) -> int:
        """Of the context's clock: up to here the words have been told."""
        if not self.has_untold_words:
            return self.end_samples
        return self.start_samples + int(self._untold_from_s * self._rate_hz)

    @property
    def _untold_from_s(self) -> float:
        if self._exact is not None:
            return self._exact[len(self.words)].start_s
        return self.words[-1].end_s if self.words else 0.0

    def needs_telling(self, before_samples: int) -> bool:
        """Whether audio up to `before_samples` of the context holds words that were not told."""
        if not self.has_untold_words or before_samples <= self.start_samples:
            return False
        return self._untold_from_s * self._rate_hz < before_samples - self.start_samples or not self.words

    def learn(self, words: Sequence[Word] | None, mouth_shapes: Sequence[MouthShape] = ()) -> None:
        """What came with a piece of audio; `words` is None when the model cannot tell."""
        if words is not None:
            self._locate(words)
        self._untold_shapes += mouth_shapes

    def finish(self, num_samples: int, words: Sequence[Word] | None) -> None:
        """All audio of the sentence is made; `words` are all its words, None when the model cannot tell."""
        self.made_samples = num_samples
        self.is_done = True
        if words is not None:
            self.learn(words[len(self._exact or []) :])

    def tell(self, s_per_character: float) -> tuple[TimedWord, ...]:
        """Words that can be told now and were not yet: up to the end of the audio made, all of them once it is done.

        `is_estimated` says of which kind they are.
        """
        if self._exact is not None:
            new = self._exact[len(self.words) :]
            self.words.extend(new)
            return tuple(new)
        self.is_estimated = True
        told_s = self.words[-1].end_s if self.words else 0.0
        told_offset = self.words[-1].end_offset if self.words else 0
        new = self._interpolate(told_offset, told_s, s_per_character)
        if not self.is_done:
            new = [word for word in new if word.start_s < self.made_s]
        self.words.extend(new)
        return tuple(new)

    def tell_shapes(self) -> tuple[MouthShape, ...]:
        """Mouth shapes that were not told yet."""
        shapes, self._untold_shapes = self._untold_shapes, []
        return tuple(shapes)

    def heard_offset(self, heard_s: float, s_per_character: float) -> int:
        """Characters of the source that a listener has heard after `heard_s` of the sentence: whole words."""
        if self.is_done and heard_s >= self.made_s:
            return len(self.source)
        told = self.words if self._exact is None else self._exact
        rest = self._interpolate(told[-1].end_offset if told else 0, told[-1].end_s if told else 0.0, s_per_character)
        heard = [word.end_offset for word in (*told, *rest) if word.end_s <= heard_s]
        return max(heard, default=0)

    def _interpolate(self, from_offset: int, from_s: float, s_per_character: float) -> list[TimedWord]:
        spans = [(text, end) for text, end in self._spans if end > from_offset]
        num_characters = sum(len(text) + 1 for text, _ in spans)
        if not num_characters:
            return []
        if self.is_done:
            s_per_character = max(0.0, self.made_s - from_s) / num_characters
        words, time_s = [], from_s
        for text, end in spans:
            end_s = time_s + (len(text) + 1) * s_per_character
            words.append(TimedWord(text, time_s, end_s, end))
            time_s = end_s
        return words

    def _locate(self, words: Sequence[Word]) -> None:
        """Find the model's words in the source; one that is not there ends where the one before did."""
        located = self._exact or []
        cursor = located[-1].end_offset if located else 0
        for word in words:
            found = self.source.find(word.text, cursor) if word.text else -1
            cursor = cursor if found < 0 else found + len(word.text)
            located.append(TimedWord(word.text, word.start_s, word.end_s, cursor))
        self._exact = located
