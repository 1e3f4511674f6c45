"""Promises of `bark_stream.scheduler`: the order of urgency."""

from __future__ import annotations

from bark_stream.pipeline import Stage
from bark_stream.scheduler import Candidate, choose

SEMANTIC, COARSE, CODEC = Stage.SEMANTIC, Stage.COARSE, Stage.CODEC


def test_choose_about_to_run_dry_comes_first() -> None:
    """A stream with little audio left goes before one that waits for its first, and that before one with plenty."""
    plenty = Candidate(1, SEMANTIC, 1, 2.0)
    first = Candidate(2, COARSE, 2, None)
    dry = Candidate(3, CODEC, 3, 0.1)
    assert choose([plenty, first, dry]) == (CODEC, [3])
    assert choose([plenty, first]) == (COARSE, [2])
    assert choose([plenty]) == (SEMANTIC, [1])


def test_choose_same_stage_shares_the_step() -> None:
    """Everybody who needs the leader's stage joins, most urgent first; others wait."""
    candidates = [
        Candidate(1, COARSE, 1, 1.5),
        Candidate(2, COARSE, 2, 0.2),
        Candidate(3, SEMANTIC, 3, None),
        Candidate(4, COARSE, 4, None),
    ]
    assert choose(candidates) == (COARSE, [2, 4, 1])


def test_choose_first_audio_in_order_of_arrival() -> None:
    """Among those who wait for their first audio, whoever came first goes first."""
    assert choose([Candidate(1, CODEC, 9, None), Candidate(2, CODEC, 3, None)]) == (CODEC, [2])


def test_choose_driest_first_and_least_ahead_first() -> None:
    """Within a class the stream with the least audio ahead goes first."""
    assert choose([Candidate(1, CODEC, 1, 0.2), Candidate(2, CODEC, 2, 0.1)])[1] == [2]
    assert choose([Candidate(1, CODEC, 1, 3.0), Candidate(2, CODEC, 2, 1.0)])[1] == [2]
