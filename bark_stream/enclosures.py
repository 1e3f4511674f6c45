"""Brackets, quotation marks and ♪ that are open: what they enclose is kept together.

An enclosure that nobody closes must not hold up the stream, so each protects a bounded number of characters.
"""

from __future__ import annotations

MAX_PROTECTED_CHARACTERS = 100
"""An opening mark is believed for so long; quotations beyond it are several sentences."""
NOTES = "♪♫"

_CLOSERS = {
    "(": ")", "[": "]", "{": "}", "（": "）", "【": "】", "［": "］", "「": "」", "『": "』", "《": "》", "〈": "〉",
    "«": "»", "‹": "›", "„": "“”", "“": "”", "‚": "‘", "»": "«",
}  # fmt: skip
_BEFORE_OPENING = frozenset(_CLOSERS) | frozenset("-–—/\"'*_")
OPENING = frozenset(_CLOSERS) | frozenset("¿¡\"'‘*_")
ONLY_CLOSING = frozenset(")]}）】］」』》〉›”")
CLOSING = ONLY_CLOSING | frozenset("»“’‘\"'*_~`")
"""What may stand between a full stop and the space after it."""


class Enclosures:
    """The marks that are open at the end of the text read so far."""

    def __init__(self, max_song_characters: int) -> None:
        self._max_song_characters = max_song_characters
        self._open: list[tuple[str, int]] = []

    def read(self, character: str, previous: str, position: int) -> bool:
        """Take the next character; `previous` is empty at the start. True if it closes something."""
        for depth in range(len(self._open) - 1, -1, -1):
            if character in self._open[depth][0]:
                del self._open[depth:]
                return True
        if self._opens(character, previous):
            self._open.append((_CLOSERS.get(character, character), position))
        return False

    def protects(self, position: int) -> bool:
        """Does something believable enclose `position`?"""
        while self._open and position - self._open[-1][1] > self._limit(self._open[-1][0]):
            self._open.pop()
        return any(position - start <= self._limit(closer) for closer, start in self._open)

    def is_open(self, character: str) -> bool:
        """Would `character` close something?"""
        return any(character in closer for closer, _ in self._open)

    def clear(self) -> None:
        self._open.clear()

    def _limit(self, closer: str) -> int:
        return self._max_song_characters if closer in NOTES else MAX_PROTECTED_CHARACTERS

    @staticmethod
    def _opens(character: str, previous: str) -> bool:
        at_word_start = not previous or previous.isspace() or previous in _BEFORE_OPENING
        if character in NOTES:
            return True
        if character == '"':
            return at_word_start or ord(previous) > 0x2E80  # CJK puts no space before a quotation mark
        if character == "»":
            return at_word_start
        if character == "(" and previous in (":", ";", "-", "="):
            return False  # a smiley
        return character in _CLOSERS
