"""Promises of `bark_stream.scheduler`: the order of urgency, and steps that many share."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import pytest

from bark_stream.scheduler import Candidate, choose
from bark_stream.sentence_run import Stage

SEMANTIC, COARSE, FINE, CODEC = Stage.SEMANTIC, Stage.COARSE, Stage.FINE, Stage.CODEC


def test_choose_about_to_run_dry_comes_first() -> None:
    """A stream with little audio left goes before one that waits for its first, and that before one with plenty."""
    plenty = Candidate(1, FINE, 1, 2.0)
    first = Candidate(2, FINE, 2, None)
    dry = Candidate(3, CODEC, 3, 0.1)
    assert choose([plenty, first, dry]) == (CODEC, [3])
    assert choose([plenty, first]) == (FINE, [2])
    assert choose([plenty]) == (FINE, [1])


def test_choose_coarse_steps_are_shared_by_all() -> None:
    """Everybody at the coarse stage joins, most urgent first, once nobody's sound can be made."""
    candidates = [Candidate(1, COARSE, 1, 1.5), Candidate(2, COARSE, 2, 0.2), Candidate(4, COARSE, 4, None)]
    assert choose(candidates) == (COARSE, [2, 4, 1])
    assert choose([*candidates, Candidate(3, FINE, 3, 0.1)]) == (FINE, [3])


def test_choose_few_urgent_streams_do_not_wait_for_others_sound() -> None:
    """The coarse steps of one who is about to run dry come before the sound of those who are not."""
    candidates = [Candidate(1, FINE, 1, 1.5), Candidate(2, COARSE, 2, 0.2), Candidate(3, CODEC, 3, 0.9)]
    assert choose(candidates) == (COARSE, [2])
    assert choose([Candidate(1, FINE, 1, 1.5), Candidate(2, CODEC, 2, 0.2)]) == (CODEC, [2])


def test_choose_semantic_before_coarse() -> None:
    """Who lacks semantic tokens gets them first, to share the leader's coarse steps after that."""
    assert choose([Candidate(1, COARSE, 1, 0.1), Candidate(2, SEMANTIC, 2, 5.0)]) == (SEMANTIC, [2])


def test_choose_one_prefix_at_a_time() -> None:
    """Of those who lay prefixes only the most urgent one rides along."""
    candidates = [
        Candidate(1, COARSE, 1, 1.0, is_laying=True),
        Candidate(2, COARSE, 2, 0.2),
        Candidate(3, COARSE, 3, None, is_laying=True),
    ]
    assert choose(candidates) == (COARSE, [2, 3])


def test_choose_first_audio_in_order_of_arrival() -> None:
    """Among those who wait for their first audio, whoever came first goes first."""
    assert choose([Candidate(1, CODEC, 9, None), Candidate(2, CODEC, 3, None)]) == (CODEC, [2])


def test_choose_driest_first_and_least_ahead_first() -> None:
    """Within a class the stream with the least audio ahead goes first."""
    assert choose([Candidate(1, CODEC, 1, 0.2), Candidate(2, CODEC, 2, 0.1)])[1] == [2]
    assert choose([Candidate(1, CODEC, 1, 3.0), Candidate(2, CODEC, 2, 1.0)])[1] == [2]


CHUNKS = (16, 30, 60, 60, 60, 60)
"""Frames of each chunk of a simulated sentence: 3.8 s."""
STEP_S = {SEMANTIC: 0.001, COARSE: 0.0012, FINE: 0.005, CODEC: 0.005}
COMPANION_S = 0.0002
PIECE_S = 0.008


