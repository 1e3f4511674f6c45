"""The listener's clock, and the rate of messages."""

from __future__ import annotations

import math

import pytest
from bark_server.pacing import START_DELAY_S, Playback, TokenBucket
from hypothesis import given
from hypothesis import strategies as st

RATE_HZ = 24_000
FRAME = 480


def _fill(playback: Playback, now: float) -> int:
    """Send as much as is allowed, at most 1000 packets; returns how many."""
    for count in range(1000):
        if not playback.may_send(FRAME, now):
            return count
        playback.send(FRAME, now)
    return 1000


@given(st.integers(40, 5000), st.lists(st.floats(0.001, 0.5), max_size=30))
def test_playback_never_leads_by_more_than_allowed(max_lead_ms: int, pauses_s: list[float]) -> None:
    """However often one asks, audio sent and not heard stays within `max_lead_s`."""
    playback, now = Playback(rate_hz=RATE_HZ, max_lead_s=max_lead_ms / 1000), 0.0
    for pause_s in pauses_s:
        _fill(playback, now)
        assert playback.lead_s(now) <= max(max_lead_ms / 1000, START_DELAY_S + FRAME / RATE_HZ) + 1e-9
        now += pause_s


def test_playback_without_bound_sends_everything() -> None:
    """A lead of 0 means as fast as it can."""
    assert _fill(Playback(rate_hz=RATE_HZ, max_lead_s=0), 0.0) == 1000


def test_playback_sends_in_bursts() -> None:
    """After the lead is full, the next burst is worth while 250 ms later and brings it back to full."""
    playback = Playback(rate_hz=RATE_HZ, max_lead_s=1.0)
    _fill(playback, 0.0)
    wakeup_s = playback.next_burst_s(0.0)
    assert wakeup_s == pytest.approx(0.25, abs=0.021)
    assert 11 <= _fill(playback, wakeup_s) <= 13


def test_playback_position_is_what_was_heard() -> None:
    """Nothing before the start delay, then real time, and never more than was sent."""
    playback = Playback(rate_hz=RATE_HZ, max_lead_s=0)
    for _ in range(50):
        playback.send(FRAME, 10.0)
    assert playback.position_samples(10.0 + START_DELAY_S) == 0
    assert playback.position_samples(10.5 + START_DELAY_S) == 12_000
    assert playback.position_samples(99.0) == 24_000


def test_playback_report_moves_the_position() -> None:
    """A listener who is behind is believed."""
    playback = Playback(rate_hz=RATE_HZ, max_lead_s=0)
    for _ in range(100):
        playback.send(FRAME, 0.0)
    playback.report(2_400, 1.0)
    assert playback.position_samples(1.0) == 2_400
    assert playback.lead_s(1.0) == pytest.approx(1.9)


def test_playback_starts_again_after_running_dry() -> None:
    """A late packet is heard after the start delay, and time goes on from there."""
    playback = Playback(rate_hz=RATE_HZ, max_lead_s=0)
    playback.send(FRAME, 0.0)
    assert playback.deadline_s == pytest.approx(START_DELAY_S + 0.02)
    playback.send(FRAME, 5.0)
    assert playback.lead_s(5.0) == pytest.approx(START_DELAY_S + 0.02)


def test_playback_has_no_deadline_before_the_first_packet() -> None:
    """Nobody listens yet, so nothing is late."""
    assert math.isinf(Playback(rate_hz=RATE_HZ, max_lead_s=1).deadline_s)


def test_bucket_allows_a_burst_and_then_its_rate() -> None:
    """`burst` at once, then one per 1/rate; the wait it names is enough."""
    bucket = TokenBucket(rate=10, burst=3, now=0.0)
    assert [bucket.take(0.0) for _ in range(3)] == [0.0, 0.0, 0.0]
    wait_s = bucket.take(0.0)
    assert wait_s == pytest.approx(0.1)
    assert bucket.take(wait_s + 1e-9) == 0.0
