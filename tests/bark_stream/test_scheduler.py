"""Promises of `bark_stream.scheduler`: the order of urgency, steps that many share, and workers side by side."""

from __future__ import annotations

import heapq
from collections import defaultdict
from dataclasses import dataclass, field

import pytest

from bark_stream.scheduler import Candidate, choose
from bark_stream.sentence_run import Stage

SEMANTIC, COARSE, FINE, CODEC = Stage.SEMANTIC, Stage.COARSE, Stage.FINE, Stage.CODEC


def test_choose_earliest_deadline_first() -> None:
    """Of streams that have time the one with the least goes first."""
    assert choose([Candidate(1, CODEC, 3.0), Candidate(2, FINE, 1.0)]) == (FINE, [2])
    assert choose([Candidate(1, CODEC, 0.5), Candidate(2, COARSE, 1.0)]) == (CODEC, [1])


def test_choose_who_is_short_of_time_meets_in_the_coarse_steps() -> None:
    """Of streams short of time whoever lacks semantic tokens goes first, then sound, then coarse tokens; within each
    whoever has been dry for longest.
    """
    candidates = [Candidate(1, COARSE, -0.5), Candidate(2, CODEC, 0.1), Candidate(3, FINE, 0.05)]
    assert choose(candidates) == (FINE, [3])
    assert choose([*candidates, Candidate(4, SEMANTIC, 0.15)]) == (SEMANTIC, [4])
    assert choose([*candidates, Candidate(4, SEMANTIC, 0.9)]) == (FINE, [3])


def test_choose_decode_steps_are_shared_by_all() -> None:
    """Everybody at the most urgent stream's stage joins, those far ahead too; nobody joins in sound."""
    candidates = [Candidate(1, COARSE, 1.5), Candidate(2, COARSE, 0.3), Candidate(3, FINE, 0.9)]
    assert choose(candidates) == (COARSE, [2, 1])
    assert choose([Candidate(1, SEMANTIC, 1.5), Candidate(2, SEMANTIC, 0.3)]) == (SEMANTIC, [2, 1])
    assert choose([Candidate(1, FINE, 1.5), Candidate(2, FINE, 0.3)]) == (FINE, [2])


def test_choose_one_prefix_at_a_time() -> None:
    """Of those who lay prefixes only the most urgent one rides along."""
    candidates = [
        Candidate(1, COARSE, 1.0, is_laying=True),
        Candidate(2, COARSE, 0.2),
        Candidate(3, COARSE, 0.4, is_laying=True),
    ]
    assert choose(candidates) == (COARSE, [2, 3])


def test_choose_leaves_idle_workers_their_part() -> None:
    """Where all need the same, a worker takes its part of the streams, neighbours and the most urgent among them."""
    candidates = [Candidate(1, COARSE, 1.0, 3), Candidate(2, COARSE, 0.5, 0), Candidate(3, COARSE, 0.9, 1)]
    assert choose(candidates, num_idle_workers=1) == (COARSE, [2, 3])
    assert choose(candidates) == (COARSE, [2, 3, 1])
    assert choose([*candidates, Candidate(4, FINE, 2.0)], num_idle_workers=1) == (COARSE, [2, 3, 1])


CHUNKS = (18, 24, 36, 60, 60, 60)
"""Frames of each chunk of a simulated sentence: 3.4 s."""
STEP_S = {SEMANTIC: 0.0006, COARSE: 0.0008, FINE: 0.007, CODEC: 0.012}
COMPANION_S = 0.0004
PIECE_S = 0.007
PATIENCE_S = 0.25
JITTER_BUFFER_S = 0.08


@dataclass
class SimulatedStream:
    """Walks through a sentence's steps by counting, and plays what it has made."""

    number: int
    starts_s: float
    pending: list[tuple[Stage, bool, int]] = field(default_factory=list)
    """(stage, is_laying, frames made sound) of the steps left."""
    dry_s: float = -1.0
    first_s: float | None = None
    made_s: float = 0.0
    late_s: float = 0.0
    finished_s: float = 0.0
    is_busy: bool = False

    def begin(self) -> None:
        self.pending = [(SEMANTIC, True, 0)] * 4
        for index, frames in enumerate(CHUNKS):
            tokens = frames * 2 // 3 + (12 if index == 0 else 0)
            pieces = 5 if index % 2 == 0 else 1
            self.pending += [(SEMANTIC, False, 0)] * tokens + [(COARSE, True, 0)] * pieces
            self.pending += [(COARSE, False, 0)] * (frames * 2) + [(FINE, False, 0)] * 6
            self.pending += [(CODEC, False, min(25, frames - first)) for first in range(0, frames, 25)]

    def candidate(self, now_s: float) -> Candidate:
        stage, is_laying, _ = self.pending[0]
        slack_s = max(self.dry_s, self.starts_s + PATIENCE_S) - now_s
        return Candidate(self.number, stage, slack_s, self.number, is_laying)

    def step(self, now_s: float) -> None:
        length_s = self.pending.pop(0)[2] / 75
        self.finished_s = now_s
        if length_s:
            self.first_s = self.first_s or now_s
            self.late_s = max(self.late_s, now_s - self.first_s - self.made_s - JITTER_BUFFER_S)
            self.made_s += length_s
            self.dry_s = max(self.dry_s, now_s) + length_s


