"""Sentences with their times -> captions: SubRip (`.srt`) and WebVTT (`.vtt`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from bark_stream.events import Word

CaptionFormat = Literal["srt", "vtt"]
MAX_CHARACTERS = 84
"""Two lines of a screen."""
MAX_CUE_S = 7.0


@dataclass(frozen=True, slots=True)
class Cue:
    """What is shown at once."""

    start_s: float
    end_s: float
    text: str
    speaker: str | None = None


def cues(
    text: str, start_s: float, duration_s: float, words: Sequence[Word] | None, speaker: str | None = None
) -> Iterator[Cue]:
    """One sentence as cues that fit a screen.

    Args:
        start_s: of the sentence in the whole sound.
        words: when each is heard, from the sentence's start; without them their lengths share its duration.
    """
    words = words or _estimated(text, duration_s)
    gathered: list[Word] = []
    for word in words:
        if gathered and (
            sum(len(known.text) + 1 for known in gathered) + len(word.text) > MAX_CHARACTERS
            or word.end_s - gathered[0].start_s > MAX_CUE_S
        ):
            yield _cue(gathered, start_s, speaker)
            gathered = []
        gathered.append(word)
    if gathered:
        yield _cue(gathered, start_s, speaker)


def written(shown: Iterable[Cue], form: CaptionFormat) -> Iterator[str]:
    """The lines of a caption file, piece by piece."""
    if form == "vtt":
        yield "WEBVTT\n\n"
    for number, cue in enumerate(shown, 1):
        mark = "," if form == "srt" else "."
        text = _vtt_text(cue) if form == "vtt" else _srt_text(cue)
        yield f"{number}\n{_clock(cue.start_s, mark)} --> {_clock(cue.end_s, mark)}\n{text}\n\n"


def _estimated(text: str, duration_s: float) -> list[Word]:
    pieces = text.split()
    per_character = duration_s / max(1, sum(len(piece) + 1 for piece in pieces))
    words: list[Word] = []
    at_s = 0.0
    for piece in pieces:
        end_s = at_s + (len(piece) + 1) * per_character
        words.append(Word(piece, at_s, end_s))
        at_s = end_s
    return words


def _cue(words: Sequence[Word], start_s: float, speaker: str | None) -> Cue:
    text = " ".join(word.text for word in words)
    return Cue(start_s + words[0].start_s, start_s + max(word.end_s for word in words), text, speaker)


def _srt_text(cue: Cue) -> str:
    return cue.text if cue.speaker is None else f"{cue.speaker}: {cue.text}"


def _vtt_text(cue: Cue) -> str:
    text = cue.text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text if cue.speaker is None else f"<v {cue.speaker.replace('>', '')}>{text}"


def _clock(time_s: float, mark: str) -> str:
    total_ms = round(time_s * 1000)
    seconds, milliseconds = divmod(total_ms, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{mark}{milliseconds:03}"
