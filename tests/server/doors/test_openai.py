"""OpenAI's own client against a real server on a real port."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from bark_server.app import BarkServer
from bark_server.doors import http_connection
from bark_server.doors.http import HttpDoor
from bark_server.limits import Limits
from bark_server.prepared import S_PER_CHARACTER
from harness import RATE_HZ, voice_like

from bark_stream.audio_file import read_audio
from bark_stream.errors import EngineError
from bark_stream.events import SentenceFailed

HELLO = "Hello there, my good old friend. How are you doing on this fine day?"
HELLO_S = (len(HELLO) - 1) * S_PER_CHARACTER


def _base_url(server: BarkServer) -> str:
    (door,) = [door for door in server._doors if isinstance(door, HttpDoor)]
    return f"http://127.0.0.1:{door.port}/v1"


async def _start(live: Any, **settings: Any) -> str:
    return _base_url(await live.start(http_port=0, **settings))


@pytest.fixture
async def client(live: Any) -> AsyncIterator[openai.AsyncOpenAI]:
    """OpenAI's client of a server that speaks at once."""
    async with openai.AsyncOpenAI(base_url=await _start(live), api_key="-", max_retries=0) as client:
        yield client


def _speak(url: str, **fields: Any) -> httpx.Request:
    body = {"model": "tts-1", "voice": "alloy", "input": HELLO, **fields}
    return httpx.Request("POST", f"{url}/audio/speech", json=body)


@pytest.mark.parametrize("response_format", ["mp3", "opus", "aac", "flac", "wav"])
async def test_speech_in_every_format_is_as_long_as_spoken(client: openai.AsyncOpenAI, response_format: Any) -> None:
    """Whatever is asked for can be read by others and holds all of the text."""
    response = await client.audio.speech.create(
        model="gpt-4o-mini-tts", voice="alloy", input=HELLO, response_format=response_format, instructions="Be glad."
    )
    pcm, rate_hz = read_audio(io.BytesIO(response.content))
    assert len(pcm) / rate_hz == pytest.approx(HELLO_S, abs=0.15)


async def test_speech_as_pcm_is_the_engines_sound(client: openai.AsyncOpenAI) -> None:
    """24 kHz, 16 bit, little-endian, mono, to the sample."""
    response = await client.audio.speech.create(model="tts-1", voice="other", input=HELLO, response_format="pcm")
    pcm = np.frombuffer(response.content, dtype="<i2") / 32767
    assert len(pcm) / RATE_HZ == pytest.approx(HELLO_S, abs=0.001)
    assert np.abs(pcm - np.resize(voice_like(RATE_HZ), len(pcm))).max() < 1e-4


async def test_speech_with_the_blocking_client(live: Any) -> None:
    """The synchronous client, streaming into a file, as its documentation shows."""
    url = await _start(live)

    def speak() -> bytes:
        sound = io.BytesIO()
        with openai.OpenAI(base_url=url, api_key="-", max_retries=0) as client:
            create = client.audio.speech.with_streaming_response.create
            with create(model="tts-1", voice="nova", input=HELLO, response_format="wav") as response:
                for piece in response.iter_bytes():
                    sound.write(piece)
        return sound.getvalue()

    pcm, _ = read_audio(io.BytesIO(await asyncio.to_thread(speak)))
    assert len(pcm) / RATE_HZ == pytest.approx(HELLO_S, abs=0.01)


async def test_speech_comes_before_it_is_finished(live: Any) -> None:
    """The first bytes are there while the engine still has most of the text before it."""
    url = await _start(live, speed=4.0)
    async with openai.AsyncOpenAI(base_url=url, api_key="-", max_retries=0) as client:
        create = client.audio.speech.with_streaming_response.create
        async with create(model="tts-1", voice="alloy", input=HELLO * 3, response_format="mp3") as response:
            pieces = response.iter_bytes()
            await anext(pieces)
            assert live.engines[0].stats().num_running == 1
            assert len([piece async for piece in pieces]) > 4


