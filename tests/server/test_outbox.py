"""The order in which answers and what is replayed leave, and how arrivals are asked for."""

from __future__ import annotations

from bark_server.limits import Limits
from bark_server.outbox import Outbox
from bark_server.outlog import Entry


def _packet(sequence: int, num_bytes: int = 100) -> Entry:
    return Entry(1, sequence, bytes([sequence]) * num_bytes)


def test_replay_goes_before_answers_given_since() -> None:
    """After a resume: first its greeting, then what was missing, then what was answered meanwhile."""
    outbox = Outbox(Limits(), now=0.0)
    for sequence in range(4):
        outbox.send(_packet(sequence))
    assert outbox.resume({1: 1}, 1.0)
    outbox.answer_first("greeting")
    outbox.answer("answer", 2)
    assert outbox.take(2) == ["greeting", _packet(2).frame]
    assert outbox.is_replaying
    assert outbox.take(2) == [_packet(3).frame, "answer"]
    assert outbox.is_empty


def test_resume_of_what_is_gone_changes_nothing() -> None:
    """Packets that have arrived and were dropped for room cannot be had again."""
    outbox = Outbox(Limits(max_unacknowledged_bytes=100, replay_bytes=100), now=0.0)
    for sequence in range(3):
        outbox.send(_packet(sequence))
        outbox.acknowledge(sequence + 1, 0.0)
    outbox.answer("answer", 1)
    assert not outbox.resume({1: 0}, 1.0)
    assert outbox.newest_lost(1) == 1
    assert outbox.take(8) == ["answer"]


def test_ping_asks_when_much_is_under_way_or_nothing_was_heard() -> None:
    """One ping at a time, for an eighth of what may be under way, or after a silence."""
    limits = Limits(max_unacknowledged_bytes=800, replay_bytes=800, keepalive_ms=1_000)
    outbox = Outbox(limits, now=0.0)
    assert outbox.ping_position(0.5) is None
    outbox.send(_packet(0))
    assert outbox.ping_position(0.5) == 1
    assert outbox.ping_position(0.6) is None
    assert outbox.unanswered_s(0.7) > 0
    outbox.acknowledge(1, 0.8)
    assert outbox.unanswered_s(0.9) == 0
    assert outbox.ping_position(1.9) == 1


def test_drop_audio_leaves_the_messages() -> None:
    """Of a cancelled context only text is replayed."""
    outbox = Outbox(Limits(), now=0.0)
    outbox.send(_packet(0))
    outbox.send(Entry(1, None, "words"))
    outbox.send(_packet(1))
    assert outbox.resume({1: -1}, 1.0)
    outbox.drop_audio(1)
    assert outbox.take(8) == ["words"]
