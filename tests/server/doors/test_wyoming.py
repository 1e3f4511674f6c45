"""The Wyoming package's own client against a real server on a real port."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import numpy as np
import pytest
from bark_server.app import BarkServer
from bark_server.config import ServerConfig
from bark_server.doors.wyoming import WyomingDoor
from bark_server.doors.wyoming_events import encode_event
from bark_server.limits import Limits
from bark_server.prepared import S_PER_CHARACTER
from harness import RATE_HZ, voice_like
from wyoming.client import AsyncTcpClient
from wyoming.error import Error
from wyoming.event import Event
from wyoming.info import Describe, Info
from wyoming.ping import Ping, Pong
from wyoming.tts import Synthesize, SynthesizeChunk, SynthesizeStart, SynthesizeStop, SynthesizeVoice

from bark_stream.errors import ConfigError

HELLO = "Hello there, my good old friend. How are you doing on this fine day?"
HELLO_S = (len(HELLO) - 1) * S_PER_CHARACTER


def _port(server: BarkServer) -> int:
    (port,) = [door.port for door in server._doors if isinstance(door, WyomingDoor)]
    return port


async def _start(live: Any, **settings: Any) -> AsyncTcpClient:
    server = await live.start(wyoming_port=0, **settings)
    return AsyncTcpClient("127.0.0.1", _port(server), read_timeout=20)


async def _until(client: AsyncTcpClient, kind: str) -> list[Event]:
    """Events up to the first of a kind."""
    events: list[Event] = []
    while not events or events[-1].type != kind:
        event = await client.read_event()
        assert event is not None, "the connection was closed"
        events.append(event)
    return events


def _pcm(events: list[Event]) -> Any:
    payloads = [event.payload or b"" for event in events if event.type == "audio-chunk"]
    return np.frombuffer(b"".join(payloads), dtype="<i2") / 32767


async def test_describe_tells_voices_and_streaming(live: Any) -> None:
    """As the package itself reads it."""
    async with await _start(live) as client:
        await client.write_event(Describe().event())
        info = Info.from_event((await _until(client, "info"))[-1])
    (program,) = info.tts
    assert program.supports_synthesize_streaming
    assert program.installed
    assert [voice.name for voice in program.voices] == ["prepared", "other"]
    assert program.voices[0].languages == ["en"]


async def test_synthesize_is_the_engines_sound(live: Any) -> None:
    """Start, chunks that fit one another to the sample, stop."""
    async with await _start(live) as client:
        await client.write_event(Synthesize(HELLO, voice=SynthesizeVoice(name="other")).event())
        events = await _until(client, "audio-stop")
    assert events[0].type == "audio-start"
    assert (events[0].data["rate"], events[0].data["width"], events[0].data["channels"]) == (RATE_HZ, 2, 1)
    pcm = _pcm(events)
    assert len(pcm) / RATE_HZ == pytest.approx(HELLO_S, abs=0.001)
    assert np.abs(pcm - np.resize(voice_like(RATE_HZ), len(pcm))).max() < 1e-4


async def test_streamed_text_is_spoken_while_it_comes(live: Any) -> None:
    """Chunks that are cut anywhere; sound before the text has ended; the compatibility event is no second text."""
    async with await _start(live) as client:
        await client.write_event(SynthesizeStart(voice=SynthesizeVoice(language="en")).event())
        for at in range(0, 40, 3):
            await client.write_event(SynthesizeChunk(HELLO[at : min(at + 3, 40)]).event())
        early = await _until(client, "audio-chunk")
        await client.write_event(SynthesizeChunk(HELLO[40:]).event())
        await client.write_event(Synthesize(HELLO).event())
        await client.write_event(SynthesizeStop().event())
        events = early + await _until(client, "synthesize-stopped")
    assert [event.type for event in events].count("audio-start") == 1
    assert events[-2].type == "audio-stop"
    assert len(_pcm(events)) / RATE_HZ == pytest.approx(HELLO_S, abs=0.001)


async def test_requests_on_one_connection_follow_one_another(live: Any) -> None:
    """Each has its own start and end, in order, and what is unknown in between does no harm."""
    async with await _start(live) as client:
        await client.write_event(Synthesize("One, two.").event())
        await client.write_event(Event("run-satellite"))
        await client.write_event(SynthesizeStart().event())
        await client.write_event(SynthesizeChunk("Three, four, five.").event())
        await client.write_event(SynthesizeStop().event())
        first = await _until(client, "audio-stop")
        second = await _until(client, "synthesize-stopped")
    assert len(_pcm(first)) == int(9 * S_PER_CHARACTER * RATE_HZ)
    assert len(_pcm(second)) == int(18 * S_PER_CHARACTER * RATE_HZ)


async def test_ping_is_answered(live: Any) -> None:
    """With its text."""
    async with await _start(live) as client:
        await client.write_event(Ping(text="here?").event())
        assert Pong.from_event((await _until(client, "pong"))[-1]).text == "here?"


@pytest.mark.parametrize(
    ("request_event", "code"),
    [
        (Synthesize(HELLO, voice=SynthesizeVoice(name="nobody")).event(), "unknown_voice"),
        (Synthesize("a" * 50_001).event(), "text_too_long"),
    ],
)
async def test_request_refused_ends_with_an_error(live: Any, request_event: Event, code: str) -> None:
    """The client hears why, and the end it waits for; the connection stays."""
    async with await _start(live) as client:
        await client.write_event(request_event)
        events = await _until(client, "audio-stop")
        assert [Error.from_event(event).code for event in events if event.type == "error"] == [code]
        await client.write_event(Synthesize("Yes.").event())
        assert len(_pcm(await _until(client, "audio-stop")))


async def test_stream_refused_ends_with_an_error(live: Any) -> None:
    """A voice that is not there ends a stream too, whatever text still comes."""
    async with await _start(live) as client:
        await client.write_event(SynthesizeStart(voice=SynthesizeVoice(name="nobody")).event())
        events = await _until(client, "synthesize-stopped")
        await client.write_event(SynthesizeChunk("Hello.").event())
        await client.write_event(Synthesize("Hello.").event())
        await client.write_event(SynthesizeStop().event())
        await client.write_event(Synthesize("Yes, it is.").event())
        assert len(_pcm(await _until(client, "audio-stop"))) == int(11 * S_PER_CHARACTER * RATE_HZ)
    assert "error" in [event.type for event in events]


async def test_text_of_nothing_is_silence(live: Any) -> None:
    """No error and no sound, but an end."""
    async with await _start(live) as client:
        await client.write_event(Synthesize(" ").event())
        events = await _until(client, "audio-stop")
    assert [event.type for event in events] == ["audio-start", "audio-stop"]


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\n",
        b"[]\n",
        b'{"type": 7}\n',
        b'{"type": "synthesize", "data": 7}\n',
        b'{"type": "synthesize", "data_length": -5}\n',
        b'{"type": "synthesize", "data_length": 99999999999}\n',
        b'{"type": "synthesize", "payload_length": 99999999999}\n',
        b'{"type": "synthesize", "data_length": 4}\n[[[[',
        b"[" * 300_000 + b"\n",
        b"x" * 700_000,
    ],
)
async def test_nonsense_is_answered_and_hung_up_on(live: Any, data: bytes) -> None:
    """Nothing is read beyond the limit, and others go on."""
    server = await live.start(wyoming_port=0)
    reader, writer = await asyncio.open_connection("127.0.0.1", _port(server))
    writer.write(data)
    header = json.loads(await asyncio.wait_for(reader.readline(), 10))
    assert header["type"] == "error"
    writer.close()
    async with AsyncTcpClient("127.0.0.1", _port(server), read_timeout=20) as client:
        await client.write_event(Synthesize("Yes.").event())
        assert len(_pcm(await _until(client, "audio-stop")))


@pytest.mark.parametrize("fields", [{"text": 7}, {"text": "Yes.", "voice": 7}, {"voice": {"name": 7}}, {}])
async def test_fields_of_other_types_do_no_harm(live: Any, fields: dict[str, Any]) -> None:
    """They count as missing."""
    async with await _start(live) as client:
        await client.write_event(Event("synthesize", fields))
        await _until(client, "audio-stop")


async def test_client_that_hangs_up_stops_the_engine(live: Any) -> None:
    """In the middle of speech, and in the middle of its text."""
    client = await _start(live, speed=2.0)
    async with client:
        await client.write_event(SynthesizeStart().event())
        await client.write_event(SynthesizeChunk(HELLO * 10).event())
        await _until(client, "audio-chunk")
        assert live.engines[0].stats().num_streams == 1
    for _ in range(500):
        if not live.engines[0].stats().num_streams:
            break
        await asyncio.sleep(0.01)
    assert live.engines[0].stats().num_streams == 0


async def test_client_that_reads_nothing_pauses_its_engine_only(live: Any) -> None:
    """Its speech waits and is given up after the limit, while others are served."""
    server = await live.start(wyoming_port=0, limits=Limits(reader_idle_ms=300))
    _, writer = await asyncio.open_connection("127.0.0.1", _port(server), limit=1_024)
    writer.transport.pause_reading()
    writer.write(encode_event("synthesize", {"text": HELLO * 300}))
    while not live.engines[0].stats().num_streams:
        await asyncio.sleep(0.01)
    async with AsyncTcpClient("127.0.0.1", _port(server), read_timeout=20) as client:
        await client.write_event(Synthesize("Yes.").event())
        assert len(_pcm(await _until(client, "audio-stop")))
    for _ in range(500):
        if not live.engines[0].stats().num_streams:
            break
        await asyncio.sleep(0.01)
    assert live.engines[0].stats().num_streams == 0
    writer.transport.abort()


async def test_drain_speaks_out_and_admits_nothing(live: Any) -> None:
    """What was accepted comes whole; the next request hears of an overload."""
    server = await live.start(wyoming_port=0, speed=8.0)
    async with AsyncTcpClient("127.0.0.1", _port(server), read_timeout=20) as client:
        await client.write_event(Synthesize(HELLO).event())
        await _until(client, "audio-start")
        draining = asyncio.ensure_future(server.drain())
        events = await _until(client, "audio-stop")
        await draining
        await client.write_event(Synthesize("Late.").event())
        late = await _until(client, "audio-stop")
    assert len(_pcm(events)) / RATE_HZ == pytest.approx(HELLO_S, abs=0.001)
    assert [Error.from_event(event).code for event in late if event.type == "error"] == ["overloaded"]


def test_door_does_not_open_beside_keys() -> None:
    """The protocol has none: a server that asks for keys cannot have a door that does not."""
    with pytest.raises(ConfigError, match="wyoming_port"):
        ServerConfig(wyoming_port=0, api_keys=("sesame",))