@pytest.mark.parametrize("speed", [0.25, 2.0, 4.0])
async def test_speech_at_another_speed_lasts_accordingly(client: openai.AsyncOpenAI, speed: float) -> None:
    """Time is stretched over the whole range that the API has."""
    response = await client.audio.speech.create(
        model="tts-1", voice="alloy", input=HELLO, response_format="pcm", speed=speed
    )
    assert len(response.content) / 2 / RATE_HZ == pytest.approx(HELLO_S / speed, rel=0.06)


async def test_speech_as_events_is_the_same_sound(client: openai.AsyncOpenAI) -> None:
    """Server-sent events: deltas whose bytes make the file, then the usage."""
    create = client.audio.speech.with_streaming_response.create
    async with create(
        model="gpt-4o-mini-tts", voice="alloy", input=HELLO, response_format="pcm", stream_format="sse"
    ) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        events = [json.loads(line[6:]) async for line in response.iter_lines() if line]
    assert [event["type"] for event in events[:-1]] == ["speech.audio.delta"] * (len(events) - 1)
    sound = b"".join(base64.b64decode(event["audio"]) for event in events[:-1])
    assert len(sound) / 2 / RATE_HZ == pytest.approx(HELLO_S, abs=0.001)
    assert events[-1]["type"] == "speech.audio.done"
    assert events[-1]["usage"]["input_tokens"] == len(HELLO)


async def test_models_and_voices_are_listed(client: openai.AsyncOpenAI) -> None:
    """By OpenAI's client, and by those who ask for voices as other servers list them."""
    assert [model.id async for model in client.models.list()] == ["prepared"]
    assert (await client.models.retrieve("prepared")).owned_by == "bark-stream"
    voices = await client.get("/audio/voices", cast_to=httpx.Response)
    assert voices.json() == {
        "voices": [{"id": "prepared", "name": "prepared"}, {"id": "other", "name": "other"}],
    }


@pytest.mark.parametrize(
    ("fields", "status", "code", "param"),
    [
        ({"voice": "nobody"}, 400, "unknown_voice", "voice"),
        ({"voice": {"id": "nobody"}}, 400, "unknown_voice", "voice"),
        ({"voice": 7}, 400, "invalid_value", "voice"),
        ({"input": ""}, 400, "invalid_value", "input"),
        ({"input": " ... "}, 400, "empty_text", "input"),
        ({"input": "a" * 50_001}, 400, "text_too_long", "input"),
        ({"input": None}, 400, "invalid_value", "input"),
        ({"model": "whisper-1"}, 404, "model_not_found", "model"),
        ({"response_format": "exe"}, 400, "invalid_value", "response_format"),
        ({"speed": 5}, 400, "invalid_value", "speed"),
        ({"stream_format": "flac"}, 400, "invalid_value", "stream_format"),
    ],
)
async def test_speech_refused_says_what_is_wrong(
    live: Any, fields: dict[str, Any], status: int, code: str, param: str
) -> None:
    """In OpenAI's shape, with the field at fault; and nothing is left running."""
    url = await _start(live)
    async with httpx.AsyncClient() as http:
        response = await http.send(_speak(url, **fields))
    assert response.status_code == status
    error = response.json()["error"]
    assert (error["code"], error["param"], error["type"]) == (code, param, "invalid_request_error")
    assert live.engines[0].stats().num_streams == 0


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff\xfe", b'{"input": "' + b"[" * 100_000])
async def test_speech_with_nonsense_is_refused(live: Any, body: bytes) -> None:
    """No body crashes the server."""
    url = await _start(live)
    async with httpx.AsyncClient() as http:
        response = await http.post(f"{url}/audio/speech", content=body)
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"


