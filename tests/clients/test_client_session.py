"""The client's session without a socket: recorded sessions, and what a broken line cannot break."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from bark_client.errors import ProtocolViolation
from bark_client.messages import Open, Ready, decode
from bark_client.opus import OpusDecoder
from bark_client.packet import Packet
from bark_client.session import MAX_TEXT_CHARACTERS, ClientSession, Unheard
from bark_client.transcript import Transcript
from hypothesis import given
from hypothesis import strategies as st
from recorded_sessions import NAMES, python_tells, steps


@pytest.mark.parametrize("name", NAMES)
def test_session_recorded_tells_gapless_audio_in_order(name: str) -> None:
    """Of every context: `opened` first, packets without a gap, nothing after its end, and nothing twice."""
    told, _ = python_tells(name)
    assert told
    number: dict[str, int] = {}
    for context, kind, *facts in told:
        if kind == "opened":
            number[context] = 0
        elif kind == "packet":
            assert facts[0] == number[context]
            assert facts[1] == 480 * facts[0]
            number[context] += 1
        elif kind in ("done", "cancelled"):
            del number[context]
    assert number == {}


@pytest.mark.parametrize("name", NAMES)
def test_session_recorded_sends_what_was_recorded(name: str) -> None:
    """What is asked for goes out as it was recorded, field by field."""
    _, sent = python_tells(name)
    asked = [step.get("open") or step.get("ask") for step in steps(name) if "open" in step or "ask" in step]
    assert [message for message in sent if message["type"] != "resume"] == asked


def test_session_recorded_audio_decodes_to_its_length() -> None:
    """The packets of a recorded session are Opus, and together as long as `done` says."""
    decoder, num_samples, done = OpusDecoder(rate_hz=24_000), 0, {}
    for step in steps("speak"):
        if "audio" in step:
            num_samples += len(decoder.decode(base64.b64decode(step["audio"])[16:]))
        if step.get("server", {}).get("type") == "done":
            done = step["server"]
    assert 0 <= num_samples - 156 - done["audio_samples"] < 480


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "[]",
        "{}",
        '{"type": 3}',
        '{"type": "ready"}',
        '{"type":"done","context":1,"audio_ms":0,"sentences":0}',
        b"",
        b"\x01",
        b"\x02" + bytes(20),
    ],
)
def test_session_given_what_no_server_sends_raises_protocol_violation(frame: str | bytes) -> None:
    """A broken server is told apart from a broken line."""
    with pytest.raises(ProtocolViolation):
        ClientSession().receive(frame)


def test_session_ignores_messages_of_later_versions() -> None:
    """New message types and new fields do not disturb old clients."""
    assert ClientSession().receive('{"type":"smells","context":"a"}') == []
    error = decode('{"type":"error","code":"new_code","message":"?","mood":"sad"}')
    assert error is not None


def test_session_missing_packet_raises_protocol_violation() -> None:
    """Sequence numbers are without gaps, or something is very wrong."""
    server = LossyServer()
    session = ClientSession()
    session.restore(server.ready(resumed=False))
    session.open(Open(context="a"))
    server.read(session.announce("a"))
    for frame in server.frames():
        session.receive(frame)
    session.receive(audio(1, 0))
    with pytest.raises(ProtocolViolation):
        session.receive(audio(1, 2))


def test_session_splits_long_text_into_frames_below_64_kib() -> None:
    """Text of any length goes out in frames that the server takes."""
    session = ClientSession()
    session.open(Open(context="a"))
    session.announce("a")
    text = "\x01" * (3 * MAX_TEXT_CHARACTERS + 5)
    frames = session.send_text("a", text)
    assert max(len(frame.encode()) for frame in frames) < 65_536
    assert "".join(json.loads(frame)["text"] for frame in frames) == text


def test_session_cancelled_before_it_was_announced_is_opened_to_be_cancelled() -> None:
    """The server is asked for the answer even when it has heard nothing yet, so that nobody waits in vain."""
    session = ClientSession()
    session.open(Open(context="a"))
    session.send_text("a", "Never mind.")
    types = [json.loads(frame)["type"] for frame in session.cancel("a")]
    assert types == ["open", "text", "cancel"]
    assert session.announce("a") == session.send_text("a", "More.") == session.close("a") == []


def test_session_text_after_close_is_refused() -> None:
    """A mistake of the program is told to the program."""
    session = ClientSession()
    session.open(Open(context="a"))
    session.close("a")
    with pytest.raises(ValueError, match="takes no more text"):
        session.send_text("a", "More.")
    with pytest.raises(ValueError, match="open already"):
        session.open(Open(context="a"))


def audio(stream: int, sequence: int) -> bytes:
    return bytes([1, 0, 0, 0]) + np.array([stream, sequence, 480 * sequence], dtype="<u4").tobytes() + b"x"


@dataclass
class LossyServer:
    """As much of a server as resuming needs, on the other end of a line that swallows frames."""

    texts: dict[str, str] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    """What it was told, in order: text, and "|" for a flush."""
    closed: set[str] = field(default_factory=set)
    outbox: list[str | bytes] = field(default_factory=list)

    def ready(self, *, resumed: bool) -> Ready:
        contexts = {
            name: {"text_characters": len(text), "closed": name in self.closed} for name, text in self.texts.items()
        }
        message: dict[str, Any] = {
            "type": "ready",
            "protocol": "bark-stream.v1",
            "session": "s",
            "resumed": resumed,
            "model": "none",
            "sample_rate": 24000,
            "voices": [],
            "formats": ["opus"],
            "limits": {},
            "contexts": contexts if resumed else None,
        }
        ready = decode(json.dumps(message))
        assert isinstance(ready, Ready)
        return ready

    def read(self, frames: list[str]) -> None:
        for message in map(json.loads, frames):
            name = message["context"]
            if message["type"] == "open" and name not in self.texts:
                self.texts[name] = ""
                self._say(type="opened", context=name, stream=1, voice="v", format="opus")
            elif name not in self.texts:
                self._say(type="error", code="unknown_context", message="", retryable=False, context=name)
            elif message["type"] == "text":
                assert name not in self.closed
                self.texts[name] += message["text"]
                self.order.append(message["text"])
            elif message["type"] == "flush":
                self.order.append("|")
            elif message["type"] == "close":
                self.closed.add(name)

    def _say(self, **message: Any) -> None:
        if message["type"] == "opened":
            message |= {"sample_rate": 24000, "frame_ms": 20, "pre_skip": 0}
        self.outbox.append(json.dumps(message))

    def frames(self) -> list[str | bytes]:
        frames, self.outbox = self.outbox, []
        return frames


Act = tuple[str, Any]
acts = st.lists(
    st.one_of(
        st.tuples(st.just("text"), st.text(min_size=1, max_size=5)),
        st.tuples(st.just("flush"), st.none()),
        st.tuples(st.just("break"), st.integers(0, 3)),
    ),
    max_size=25,
)


@given(acts=acts, first_lost=st.booleans())
def test_session_over_a_line_that_breaks_loses_no_text(acts: list[Act], first_lost: bool) -> None:
    """Wherever the line breaks, the server ends up with every character once, in order, and cut at every flush."""
    server, session = LossyServer(), ClientSession()
    session.restore(server.ready(resumed=False))
    session.open(Open(context="a"))
    unsent: list[str] = []  # handed to the socket, not yet through
    expected = ""

    def post(frames: list[str]) -> None:
        session.sent()
        unsent.extend(frames)

    def deliver() -> None:
        server.read(unsent)
        unsent.clear()
        for frame in server.frames():
            for name, event in session.receive(frame):
                if isinstance(event, Unheard) and name is not None:
                    post(session.announce(name))

    def reconnect(num_arrived: int) -> None:
        server.read(unsent[:num_arrived])
        unsent.clear()
        kept = server.frames()  # swallowed by the line, and sent again
        assert session.resume_message() is not None
        frames, lost = session.restore(server.ready(resumed=True))
        assert lost == []
        for frame in kept:
            session.receive(frame)
        post(frames)
        deliver()
        deliver()

    post(session.announce("a"))
    if not first_lost:
        deliver()
    for act, value in acts:
        if act == "text":
            expected += value
            post(session.send_text("a", value))
        elif act == "flush":
            expected += "|" if not expected.endswith("|") else ""
            post(session.flush("a"))
        else:
            reconnect(value)
    post(session.close("a"))
    reconnect(0)
    heard = "".join(server.order)
    while "||" in heard:
        heard = heard.replace("||", "|")
    while "||" in expected:
        expected = expected.replace("||", "|")
    assert heard == expected
    assert server.closed == {"a"}


@given(st.binary(max_size=64))
def test_session_given_any_bytes_raises_nothing_else(data: bytes) -> None:
    """Whatever comes as audio is taken, passed over, or a violation."""
    with suppress(ProtocolViolation):
        assert all(isinstance(event, Packet) for _, event in ClientSession().receive(data))


@given(st.text(max_size=64))
def test_session_given_any_text_raises_nothing_else(text: str) -> None:
    """Whatever comes as a message is taken, passed over, or a violation."""
    with suppress(ProtocolViolation):
        ClientSession().receive(text)


words_of = st.lists(st.text("abc,", min_size=1, max_size=6), min_size=1, max_size=8)


@given(sentences=st.lists(words_of, max_size=4), played_ms=st.integers(0, 5_000), is_done=st.booleans())
def test_transcript_split_is_exact_and_grows_with_time(
    sentences: list[list[str]], played_ms: int, is_done: bool
) -> None:
    """Heard and unheard are together the text, and who has listened longer has heard no less."""
    transcript, text, now_ms = Transcript(), "", 0
    for index, words in enumerate(sentences):
        line = " ".join(words) + " "
        text += line
        sentence = decode(
            json.dumps({"type": "sentence", "context": "a", "index": index, "text": line, "start_ms": now_ms})
        )
        transcript.add_sentence(sentence)  # type: ignore[arg-type]
        times = [
            {"text": word, "start_ms": now_ms + 100 * n, "end_ms": now_ms + 100 * n + 90}
            for n, word in enumerate(words)
        ]
        message = {"type": "words", "context": "a", "index": index, "words": times, "estimated": False}
        transcript.add_words(decode(json.dumps(message)))  # type: ignore[arg-type]
        now_ms += 100 * len(words)
    end_ms = now_ms if is_done else None
    heard, unheard = transcript.split(text, played_ms, end_ms)
    later, _ = transcript.split(text, played_ms + 70, end_ms)
    assert heard + unheard == text
    assert later.startswith(heard)
    if is_done and played_ms >= now_ms:
        assert heard == text
