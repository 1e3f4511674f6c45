"""Contexts that are over: what was said in them, for clients that interrupt what they still play, and which streams
they were, for clients that come back before they heard of the end. Bounded. Knows no wire and no clock.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from bark_server.transcript import Transcript

MAX_REMEMBERED = 8
"""Finished contexts whose text is kept."""
MAX_ENDED = 64
"""Contexts that are over whose stream numbers are kept."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A context that is over, though its client may not know yet."""

    number: int
    is_cancelled: bool


class PastContexts:
    """By name, the newest of each."""

    def __init__(self) -> None:
        self._ended: OrderedDict[str, Ended] = OrderedDict()
        self._remembered: OrderedDict[str, tuple[Transcript, int]] = OrderedDict()

    def __iter__(self) -> Iterator[tuple[str, Ended]]:
        return iter(self._ended.items())

    def finish(self, name: str, number: int, transcript: Transcript, num_samples: int) -> list[int]:
        """Spoken to its end. Returns the streams that are forgotten for it."""
        forgotten = self._end(name, Ended(number, is_cancelled=False))
        self._remembered[name] = (transcript, num_samples)
        while len(self._remembered) > MAX_REMEMBERED:
            self._remembered.popitem(last=False)
        return forgotten

    def cancel(self, name: str, number: int) -> list[int]:
        """Interrupted. Returns the streams that are forgotten for it."""
        return self._end(name, Ended(number, is_cancelled=True))

    def recall(self, name: str) -> tuple[int, Transcript, int] | None:
        """Stream, text and samples of a finished context, once; None when it is not known any more."""
        remembered = self._remembered.pop(name, None)
        return None if remembered is None else (self._ended[name].number, *remembered)

    def reopen(self, name: str) -> None:
        """A new context takes the name: the text of the former is of no more use."""
        self._remembered.pop(name, None)

    def _end(self, name: str, ended: Ended) -> list[int]:
        forgotten = []
        former = self._ended.pop(name, None)
        if former is not None and former.number != ended.number:
            forgotten.append(former.number)
        self._ended[name] = ended
        while len(self._ended) > MAX_ENDED:
            oldest, old = self._ended.popitem(last=False)
            self._remembered.pop(oldest, None)
            forgotten.append(old.number)
        return forgotten