async def test_speech_with_a_giant_body_is_refused(live: Any) -> None:
    """No more than the limit is read."""
    url = await _start(live, limits=Limits(max_body_bytes=1_000))
    async with httpx.AsyncClient() as http:
        response = await http.send(_speak(url, input="a" * 2_000))
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "request_too_large"


async def test_speech_whose_request_does_not_come_is_given_up(live: Any) -> None:
    """Who sends half a request and waits is answered with 408."""
    server = await live.start(http_port=0, limits=Limits(reader_idle_ms=50))
    port = int(_base_url(server).split(":")[2].split("/")[0])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /v1/audio/speech HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    assert b" 408 " in await asyncio.wait_for(reader.readline(), 10)
    writer.close()
    await writer.wait_closed()


async def test_request_for_nothing_has_the_same_shape(live: Any) -> None:
    """Paths and methods that are not there are errors like others."""
    url = await _start(live)
    async with httpx.AsyncClient() as http:
        assert (await http.get(f"{url}/nowhere")).json()["error"]["code"] == "not_found"
        wrong = await http.get(f"{url}/audio/speech")
    assert wrong.status_code == 405
    assert wrong.json()["error"]["code"] == "method_not_allowed"


async def test_key_is_needed_when_there_are_keys(live: Any) -> None:
    """As a bearer; without it OpenAI's client raises its own AuthenticationError."""
    url = await _start(live, api_keys=("sesame",))
    async with openai.AsyncOpenAI(base_url=url, api_key="wrong", max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError):
            await client.audio.speech.create(model="tts-1", voice="alloy", input=HELLO)
        with pytest.raises(openai.AuthenticationError):
            await client.models.list()
    async with openai.AsyncOpenAI(base_url=url, api_key="sesame", max_retries=0) as client:
        assert (await client.audio.speech.create(model="tts-1", voice="alloy", input="Yes.")).content


async def test_page_of_another_origin_needs_leave(live: Any) -> None:
    """403 without it; with it the browser is told so, preflight included."""
    closed = await _start(live)
    opened = await _start(live, allowed_origins=("https://game.example",))
    origin = {"Origin": "https://game.example"}
    ask = {**origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    async with httpx.AsyncClient() as http:
        assert (await http.get(f"{closed}/models", headers=origin)).status_code == 403
        answer = await http.get(f"{opened}/models", headers=origin)
        assert answer.headers["access-control-allow-origin"] == "https://game.example"
        preflight = await http.options(f"{opened}/audio/speech", headers=ask)
        assert preflight.status_code == 200
        assert "authorization" in preflight.headers["access-control-allow-headers"].lower()


async def test_full_server_says_when_to_come_again(live: Any) -> None:
    """503 with Retry-After, which OpenAI's client obeys by itself."""
    url = await _start(live, speed=1.0, limits=Limits(max_contexts=1))
    async with httpx.AsyncClient() as http, http.stream("POST", f"{url}/audio/speech", json=_json(HELLO)) as first:
        await anext(first.aiter_bytes())
        second = await http.send(_speak(url))
    assert second.status_code == 503
    assert second.headers["retry-after"] == "1"
    assert second.json()["error"]["code"] == "overloaded"


async def test_client_that_goes_away_stops_the_engine(live: Any) -> None:
    """Closing the response frees the engine's stream, long before the text is spoken."""
    server = await live.start(http_port=0, speed=2.0)
    async with httpx.AsyncClient() as http:
        async with http.stream("POST", f"{_base_url(server)}/audio/speech", json=_json(HELLO * 10)) as response:
            await anext(response.aiter_bytes())
            assert live.engines[0].stats().num_streams == 1
        await _until(lambda: live.engines[0].stats().num_streams == 0)
    assert server.hub.sessions == ()


async def test_client_that_reads_nothing_is_given_up(live: Any) -> None:
    """Its engine pauses at once and is freed after the limit; others are served meanwhile."""
    server = await live.start(http_port=0, limits=Limits(reader_idle_ms=300))
    port = int(_base_url(server).split(":")[2].split("/")[0])
    _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1_024)
    body = json.dumps(_json(HELLO * 300, response_format="wav")).encode()
    head = f"POST /v1/audio/speech HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.transport.pause_reading()
    writer.write(head.encode() + body)
    await _until(lambda: live.engines[0].stats().num_streams == 1)
    async with httpx.AsyncClient() as http:
        assert (await http.send(_speak(_base_url(server)))).status_code == 200
    await _until(lambda: live.engines[0].stats().num_streams == 0)
    writer.transport.abort()


