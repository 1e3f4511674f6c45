"""Who goes next: pure, without tensors and without a clock of its own.

Streams about to run dry come first, the driest before the others; then those whose first audio is awaited, in order of
arrival; then the rest, least ahead first. Stages, in this order, so that many share the dearest, the coarse steps:

1. Semantic tokens, whoever lacks some. They are few for each chunk, and who gets them joins the coarse steps.
2. Sound (fine and codec), where nothing is shared: the most urgent alone. It then lacks semantic tokens again, and
   comes back to the others. But where only few are urgent, the others' sound waits for the coarse steps of the few.
3. Coarse tokens, for everybody at once.

Of those who still lay their prefixes only the most urgent takes part in a step: a piece of a prefix takes as long as
several tokens, and one in each step leaves nobody waiting for ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bark_stream.sentence_run import Stage

DRY_S = 0.3
"""A stream with less audio than this ahead of its listener is about to run dry."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A stream that could step now."""

    stream: int
    stage: Stage
    arrival: int
    """Order in which the sentences were asked for."""
    lead_s: float | None
    """Audio made but not yet heard; None before the first audio of a turn."""
    is_laying: bool = False
    """Its next step lays a piece of a prefix, many positions, rather than drawing a token."""


def choose(candidates: Sequence[Candidate]) -> tuple[Stage, list[int]]:
    """The stage to step and the streams that do, most urgent first. `candidates` must not be empty."""
    ordered = sorted(candidates, key=_urgency)
    if any(candidate.stage is Stage.SEMANTIC for candidate in ordered):
        return _share(Stage.SEMANTIC, ordered)
    urgent = [candidate for candidate in ordered if _is_urgent(candidate)]
    are_few = 0 < len(urgent) <= len(ordered) // 2
    sounding = [c for c in (urgent if are_few else ordered) if c.stage is not Stage.COARSE]
    if not sounding and any(candidate.stage is Stage.COARSE for candidate in ordered):
        return _share(Stage.COARSE, ordered)
    first = (sounding or ordered)[0]
    return first.stage, [first.stream]


def _share(stage: Stage, ordered: Sequence[Candidate]) -> tuple[Stage, list[int]]:
    sharing = [candidate for candidate in ordered if candidate.stage is stage]
    laying = next((candidate for candidate in sharing if candidate.is_laying), None)
    return stage, [c.stream for c in sharing if not c.is_laying or c is laying]


def _is_urgent(candidate: Candidate) -> bool:
    return candidate.lead_s is None or candidate.lead_s < DRY_S


def _urgency(candidate: Candidate) -> tuple[int, float]:
    if candidate.lead_s is None:
        return (1, candidate.arrival)
    return (0 if candidate.lead_s < DRY_S else 2, candidate.lead_s)
