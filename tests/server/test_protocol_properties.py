"""Any messages in any order and any slices, any pauses, broken sockets: what must hold whatever happens."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

from bark_server.frames import AudioFrame
from harness import Client, Stage
from hypothesis import given, settings
from hypothesis import strategies as st

_TEXTS = st.text("ab ABc.,!?…。\n é\u3042\u4f60[]♪\U0001f600", max_size=60) | st.sampled_from(
    ["Hello there, my good friend. ", "This is unspeakable. ", "How are you today? I am", " fine.", "3.", "14 is pi. "]
)
_NAMES = st.sampled_from(["a", "b", "c"])
_messages = st.one_of(
    st.tuples(st.just("text"), st.fixed_dictionaries({"context": _NAMES, "text": _TEXTS})),
    st.tuples(st.just("flush"), st.fixed_dictionaries({"context": _NAMES})),
    st.tuples(st.just("close"), st.fixed_dictionaries({"context": _NAMES})),
    st.tuples(
        st.just("cancel"),
        st.fixed_dictionaries({"context": _NAMES}, optional={"played_ms": st.integers(0, 9_000)}),
    ),
    st.tuples(st.just("played"), st.fixed_dictionaries({"context": _NAMES, "played_ms": st.integers(0, 9_000)})),
    st.tuples(
        st.just("open"),
        st.fixed_dictionaries(
            {"context": _NAMES},
            optional={
                "format": st.sampled_from(["opus", "pcm_s16le"]),
                "max_lead_ms": st.sampled_from([0, 60, 2_000]),
                "voice": st.sampled_from(["alice", "nobody"]),
            },
        ),
    ),
    st.tuples(st.just("nonsense"), st.fixed_dictionaries({"context": _NAMES})),
)
_steps = st.one_of(
    _messages,
    st.tuples(st.just("run"), st.sampled_from([0.02, 0.3, 2.0])),
    st.tuples(st.just("engine"), st.integers(1, 5)),
)


class Watcher:
    """Checks every frame of one session as it comes, and keeps the books of its texts."""

    def __init__(self) -> None:
        self.sent: dict[str, str] = defaultdict(str)
        self.names: dict[int, str] = {}
        self.next_sequence: dict[int, int] = {}
        self.over: set[int] = set()
        self._streams: dict[str, int] = {}

    def see(self, frame: dict[str, Any] | AudioFrame) -> None:
        if isinstance(frame, AudioFrame):
            assert frame.stream in self.next_sequence, "audio before `opened`"
            assert frame.stream not in self.over, "audio after the end"
            assert frame.sequence == self.next_sequence[frame.stream]
            assert frame.timestamp == 480 * frame.sequence
            self.next_sequence[frame.stream] += 1
        elif frame["type"] == "opened":
            self._streams[frame["context"]] = frame["stream"]
            assert frame["stream"] not in self.next_sequence
            self.next_sequence[frame["stream"]] = 0
        elif frame["type"] in {"done", "cancelled"}:
            self.over.add(self._streams[frame["context"]])
            if frame["type"] == "cancelled":
                assert frame["spoken"] + frame["unspoken"] == self.sent[frame["context"]]


def _do(stage: Stage, client: Client, watcher: Watcher, step: tuple[str, Any]) -> None:
    kind, fields = step
    if kind == "run":
        stage.now += fields
    elif kind == "engine":
        for _ in range(fields):
            stage.engine.step()
    else:
        num_errors, num_opened = len(client.of_type("error")), len(client.of_type("opened"))
        client.send(kind, **fields)
        client.pump()
        if len(client.of_type("opened")) > num_opened:
            watcher.sent[fields["context"]] = ""
        if kind == "text" and len(client.of_type("error")) == num_errors:
            watcher.sent[fields["context"]] += fields["text"]


@given(st.lists(_steps, max_size=40))
@settings(max_examples=120, deadline=None)
def test_session_keeps_its_promises(steps: list[tuple[str, Any]]) -> None:
    """Never an exception, never audio before `opened` or after the end, no gap in the numbers, texts add up; and when
    everything is cancelled, nothing is held."""
    stage, watcher = Stage(max_contexts_per_session=3), Watcher()
    client = stage.connect()
    num_seen = 0
    for step in steps:
        _do(stage, client, watcher, step)
        client.pump()
        for frame in client.frames[num_seen:]:
            watcher.see(frame)
        num_seen = len(client.frames)
    for name in "abc":
        client.send("cancel", context=name)
    client.pump()
    assert stage.hub.admission.num_contexts == 0
    assert all(stream.is_closed for stream in stage.engine.streams)


@given(st.lists(_TEXTS, max_size=12), st.data())
@settings(max_examples=40, deadline=None)
def test_slices_of_text_make_no_difference(texts: list[str], data: st.DataObject) -> None:
    """The same text in any slices: the same sentences, the same packets."""
    stage, text = Stage(), "".join(texts)
    whole, sliced = stage.connect(), stage.connect()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=10)))
    whole.send("text", context="a", text=text)
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        sliced.send("text", context="a", text=text[start:end])
    for client in (whole, sliced):
        client.send("close", context="a")
        stage.run(client)
    assert [frame.payload for frame in whole.audio] == [frame.payload for frame in sliced.audio]
    assert [m["text"] for m in whole.of_type("sentence")] == [m["text"] for m in sliced.of_type("sentence")]


@given(
    st.lists(st.tuples(st.integers(1, 40), st.booleans()), min_size=1, max_size=6),
    st.sampled_from(["opus", "pcm_s16le"]),
    st.booleans(),
)
@settings(max_examples=30, deadline=None)
def test_resume_loses_nothing_and_repeats_no_audio(
    breaks: list[tuple[int, bool]], audio_format: str, counts: bool
) -> None:
    """However often the socket breaks, wherever it breaks: every packet exactly once, and `done` at the end; every text
    exactly once, too, for clients that count frames.
    """
    stage = Stage()
    client = stage.connect()
    session_id = client.session.id
    client.send("open", context="a", format=audio_format, max_lead_ms=0)
    client.send("text", context="a", text="Hello there, my good friend. It is good to see you. " * 2)
    client.send("close", context="a")
    received: list[AudioFrame] = []
    texts: list[dict[str, Any]] = []
    num_counted = 0

    def count(frames: list[dict[str, Any] | AudioFrame]) -> None:
        nonlocal num_counted
        # The first `ready` of a later socket is of another session.
        mine = frames if frames[:1] == [] or frames[0].get("session") == session_id else frames[1:]
        num_counted += len(mine)
        texts.extend(frame for frame in mine if isinstance(frame, dict) and frame["type"] != "ready")

    for num_frames, acknowledges in breaks:
        client.acknowledges = acknowledges
        for _ in range(5):
            stage.engine.step()
        client.pump()
        # What is behind the break never arrived.
        received += [frame for frame in client.frames[:num_frames] if isinstance(frame, AudioFrame)]
        count(client.frames[:num_frames])
        client.drop()
        client = stage.connect()
        last = received[-1].sequence if received else -1
        client.send("resume", session=session_id, received={"a": last}, **({"frames": num_counted} if counts else {}))
        client.pump()
        assert client.of_type("ready")[-1]["resumed"] is True
    stage.run(client)
    received += client.audio
    count(client.frames)
    if counts:
        assert len(texts) == len({json.dumps(text) for text in texts}), "no text comes twice"
    assert [text for text in texts if text["type"] == "done"]
    assert [frame.sequence for frame in received] == list(range(len(received)))


def test_ten_thousand_contexts() -> None:
    """Opened and cancelled one after the other, ten thousand contexts leave nothing behind."""
    stage = Stage(max_messages_per_s=1_000_000)
    client = stage.connect()
    for number in range(10_000):
        client.send("open", context=f"npc{number}")
        client.send("cancel", context=f"npc{number}")
        if number % 100 == 0:
            client.pump()
    client.pump()
    assert len(client.of_type("cancelled")) == 10_000
    assert stage.hub.admission.num_contexts == 0
    assert client.session.held_bytes < 1_000_000


def test_ten_thousand_contexts_at_once() -> None:
    """Opened without an end, all beyond the limit are refused, and memory stays where it was."""
    stage = Stage(max_messages_per_s=1_000_000)
    client = stage.connect()
    for number in range(10_000):
        client.send("open", context=f"npc{number}")
        if number % 100 == 0:
            client.pump()
    client.pump()
    codes = [error["code"] for error in client.of_type("error")]
    assert codes == ["too_many_contexts"] * (10_000 - stage.limits.max_contexts_per_session)
    assert client.session.num_contexts == stage.limits.max_contexts_per_session
