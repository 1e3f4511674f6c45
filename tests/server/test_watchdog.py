"""Readiness."""

from __future__ import annotations

from bark_server.watchdog import Readiness


def test_readiness_over_a_life() -> None:
    """Warming up, ready, stalled and ready again, draining."""
    readiness = Readiness(stall_s=30)
    assert readiness.reason == "warming up"
    readiness.is_warm = True
    assert readiness.reason is None
    readiness.stalled_s = 30.0
    assert readiness.reason == "stalled"
    readiness.stalled_s = 0.0
    assert readiness.reason is None
    readiness.is_draining = True
    assert readiness.reason == "draining"
