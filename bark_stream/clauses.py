"""Where a sentence that is too long is best cut.

Knows nothing of sentences' ends; a speaker would breathe at these places.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from bark_stream.abbreviations import CONJUNCTIONS
from bark_stream.stops import is_wide
from bark_stream.text import has_speech, without_tags

WIDE_WEIGHT = 3
"""A Han, kana or Hangul character, and a digit, take about as long to say as three letters."""
_EARLIEST = 0.4
"""Of the allowed length: a better place before it would leave too little to say."""

_TAG = re.compile(r"\[[^\]\n]{0,40}(?:\]|$)")
_SONG = re.compile(r"[♪♫][^♪♫]*(?:[♪♫]|$)")
_PLACES = (
    re.compile(r"(?<=\w{4})[.!?…]+[\"'”’»)]*\s+|[。！？।]+[」』”）]*\s*"),
    re.compile(r"[;:]\s+|[；：]|——?\s*|\s[–—-]\s+"),
    re.compile(r",[\"'”’»]?\s+|[、，]"),
    re.compile(r"(?<=\s)(?=(?:" + "|".join(sorted(CONJUNCTIONS)) + r")\s)", re.IGNORECASE),
    re.compile(r"\s+"),
)
"""Best first: a stop that did not end the sentence, a semicolon, colon or dash, a comma, a conjunction, a space."""
_CLAUSE_END = re.compile(r"(?:[,;:][\"'”’»]?|\s[–—-]|—)\s+$|[、，；：—]$")
_SPEAKER = re.compile(r"(?:^|\n)\s*[^\W\d_]{2,}(?: [^\W\d_]+)?:\s+$")


def weight(character: str) -> int:
    """How long a character takes to say, in Latin letters."""
    return WIDE_WEIGHT if character.isdigit() or (is_wide(character) and character.isalpha()) else 1


def spoken_weight(text: str) -> int:
    """Weight of what is spoken of the text: white space at the ends and tags count for nothing."""
    return sum(map(weight, without_tags(text).strip()))


def ends_clause(text: str) -> bool:
    """Does the text end with a comma, semicolon, colon or dash (and the space after it)?"""
    return bool(_CLAUSE_END.search(text[-8:])) and not _is_speaker(text)


def best_cut(text: str, max_weight: int) -> int:
    """The best place to cut `text` at: a head of at most `max_weight`, spoken on its own.

    Returns: length of the head, at least 1. Never inside a tag, nor inside a pair of ♪ if the cut can come before it.
    """
    earliest, latest = _window(text, max_weight)
    kept = _kept_together(text, latest)
    whole_tags = [m.span() for m in _TAG.finditer(text)]
    for rank, place in enumerate(_PLACES):
        found = [p for p in _ends(place, text) if earliest <= p <= latest and _is_free(p, text, kept, rank)]
        if found and _says_something(text[: found[-1]]):
            return found[-1]
    spaces = [p for p in _ends(_PLACES[-1], text) if 0 < p <= latest]
    for forbidden in (kept, whole_tags):
        found = [p for p in spaces if _is_free(p, text, forbidden, len(_PLACES))]
        if found and _says_something(text[: found[-1]]):
            return found[-1]
    return _hard_cut(text, latest)


def _says_something(text: str) -> bool:
    return has_speech(without_tags(text))


def _ends(place: re.Pattern[str], text: str) -> Iterator[int]:
    return (match.end() for match in place.finditer(text))


def _window(text: str, max_weight: int) -> tuple[int, int]:
    """First and last allowed length of the head."""
    total, earliest = 0, 0
    for position, character in enumerate(text):
        total += weight(character)
        if total <= _EARLIEST * max_weight:
            earliest = position + 1
        if total > max_weight:
            return max(1, earliest), max(1, position)
    return max(1, earliest), len(text)


def _kept_together(text: str, latest: int) -> list[tuple[int, int]]:
    """Spans that a cut should not fall into: tags, songs. A song that begins the text has to be cut."""
    spans = [m.span() for m in _TAG.finditer(text)]
    spans += [m.span() for m in _SONG.finditer(text) if has_speech(text[: m.start()]) or m.end() <= latest]
    return spans


def _is_free(position: int, text: str, kept: list[tuple[int, int]], rank: int) -> bool:
    if any(start < position < end for start, end in kept):
        return False
    if text[position : position + 1] == "[" and rank < len(_PLACES):
        return False  # the tag may turn out to be the last thing of all
    return not _is_speaker(text[:position])


def _is_speaker(text: str) -> bool:
    match = _SPEAKER.search(text[-40:])
    return match is not None and match[0].isupper()


def _hard_cut(text: str, latest: int) -> int:
    """In the middle of a word, but of no character."""
    position = latest
    while position > 1 and position < len(text) and unicodedata.category(text[position]) in ("Mn", "Mc", "Me", "Cf"):
        position -= 1
    return position