async def test_drain_speaks_out_and_admits_nothing(live: Any) -> None:
    """What was accepted comes whole, though the server was told to stop."""
    server = await live.start(http_port=0, speed=8.0)
    url = _base_url(server)
    async with httpx.AsyncClient() as http:
        async with http.stream("POST", f"{url}/audio/speech", json=_json(HELLO, response_format="pcm")) as response:
            pieces = response.aiter_bytes()
            sound = await anext(pieces)
            draining = asyncio.ensure_future(server.drain())
            await asyncio.sleep(0)
            assert (await http.send(_speak(url))).status_code == 503
            async for piece in pieces:
                sound += piece
        await draining
    assert len(sound) / 2 / RATE_HZ == pytest.approx(HELLO_S, abs=0.001)


@pytest.mark.parametrize("begun", [b"", b"POST /v1/audio/spee"])
async def test_connection_that_asks_for_nothing_is_cut(
    live: Any, begun: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever opens a connection and does not finish asking does not keep it, not even after a first request."""
    monkeypatch.setattr(http_connection, "PATIENCE_S", 0.1)
    server = await live.start(http_port=0)
    port = int(_base_url(server).split(":")[2].split("/")[0])
    for first in (b"", b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n"):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(first + begun)
        with contextlib.suppress(ConnectionError):
            await asyncio.wait_for(reader.read(), 20)
        writer.close()


async def test_connections_too_many_are_cut(live: Any) -> None:
    """Those that are there go on."""
    server = await live.start(http_port=0, limits=Limits(max_connections=2))
    port = int(_base_url(server).split(":")[2].split("/")[0])
    links = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
    with contextlib.suppress(ConnectionError):
        assert await asyncio.wait_for(links[2][0].read(), 20) == b""
    links[0][1].write(b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b" 200 " in await asyncio.wait_for(links[0][0].readline(), 20)
    for _, writer in links:
        writer.close()


async def test_failure_of_the_engine_is_the_servers_error(live: Any) -> None:
    """500 in the same shape, without the engine's words; others are served."""
    url = await _start(live)
    make = live.engines[0]._make
    live.engines[0]._make = lambda stream: [SentenceFailed(stream._sentences.popleft().index, EngineError("no"))]
    async with httpx.AsyncClient() as http:
        response = await http.send(_speak(url))
        live.engines[0]._make = make
        assert (await http.send(_speak(url))).status_code == 200
    assert response.status_code == 500
    assert response.json()["error"]["type"] == "server_error"
    assert response.json()["error"]["code"] == "generation_failed"


async def test_log_holds_no_text(live: Any) -> None:
    """Neither what was said nor what was refused."""
    url = await _start(live, api_keys=("sesame",))
    async with httpx.AsyncClient() as http:
        for key in ("sesame", "wrong"):
            request = _speak(url, input="A secret thing.")
            request.headers["Authorization"] = f"Bearer {key}"
            await http.send(request)
    assert "secret" not in live.log.getvalue()
    assert "sesame" not in live.log.getvalue()
    assert "refused" in live.log.getvalue()


def _json(text: str, **fields: Any) -> dict[str, Any]:
    return {"model": "tts-1", "voice": "alloy", "input": text, **fields}


async def _until(is_so: Any) -> None:
    async def wait() -> None:
        while not is_so():
            await asyncio.sleep(0.01)

    await asyncio.wait_for(wait(), 20)
