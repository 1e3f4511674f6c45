"""What is known of a stop from what stands before it: is "Dr." an abbreviation, "3." a number, "…" a pause?"""

from __future__ import annotations

import re
import unicodedata
from enum import Enum, auto

from bark_stream.abbreviations import BEFORE_NUMBER, NEVER_LAST, RARELY_LAST

STOPS = frozenset(".!?…‽。！？｡．।॥؟")
_INITIALS = re.compile(r"(?:^|[\s(])((?:[^\W\d_]\.[\s-]?)+[^\W\d_])$")
_LEADING_MARKS = "([{«„“\"'‘¿¡*_-–—•⁃（「"


class StopKind(Enum):
    PLAIN = auto()
    """Ends a sentence unless a small letter follows."""
    ELLIPSIS = auto()
    NEVER = auto()
    """After a title, or the number of a list item."""
    RARELY = auto()
    """After initials and the like: only a word that opens sentences can tell."""
    LETTER = auto()
    """After a small letter: "z. B." goes on, "point c." does not."""
    NUMBER_FOLLOWS = auto()
    """Ends no sentence if a number follows."""
    ORDINAL = auto()
    """After a small number, which is an ordinal in many languages."""
    LINE = auto()
    """No stop, but the end of a line."""


def classify_stop(sentence: str, stop: int) -> StopKind:
    """Args: sentence: up to and with the row of stops and closing marks that begins at `stop`."""
    row = sentence[stop:].strip()
    if "…" in row or ".." in row:
        return StopKind.PLAIN if "!" in row or "?" in row else StopKind.ELLIPSIS
    if not row.startswith(".") or "!" in row or "?" in row:
        return StopKind.PLAIN
    before = sentence[:stop]
    token = last_token(before)
    if not token:
        return StopKind.ELLIPSIS
    is_first = before.strip().lstrip(_LEADING_MARKS + " ") == token or before[: -len(token)].rstrip().endswith("•")
    if token.isdigit():
        if len(token) > 2:
            return StopKind.PLAIN
        return StopKind.NEVER if is_first else StopKind.ORDINAL
    return _classify_word(before, token, is_first)


def _classify_word(before: str, token: str, is_first: bool) -> StopKind:
    initials = _INITIALS.search(before)
    names = {token.casefold(), re.split(r"[-'’/.]", token)[-1].casefold()}
    if initials:
        names = {re.sub(r"\s", "", initials[1]).casefold()}
    if names & NEVER_LAST:
        return StopKind.NEVER
    if names & RARELY_LAST:
        return StopKind.RARELY
    if names & BEFORE_NUMBER:
        return StopKind.NUMBER_FOLLOWS
    if initials:
        return StopKind.RARELY if initials[1].isupper() else StopKind.PLAIN
    if len(token) == 1 and token.isalpha() and not is_wide(token):
        if is_first:
            return StopKind.NEVER  # an item of a list
        return StopKind.RARELY if token.isupper() else StopKind.LETTER
    return StopKind.PLAIN


def is_wide(character: str) -> bool:
    """A full-width character, as Chinese, Japanese and Korean are written in."""
    return bool(character) and ord(character) >= 0x1100 and unicodedata.east_asian_width(character) in "WF"


def is_symbol(character: str) -> bool:
    """Emoji, arrows, joiners and the like, which go with what they follow."""
    return ord(character) > 0x7F and unicodedata.category(character) in ("So", "Sk", "Cf", "Mn", "Me", "Co", "Cn")


def last_token(text: str) -> str:
    """The last word with what is glued to it, opening marks aside; empty after white space."""
    tail = text[-80:]
    return "" if not tail or tail[-1].isspace() else tail.split()[-1].lstrip(_LEADING_MARKS)
