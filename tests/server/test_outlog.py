"""What was sent, and what a client that comes back still needs."""

from __future__ import annotations

from bark_server.outlog import Entry, OutLog


def _audio(stream: int, sequence: int, num_bytes: int = 10) -> Entry:
    return Entry(stream, sequence, bytes(num_bytes))


def test_missing_is_what_came_after_the_last_packet() -> None:
    """Per stream: packets beyond the last that arrived, and text after it, in the order in which they were sent."""
    log = OutLog(max_bytes=1000)
    sent = [Entry(1, None, "opened"), _audio(1, 0), Entry(1, None, "words"), _audio(2, 0), _audio(1, 1), _audio(2, 1)]
    for entry in sent:
        log.append(entry)
    assert log.missing({1: 0, 2: 1}) == [sent[2], sent[4]]
    assert log.missing({1: -1, 2: 0}) == [sent[0], sent[1], sent[2], sent[4], sent[5]]
    assert log.missing({}) == []


def test_unacknowledged_frames_are_never_dropped() -> None:
    """What is under way stays, however much that is; what has arrived makes room."""
    log = OutLog(max_bytes=25)
    for sequence in range(5):
        log.append(_audio(1, sequence))
    assert log.held_bytes == log.unacknowledged_bytes == 50
    log.acknowledge(4)
    assert (log.held_bytes, log.unacknowledged_bytes) == (20, 10)
    assert log.missing({1: 2}) is not None
    assert log.missing({1: 1}) is None


def test_dropped_text_is_no_loss() -> None:
    """Text that has arrived may be dropped: only packets are counted by clients."""
    log = OutLog(max_bytes=5)
    log.append(Entry(1, None, "opened"))
    log.acknowledge(1)
    assert log.held_bytes == 0
    assert log.missing({1: -1}) == []


def test_restart_remembers_what_the_client_has() -> None:
    """After a resume, what the client said it had is gone for good."""
    log = OutLog(max_bytes=1000)
    for sequence in range(3):
        log.append(_audio(1, sequence))
    log.restart({1: 1})
    assert log.held_bytes == 0
    assert log.missing({1: 0}) is None
    assert log.missing({1: 1}) == []


def test_acknowledge_of_the_future_is_harmless() -> None:
    """A position that was never reached acknowledges what there is."""
    log = OutLog(max_bytes=100)
    log.append(_audio(1, 0))
    log.acknowledge(99)
    assert log.unacknowledged_bytes == 0
