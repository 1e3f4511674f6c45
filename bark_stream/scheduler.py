"""Who goes next: pure, without tensors and without a clock of its own.

Earliest deadline first. A stream's deadline is when its listener will have heard all there is, or is to hear the first
sound; the stage that the most urgent stream needs is the one that is stepped. Of several that are short of time, those
who lack semantic tokens go first, then those whose sound can be made: so they meet in the coarse steps, the dearest.

Semantic and coarse steps are shared with all who need the same, however far ahead they are: a companion costs half of
what it would cost alone. Who is far ahead waits at the stage that it has reached, which is where the others meet it. Of
those who still lay their prefixes only one takes part in a step: a piece of a prefix takes as long as several tokens.

Several workers may ask, one after another, each for streams that no other is stepping.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bark_stream.sentence_run import Stage

SHORT_S = 0.2
"""A stream whose next sound is due before that is short of time."""

_ORDER = {Stage.SEMANTIC: 0, Stage.FINE: 1, Stage.CODEC: 1, Stage.COARSE: 2}
_SHARED = (Stage.SEMANTIC, Stage.COARSE)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A stream that could step now."""

    stream: int
    stage: Stage
    slack_s: float
    """Until the sound that it works on is to be heard; negative if that has passed."""
    slot: int | None = None
    """Its place in the stage's cache, if it has one: neighbours step together faster than others."""
    is_laying: bool = False
    """Its next step lays a piece of a prefix, many positions, rather than drawing a token."""


def choose(candidates: Sequence[Candidate], *, num_idle_workers: int = 0) -> tuple[Stage, list[int]]:
    """The stage to step and the streams that do. `candidates` must not be empty.

    Args: num_idle_workers: besides the one that asks. Where everybody needs the same, they are left their part.
    """
    ordered = sorted(candidates, key=lambda candidate: candidate.slack_s)
    short = [candidate for candidate in ordered if candidate.slack_s < SHORT_S]
    first = min(short, key=lambda candidate: _ORDER[candidate.stage]) if short else ordered[0]
    if first.stage not in _SHARED:
        return first.stage, [first.stream]
    sharing = [candidate for candidate in ordered if candidate.stage is first.stage]
    laying = next((candidate for candidate in sharing if candidate.is_laying), None)
    sharing = [candidate for candidate in sharing if not candidate.is_laying or candidate is laying]
    if len(sharing) == len(candidates):
        sharing = _part(sharing, first, num_parts=1 + num_idle_workers)
    return first.stage, [candidate.stream for candidate in sharing]


def _part(sharing: list[Candidate], first: Candidate, *, num_parts: int) -> list[Candidate]:
    """That of some equal parts, neighbours together, in which `first` is."""
    size = -(-len(sharing) // num_parts)
    by_slot = sorted(sharing, key=lambda candidate: -1 if candidate.slot is None else candidate.slot)
    start = by_slot.index(first) // size * size
    return by_slot[start : start + size]