@dataclass
class SimulatedStream:
    """Walks through a sentence's steps by counting, and plays what it has made."""

    number: int
    starts_s: float
    pending: list[tuple[Stage, bool]] = field(default_factory=list)
    """(stage, is_laying) of the steps left; a chunk leaves with its codec step."""
    chunk: int = 0
    made_s: float = 0.0
    first_s: float | None = None
    late_s: float = 0.0
    finished_s: float | None = None

    def begin(self) -> None:
        pieces = [(SEMANTIC, True)] * 4
        for index, frames in enumerate(CHUNKS):
            tokens = frames * 2 // 3 + (12 if index == 0 else 0)
            prefix = [(COARSE, True)] * (7 if index % 2 == 0 else 1)
            tail = [(COARSE, False)] * (frames * 2) + [(FINE, False)] * 6 + [(CODEC, False)]
            self.pending += [*(pieces if index == 0 else []), *[(SEMANTIC, False)] * tokens, *prefix, *tail]

    def lead_s(self, now_s: float) -> float | None:
        return None if self.first_s is None else max(0.0, self.made_s - (now_s - self.first_s))

    def step(self, now_s: float) -> None:
        stage, _ = self.pending.pop(0)
        if stage is CODEC:
            if self.first_s is None:
                self.first_s = now_s
            self.late_s = max(self.late_s, now_s - self.first_s - self.made_s)
            self.made_s += CHUNKS[self.chunk] / 75
            self.chunk += 1
        if not self.pending:
            self.finished_s = now_s


def simulate(streams: list[SimulatedStream]) -> dict[Stage, float]:
    """Runs the rule on a pretended clock; returns the mean number of streams in a step of each stage."""
    now_s, steps, rows = 0.0, defaultdict(int), defaultdict(int)
    for stream in streams:
        stream.begin()
    while live := [stream for stream in streams if stream.pending]:
        ready = [stream for stream in live if stream.starts_s <= now_s]
        if not ready:
            now_s = min(stream.starts_s for stream in live)
            continue
        by_number = {stream.number: stream for stream in ready}
        stage, numbers = choose(
            [Candidate(s.number, s.pending[0][0], s.number, s.lead_s(now_s), s.pending[0][1]) for s in ready]
        )
        is_laying = any(by_number[number].pending[0][1] for number in numbers)
        now_s += STEP_S[stage] + COMPANION_S * (len(numbers) - 1) + PIECE_S * is_laying
        for number in numbers:
            by_number[number].step(now_s)
        steps[stage] += 1
        rows[stage] += len(numbers)
    return {stage: rows[stage] / steps[stage] for stage in Stage}


@pytest.mark.parametrize(("num_streams", "spread_s", "mean_batch"), [(2, 0.13, 1.8), (4, 0.0, 3.5), (8, 0.2, 6.0)])
def test_simulated_streams_meet(num_streams: int, spread_s: float, mean_batch: float) -> None:
    """Streams that speak at the same time share their coarse steps, whether they began together or apart."""
    streams = [SimulatedStream(number, number * spread_s) for number in range(num_streams)]
    assert simulate(streams)[COARSE] > mean_batch


def test_simulated_stream_alone_is_never_late() -> None:
    """One stream is heard at once and never runs dry."""
    stream = SimulatedStream(0, 0.0)
    simulate([stream])
    assert stream.first_s is not None
    assert stream.first_s < 0.25
    assert stream.late_s == 0


def test_simulated_newcomers_are_heard_soon() -> None:
    """Who begins while others speak waits at most twice as long for the first sound as alone."""
    streams = [SimulatedStream(number, number * 0.9) for number in range(4)]
    simulate(streams)
    assert all(stream.first_s is not None and stream.first_s - stream.starts_s < 0.4 for stream in streams)


def test_simulated_streams_all_finish_beyond_capacity() -> None:
    """With more streams than the machine can serve in time, all are late alike and none is left behind."""
    streams = [SimulatedStream(number, 0.0) for number in range(24)]
    batch = simulate(streams)
    finished = [stream.finished_s or 0.0 for stream in streams]
    assert max(finished) < 1.6 * min(finished)
    assert batch[COARSE] > 12


@pytest.mark.parametrize("spread_s", [0.0, 0.25])
@pytest.mark.parametrize(("num_streams", "worst_s"), [(2, 0.2), (4, 0.9)])
def test_simulated_streams_within_capacity_are_late_for_a_bounded_time(
    num_streams: int, worst_s: float, spread_s: float
) -> None:
    """Streams that the machine can serve in the long run are late only while all of them begin, and for no longer."""
    streams = [SimulatedStream(number, number * spread_s) for number in range(num_streams)]
    simulate(streams)
    assert max(stream.late_s for stream in streams) < worst_s
