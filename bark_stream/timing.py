"""Semantic tokens -> when words and mouth shapes are heard, chunk by chunk.

A semantic token is heard at its own time on the semantic clock (49.9 Hz in Bark), less the silence that guards cut out
before it. Knows no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from bark_stream.alignment import TextAlignment
from bark_stream.events import MouthShape, Word
from bark_stream.mouth import SILENT, shape_of


@dataclass(frozen=True, kw_only=True, slots=True)
class TimingClock:
    """A model's clocks, and what its semantic tokens stand for."""

    rate_hz: float
    """Semantic tokens per second."""
    block_s: float
    """What a guard cuts is a whole number of these."""
    phones: tuple[str, ...] = ()
    """Of each semantic token; empty where tokens stand for no phones."""

    def shape(self, token: int) -> str:
        return shape_of(self.phones[token]) if token < len(self.phones) else SILENT

    def is_silent(self, token: int) -> bool:
        return bool(self.phones) and self.shape(token) == SILENT


@dataclass(slots=True)
class SentenceTiming:
    """What has been told of one sentence."""

    clock: TimingClock
    num_shape_tokens: int = 0
    words: list[Word] = field(default_factory=list)

    def heard_s(self, token: int, dropped_blocks: Sequence[int]) -> float:
        """When semantic token `token` begins, in seconds of the sentence's audio."""
        made_s = token / self.clock.rate_hz
        block_s = self.clock.block_s
        cut_s = sum(min(max(made_s - block * block_s, 0.0), block_s) for block in dropped_blocks)
        return max(0.0, made_s - cut_s)

    def tell_words(
        self,
        alignment: TextAlignment,
        tokens: Sequence[int],
        dropped_blocks: Sequence[int],
        *,
        before_s: float,
        is_last: bool,
    ) -> tuple[Word, ...]:
        """Words that begin before `before_s` of the audio and were not told.

        Args:
            tokens: the sentence's semantic tokens so far; more than have become audio.
            is_last: the sentence ends there: all its words are told, also those the alignment never reached.
        """
        starts = list(alignment.starts)
        if is_last:
            starts += [len(tokens)] * (len(alignment.words) - len(starts))
        num_told = len(self.words)
        for index in range(num_told, len(starts)):
            first = starts[index]
            last = starts[index + 1] if index + 1 < len(starts) else len(tokens)
            first, last = self._without_silence(first, last, tokens)
            start_s = self.heard_s(first, dropped_blocks)
            if not is_last and start_s >= before_s:
                break
            end_s = max(start_s, self.heard_s(last, dropped_blocks))
            if is_last:
                start_s, end_s = min(start_s, before_s), min(end_s, before_s)
            self.words.append(Word(alignment.words[index].text, start_s, end_s))
        return tuple(self.words[num_told:])

    def tell_shapes(
        self, tokens: Sequence[int], dropped_blocks: Sequence[int], *, before_s: float
    ) -> tuple[MouthShape, ...]:
        """Mouth shapes of the tokens heard before `before_s` that were not told, equal neighbours as one."""
        shapes: list[MouthShape] = []
        while self.clock.phones and self.num_shape_tokens < len(tokens):
            start_s = self.heard_s(self.num_shape_tokens, dropped_blocks)
            if start_s >= before_s:
                break
            end_s = min(before_s, self.heard_s(self.num_shape_tokens + 1, dropped_blocks))
            shape = self.clock.shape(tokens[self.num_shape_tokens])
            if shapes and shapes[-1].shape == shape:
                shapes[-1] = MouthShape(shape, shapes[-1].start_s, end_s)
            elif end_s > start_s:
                shapes.append(MouthShape(shape, start_s, end_s))
            self.num_shape_tokens += 1
        return tuple(shapes)

    def _without_silence(self, first: int, last: int, tokens: Sequence[int]) -> tuple[int, int]:
        """A word's tokens without the silence around it, unless it is nothing but silence."""
        sounding = [index for index in range(first, last) if not self.clock.is_silent(tokens[index])]
        return (sounding[0], sounding[-1] + 1) if sounding else (first, last)
