"""The limits' own rules; what each limit does is tested where it acts."""

from __future__ import annotations

from dataclasses import fields

import pytest
from bark_server.limits import Limits

from bark_stream.errors import ConfigError


@pytest.mark.parametrize("name", [item.name for item in fields(Limits)])
def test_limits_refuse_negative_values(name: str) -> None:
    """No limit may be below zero, and the error names it."""
    with pytest.raises(ConfigError) as caught:
        Limits(**{name: -1})
    assert caught.value.source == name


def test_limits_refuse_a_replay_smaller_than_what_may_be_under_way() -> None:
    """What is not acknowledged must fit into what is kept."""
    with pytest.raises(ConfigError, match="replay_bytes"):
        Limits(replay_bytes=10, max_unacknowledged_bytes=11)


def test_limits_announce_what_clients_need() -> None:
    """`ready.limits` has integers only, the largest message and the resume window among them."""
    announced = Limits(resume_window_ms=7).announced()
    assert announced["resume_window_ms"] == 7
    assert announced["max_message_bytes"] == 65_536
    assert all(isinstance(value, int) for value in announced.values())
