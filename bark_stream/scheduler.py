"""Who goes next: pure, without tensors and without a clock of its own.

Streams about to run dry come first, the driest before the others; then those whose first audio is awaited, in order of
arrival; then the rest, least ahead first. Everybody whose next step is the same stage shares the step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bark_stream.pipeline import Stage

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


def choose(candidates: Sequence[Candidate]) -> tuple[Stage, list[int]]:
    """The stage to step and the streams that do, most urgent first. `candidates` must not be empty."""
    ordered = sorted(candidates, key=_urgency)
    stage = ordered[0].stage
    if stage in (Stage.FINE, Stage.CODEC):
        # Nothing is shared in these steps; company would only make the first one wait.
        return stage, [ordered[0].stream]
    return stage, [candidate.stream for candidate in ordered if candidate.stage is stage]


def _urgency(candidate: Candidate) -> tuple[int, float]:
    if candidate.lead_s is None:
        return (1, candidate.arrival)
    return (0 if candidate.lead_s < DRY_S else 2, candidate.lead_s)
