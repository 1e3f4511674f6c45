"""Who may start."""

from __future__ import annotations

import pytest
from bark_server.admission import Admission
from bark_server.errors import ClientError
from bark_server.limits import Limits


def test_admission_is_refused_when_full() -> None:
    """Above `max_contexts`: `overloaded`, retryable, with a time, and nothing is counted."""
    admission = Admission(Limits(max_contexts=1))
    admission.enter(0.0, context="a")
    with pytest.raises(ClientError) as caught:
        admission.enter(0.0, context="b")
    assert caught.value.wire_code == "overloaded"
    assert caught.value.is_retryable
    assert caught.value.retry_after_ms
    admission.leave()
    admission.enter(0.0, context="b")


def test_admission_is_refused_while_the_engine_is_behind() -> None:
    """After a first sound was overdue nobody else is let in for a while; the time to wait is named."""
    admission = Admission(Limits(overload_ms=2_000))
    admission.enter(0.0, context="a")
    admission.fell_behind(10.0)
    assert admission.refusal_ms(10.5) == 1_500
    assert admission.refusal_ms(12.0) is None


def test_admission_goes_on_when_a_listener_waits_for_a_moment() -> None:
    """One who runs dry for a moment, while another begins, keeps nobody out."""
    admission = Admission(Limits(overload_ms=2_000))
    admission.enter(0.0, context="a")
    admission.ran_dry(0.2, 10.0)
    assert admission.refusal_ms(10.1) is None
    admission.ran_dry(0.2, 12.5)
    assert admission.refusal_ms(12.6) is None


def test_admission_is_refused_while_listeners_wait() -> None:
    """What listeners wait within the time of an overload adds up; beyond the tolerated nobody is let in for so long."""
    admission = Admission(Limits(overload_ms=2_000))
    admission.enter(0.0, context="a")
    for late_s, at_s in ((0.1, 10.0), (0.1, 10.5), (0.1, 11.0)):
        admission.ran_dry(late_s, at_s)
    assert admission.refusal_ms(11.0) == 2_000
    assert admission.refusal_ms(13.0) is None


def test_admission_of_the_only_speaker_is_never_refused() -> None:
    """An engine that is slower than one speaker still speaks for one."""
    admission = Admission(Limits())
    admission.fell_behind(10.0)
    assert admission.refusal_ms(10.1) is None


def test_admission_ends_when_draining() -> None:
    """A server that is told to stop lets nobody in."""
    admission = Admission(Limits())
    admission.is_draining = True
    assert admission.refusal_ms(0.0) is not None
