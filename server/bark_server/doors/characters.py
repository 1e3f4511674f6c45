"""When each character of a sentence is heard, from the times of its words, as far as they are known. Knows no wire."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from bark_server.messages import SentenceStarted, Words, WordTime


class Character(NamedTuple):
    text: str
    start_ms: float
    """On the context's clock."""
    end_ms: float


class CharacterClock:
    """The characters of one context. Every sentence ends in a space, so that words of two never run together."""

    def __init__(self) -> None:
        self._rest = ""
        """Of the sentence: what no word has been told for yet."""
        self._told_ms = 0.0
        self._waiting: deque[Character] = deque()

    def begin(self, sentence: SentenceStarted) -> None:
        self._end()
        self._told_ms = max(self._told_ms, sentence.start_ms)
        text = "".join(" " if character.isspace() else character for character in sentence.text)
        self._rest = text if text.endswith(" ") else text + " "

    def learn(self, words: Words) -> None:
        """A word that the text does not hold, such as a number that was spelled out, has no characters."""
        for word in words.words:
            self._place(word)

    def take(self, before_ms: float) -> list[Character]:
        """Characters that begin before `before_ms`; each is taken once."""
        taken = []
        while self._waiting and self._waiting[0].start_ms < before_ms:
            taken.append(self._waiting.popleft())
        return taken

    def take_rest(self) -> list[Character]:
        """The context is over: whatever was not taken."""
        self._end()
        taken = list(self._waiting)
        self._waiting.clear()
        return taken

    def _place(self, word: WordTime) -> None:
        position = self._rest.find(word.text) if word.text else -1
        if position < 0:
            return
        end = position + len(word.text)
        while end < len(self._rest) and self._rest[end] == " ":
            end += 1
        start_ms = max(self._told_ms, word.start_ms)
        end_ms = max(start_ms, word.end_ms)
        self._spread(self._rest[:position], self._told_ms, start_ms)
        self._spread(self._rest[position : position + len(word.text)], start_ms, end_ms)
        self._spread(self._rest[position + len(word.text) : end], end_ms, end_ms)
        self._rest = self._rest[end:]

    def _spread(self, text: str, start_ms: float, end_ms: float) -> None:
        """Evenly over the time."""
        self._waiting.extend(_spread(text, start_ms, end_ms))
        self._told_ms = end_ms

    def _end(self) -> None:
        """What is left of the sentence is heard at its end."""
        self._spread(self._rest, self._told_ms, self._told_ms)
        self._rest = ""


def _spread(text: str, start_ms: float, end_ms: float) -> Iterable[Character]:
    step_ms = (end_ms - start_ms) / len(text) if text else 0.0
    return (
        Character(character, start_ms + index * step_ms, start_ms + (index + 1) * step_ms)
        for index, character in enumerate(text)
    )
