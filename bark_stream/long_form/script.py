"""A text file -> turns: paragraphs of one speaker, or the lines of a dialogue (`NAME: line`).

Read as it is needed, never all at once. Knows no voices: who speaks with which is the cast's business.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_LINE_OF = re.compile(r"\s*(?P<name>[^\s:][^:\n]{0,39}?)\s*:\s+(?P<text>\S.*)")
"""A name of at most forty characters, a colon and a space: `14:30` and `http://…` are none."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What one speaker says in one go."""

    speaker: str | None
    """As the file names them; None for whoever reads."""
    text: str
    num_characters: int
    """Read from the file up to and with this turn, for a progress bar."""


def paragraphs(lines: Iterable[str]) -> Iterator[Turn]:
    """Everything by one speaker; a blank line, or an indented first one, begins a paragraph."""
    gathered: list[str] = []
    num_characters = 0
    for line in lines:
        is_new = not line.strip() or line[0].isspace()
        if is_new and gathered:
            yield Turn(None, "".join(gathered), num_characters)
            gathered = []
        num_characters += len(line)
        if line.strip():
            gathered.append(line)
    if gathered:
        yield Turn(None, "".join(gathered), num_characters)


def dialogue(lines: Iterable[str]) -> Iterator[Turn]:
    """`NAME: line` is said by NAME; a line without a name goes on with whoever spoke last, a blank one ends that."""
    speaker: str | None = None
    num_characters = 0
    for line in lines:
        num_characters += len(line)
        if not line.strip():
            speaker = None
            continue
        match = _LINE_OF.fullmatch(line.rstrip())
        if match is not None:
            speaker = match["name"]
        yield Turn(speaker, line if match is None else match["text"], num_characters)