def simulate(streams: list[SimulatedStream], *, num_workers: int) -> dict[Stage, float]:
    """Runs the rule on a pretended clock; returns the mean number of streams in a step of each stage."""
    steps, rows = defaultdict(int), defaultdict(int)
    ends: list[tuple[float, int, list[SimulatedStream]]] = [(stream.starts_s, stream.number, []) for stream in streams]
    heapq.heapify(ends)
    num_idle, num_ends = num_workers, len(streams)
    for stream in streams:
        stream.begin()
    while ends:
        now_s, _, ended = heapq.heappop(ends)
        num_idle += bool(ended)
        for stream in ended:
            stream.is_busy = False
            stream.step(now_s)
        while num_idle:
            ready = {s.number: s for s in streams if s.pending and not s.is_busy and s.starts_s <= now_s}
            if not ready:
                break
            num_idle -= 1
            stage, numbers = choose([s.candidate(now_s) for s in ready.values()], num_idle_workers=num_idle)
            chosen = [ready[number] for number in numbers]
            for stream in chosen:
                stream.is_busy = True
            is_laying = any(stream.pending[0][1] for stream in chosen)
            takes_s = STEP_S[stage] + COMPANION_S * (len(chosen) - 1) + PIECE_S * is_laying
            num_ends += 1
            heapq.heappush(ends, (now_s + takes_s, num_ends, chosen))
            steps[stage] += 1
            rows[stage] += len(chosen)
    return {stage: rows[stage] / steps[stage] for stage in Stage}


def simulated(num_streams: int, spread_s: float) -> list[SimulatedStream]:
    return [SimulatedStream(number, number * spread_s) for number in range(num_streams)]


@pytest.mark.parametrize(("num_streams", "spread_s", "mean_batch"), [(4, 0.0, 2.0), (8, 0.2, 3.0)])
def test_simulated_streams_meet(num_streams: int, spread_s: float, mean_batch: float) -> None:
    """Streams that speak at the same time share their steps, whether they began together or apart."""
    batch = simulate(simulated(num_streams, spread_s), num_workers=1)
    assert batch[COARSE] > mean_batch
    assert batch[SEMANTIC] > 1.2


@pytest.mark.parametrize("num_workers", [1, 2])
def test_simulated_stream_alone_is_never_late(num_workers: int) -> None:
    """One stream is heard at once and never runs dry."""
    (stream,) = streams = simulated(1, 0.0)
    simulate(streams, num_workers=num_workers)
    assert stream.first_s is not None
    assert stream.first_s < 0.2
    assert stream.late_s == 0


def test_simulated_newcomers_are_heard_soon() -> None:
    """Who begins while others speak is heard soon after what they were promised."""
    streams = simulated(4, 0.9)
    simulate(streams, num_workers=1)
    assert all(stream.first_s is not None and stream.first_s - stream.starts_s < 0.4 for stream in streams)


@pytest.mark.parametrize("num_workers", [1, 2])
def test_simulated_streams_all_finish_beyond_capacity(num_workers: int) -> None:
    """With more streams than the machine can serve in time, all are late alike and none is left behind."""
    streams = simulated(12, 0.0)
    simulate(streams, num_workers=num_workers)
    finished = [stream.finished_s for stream in streams]
    assert max(finished) < 1.6 * min(finished)


@pytest.mark.parametrize("spread_s", [0.0, 0.25])
@pytest.mark.parametrize(
    ("num_workers", "num_streams", "worst_s"), [(1, 2, 0.1), (1, 3, 0.6), (2, 4, 0.1), (2, 6, 0.3)]
)
def test_simulated_streams_within_capacity_are_late_for_a_bounded_time(
    num_workers: int, num_streams: int, worst_s: float, spread_s: float
) -> None:
    """Streams that the machine can serve in the long run are late only while all of them begin, and for no longer."""
    streams = simulated(num_streams, spread_s)
    simulate(streams, num_workers=num_workers)
    assert max(stream.late_s for stream in streams) <= worst_s


@pytest.mark.parametrize("num_streams", [2, 5])
def test_simulated_second_worker_shares_the_work(num_streams: int) -> None:
    """Two workers are done much sooner than one, however few streams there are to share."""
    ends_s = []
    for num_workers in (1, 2):
        streams = simulated(num_streams, 0.0)
        simulate(streams, num_workers=num_workers)
        ends_s.append(max(stream.finished_s for stream in streams))
    assert ends_s[1] < 0.65 * ends_s[0]
