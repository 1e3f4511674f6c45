"""Whose socket is whose, and who may come back."""

from __future__ import annotations

import numpy as np
from harness import Client, Stage, decode_pcm

from bark_stream.events import Chunk

HELLO = "Hello there, my good old friend. How are you doing on this fine day? "


def _resume(stage: Stage, session_id: str, received: dict[str, int]) -> Client:
    client = stage.connect()
    client.pump()
    client.send("resume", session=session_id, received=received)
    client.pump()
    return client


def _start(stage: Stage, **options: object) -> Client:
    client = stage.connect()
    client.send("open", context="a", **options)
    client.send("text", context="a", text=HELLO)
    stage.run(client, seconds=0.5)
    return client


def test_resume_goes_on_where_the_socket_broke(stage: Stage) -> None:
    """The second `ready` names the old session and what was got of its text; the audio is whole."""
    first = _start(stage, format="pcm_s16le")
    first.drop()
    second = _resume(stage, "id1", {"a": first.audio[-1].sequence})
    readies = second.of_type("ready")
    assert [(ready["session"], ready["resumed"]) for ready in readies] == [("id2", False), ("id1", True)]
    assert readies[1]["contexts"] == {"a": {"text_characters": len(HELLO), "closed": False}}
    second.send("close", context="a")
    stage.run(second)
    payloads = [frame.payload for frame in first.audio + second.audio]
    made = np.concatenate(stage.engine.streams[0].pcm)
    assert np.allclose(decode_pcm(payloads)[: len(made)], made, atol=1e-4)


def test_resume_of_a_socket_that_has_not_noticed(stage: Stage) -> None:
    """A half-open socket: its client comes back before the server knows. The old link is told to let go."""
    first = _start(stage)
    second = _resume(stage, "id1", {"a": first.audio[-1].sequence})
    assert first.is_taken_over
    first.drop()
    second.send("close", context="a")
    stage.run(second)
    assert second.last["type"] == "done"
    assert second.audio[0].sequence == first.audio[-1].sequence + 1


def test_resume_without_its_text_names_nothing_twice(stage: Stage) -> None:
    """A client that missed everything is sent everything, `opened` first."""
    first = _start(stage)
    first.drop()
    second = _resume(stage, "id1", {"a": -1})
    kinds = [message["type"] for message in second.messages]
    assert kinds[:4] == ["ready", "ready", "opened", "sentence"]
    assert second.audio[0].sequence == 0


def test_resume_brings_the_end_that_was_missed(stage: Stage) -> None:
    """`done` and `cancelled` that were sent into a dead socket come again."""
    first = _start(stage, max_lead_ms=0)
    first.send("close", context="a")
    stage.run(first)
    assert first.last["type"] == "done"
    first.drop()
    second = _resume(stage, "id1", {"a": first.audio[-1].sequence})
    assert second.last["type"] == "done"

    third = stage.connect()
    third.send("text", context="b", text=HELLO)
    stage.run(third, seconds=0.5)
    third.send("cancel", context="b")
    third.pump()
    third.drop()
    fourth = _resume(stage, third.session.id, {"b": 0})
    assert fourth.last["type"] == "cancelled"
    assert not fourth.audio


def test_resume_after_the_window_is_expired(stage: Stage) -> None:
    """Too late: everything was freed, and the new session stands."""
    first = _start(stage)
    first.drop()
    stage.now += 31
    stage.hub.sweep()
    assert stage.engine.streams[0].is_closed
    second = _resume(stage, "id1", {"a": 0})
    assert second.last["code"] == "resume_expired"
    second.send("open", context="a")
    second.pump()
    assert second.last["type"] == "opened"


def test_resume_of_what_is_no_longer_held_is_expired() -> None:
    """A client that asks for packets that had arrived and were dropped cannot be served."""
    stage = Stage(max_unacknowledged_bytes=10_000, replay_bytes=10_000)
    first = _start(stage, format="pcm_s16le", max_lead_ms=0)
    stage.run(first)
    first.drop()
    second = _resume(stage, "id1", {"a": 0})
    assert second.last["code"] == "resume_expired"


def test_resume_of_nobody(stage: Stage) -> None:
    """An unknown session, or one's own, cannot be resumed."""
    client = _resume(stage, "id7", {})
    assert client.last["code"] == "resume_expired"
    other = _resume(stage, "id2", {})
    assert other.last["code"] == "resume_expired"


def test_engine_pauses_while_the_socket_is_gone(stage: Stage) -> None:
    """Without a listener the engine fills the buffer and stops."""
    client = stage.connect()
    client.send("text", context="a", text=HELLO * 10)
    client.drop()
    for _ in range(300):
        stage.engine.step()
    assert stage.engine.streams[0].made_samples < 6 * 24_000


def test_disconnect_for_good_frees_everything(stage: Stage) -> None:
    """A client that says goodbye leaves nothing; neither does one that never said anything."""
    client = _start(stage)
    stage.hub.disconnect(client.session, client, is_final=True)
    stage.connect().drop()
    assert stage.hub.sessions == ()
    assert stage.hub.admission.num_contexts == 0
    assert stage.engine.streams[0].is_closed


def test_reconnect_storm_is_bounded() -> None:
    """Clients that open a context and vanish, again and again: only so many sessions are kept."""
    stage = Stage(max_connections=10, max_contexts=100_000)
    for _ in range(500):
        client = stage.connect()
        client.send("open", context="a")
        client.pump()
        client.drop()
    assert len(stage.hub.sessions) == 10
    assert stage.hub.admission.num_contexts == 10


def test_events_of_the_dead_are_ignored(stage: Stage) -> None:
    """Chunks that race with a cancel or a disconnect reach nobody."""
    client = _start(stage)
    stream = stage.engine.streams[0]
    late = stream.on_event
    client.send("cancel", context="a")
    client.pump()
    num_frames = len(client.frames)
    late(Chunk(9, np.zeros(100, dtype=np.float32), 0))
    client.pump()
    assert len(client.frames) == num_frames
