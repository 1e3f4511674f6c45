"""The real door: a real server on a real port, real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bark_server.app import BarkServer
from bark_server.frames import AudioFrame, unpack
from bark_server.limits import Limits
from bark_server.messages import PROTOCOL
from harness import RATE_HZ, decode_opus, voice_like
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin

HELLO = "Hello there, my good old friend. How are you doing on this fine day? "


def _url(server: BarkServer, scheme: str = "ws") -> str:
    return f"{scheme}://127.0.0.1:{server.port}/v1/stream"


@contextlib.asynccontextmanager
async def _client(server: BarkServer, **options: Any) -> AsyncIterator[ClientConnection]:
    """A client that has been greeted."""
    async with connect(_url(server), compression=None, max_queue=None, **options) as client:
        assert json.loads(await client.recv())["type"] == "ready"
        yield client


async def _send(client: ClientConnection, kind: str, **fields: Any) -> None:
    await client.send(json.dumps({"type": kind, **fields}))


async def _until(client: ClientConnection, *kinds: str) -> tuple[list[dict[str, Any]], list[AudioFrame]]:
    """Everything up to and including a message of one of `kinds`."""
    messages: list[dict[str, Any]] = []
    audio: list[AudioFrame] = []
    while not messages or messages[-1]["type"] not in kinds:
        frame = await asyncio.wait_for(client.recv(), 20)
        if isinstance(frame, bytes):
            audio.append(unpack(frame))
        else:
            messages.append(json.loads(frame))
    return messages, audio


async def _get(port: int, path: str) -> tuple[int, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    response = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    head, _, body = response.partition("\r\n\r\n")
    return int(head.split()[1]), body


async def test_speaking_over_a_socket(live: Any) -> None:
    """Text in, the engine's sound out, to the sample."""
    server = await live.start()
    async with _client(server, subprotocols=["other", PROTOCOL]) as client:
        assert client.subprotocol == PROTOCOL
        await _send(client, "open", context="a", max_lead_ms=0)
        await _send(client, "text", context="a", text=HELLO)
        await _send(client, "close", context="a")
        messages, audio = await _until(client, "done")
    num_samples = messages[-1]["audio_samples"]
    heard = decode_opus([frame.payload for frame in audio], messages[0]["pre_skip"])[:num_samples]
    made = np.resize(voice_like(RATE_HZ), num_samples)
    assert 10 * np.log10(np.sum(made**2) / np.sum((made - heard) ** 2)) > 12


async def test_cancel_over_a_socket(live: Any) -> None:
    """The answer comes at once, adds up, and no audio comes after it."""
    server = await live.start(speed=20)
    async with _client(server) as client:
        await _send(client, "text", context="a", text=HELLO * 5)
        await _until(client, "words")
        await _send(client, "cancel", context="a")
        messages, _ = await _until(client, "cancelled")
        assert messages[-1]["spoken"] + messages[-1]["unspoken"] == HELLO * 5
        await _send(client, "open", context="b")
        _, audio = await _until(client, "opened")
        assert audio == []
    assert server.hub is not None
    assert server.hub.admission.num_contexts == 1


@pytest.mark.parametrize(
    ("path", "status", "part"),
    [
        ("/", 200, "<title>page</title>"),
        ("/client.js", 200, "export"),
        ("/healthz", 200, "ok"),
        ("/readyz", 200, "ready"),
        ("/metrics", 200, "bark_loop_lag_seconds"),
        ("/metrics?x=1", 200, "bark_contexts 0.0"),
        ("/v1/voices", 200, '"prepared"'),
        ("/secret.txt", 404, ""),
        ("/%2e%2e/secret", 404, ""),
    ],
)
async def test_get_on_the_same_port(live: Any, path: str, status: int, part: str) -> None:
    """The port of the sockets answers GETs."""
    server = await live.start()
    got, body = await _get(server.port, path)
    assert got == status
    assert part in body


async def test_no_subprotocol_is_accepted(live: Any) -> None:
    """A client that offers none is served all the same."""
    server = await live.start()
    async with _client(server) as client:
        assert client.subprotocol is None


async def test_keys_are_asked_for(live: Any) -> None:
    """Header or subprotocol opens; nothing or a wrong key is 401 before the upgrade; the key is never chosen."""
    server = await live.start(api_keys=("sesame",))
    for options in ({}, {"additional_headers": {"Authorization": "Bearer wrong"}}, {"subprotocols": ["bearer.no"]}):
        with pytest.raises(InvalidStatus) as caught:
            await connect(_url(server), **options)
        assert caught.value.response.status_code == 401
    async with _client(server, additional_headers={"Authorization": "Bearer sesame"}):
        pass
    async with _client(server, subprotocols=[PROTOCOL, "bearer.sesame"]) as client:
        assert client.subprotocol == PROTOCOL


async def test_foreign_origins_are_refused(live: Any) -> None:
    """A page from elsewhere gets 403; the server's own page and the allowed one get in."""
    server = await live.start(allowed_origins=("http://friend",))
    with pytest.raises(InvalidStatus) as caught:
        await connect(_url(server), origin=Origin("http://evil"))
    assert caught.value.response.status_code == 403
    for origin in ("http://friend", f"http://127.0.0.1:{server.port}"):
        async with _client(server, origin=Origin(origin)):
            pass


async def test_full_server_refuses(live: Any) -> None:
    """Above `max_connections`: 503 with a time to wait; when somebody leaves, there is room."""
    server = await live.start(limits=Limits(max_connections=1))
    async with _client(server):
        with pytest.raises(InvalidStatus) as caught:
            await connect(_url(server))
        assert caught.value.response.status_code == 503
        assert caught.value.response.headers["Retry-After"]
    assert server.hub is not None
    while server.hub.num_links:
        await asyncio.sleep(0)
    async with _client(server):
        pass


async def test_big_frames_close_the_socket(live: Any) -> None:
    """A frame of 1 MB ends that socket with 1009, and no other."""
    server = await live.start()
    async with _client(server) as other, _client(server) as client:
        with contextlib.suppress(ConnectionClosed):
            await client.send("x" * 1_000_000)
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert client.close_code == 1009
        await _send(other, "open", context="a")
        await _until(other, "opened")


async def test_broken_utf8_closes_nothing(live: Any) -> None:
    """Text that is no UTF-8 is an error message like any other nonsense."""
    server = await live.start()
    async with _client(server) as client:
        await client.send(b'{"type":"text","context":"a","text":"\xff"}', text=True)
        messages, _ = await _until(client, "error")
        assert messages[-1]["code"] == "bad_json"
        await client.send(b"\x00\x01\x02")
        messages, _ = await _until(client, "error")
        assert messages[-1]["code"] == "bad_json"
        await _send(client, "open", context="a")
        await _until(client, "opened")


async def test_dropped_socket_is_resumed(live: Any) -> None:
    """The connection is cut without a word; a new one gets exactly the packets that were missed."""
    server = await live.start(speed=4)
    client = await connect(_url(server), compression=None, max_queue=None)
    session = json.loads(await client.recv())["session"]
    await _send(client, "text", context="a", text=HELLO)
    await _send(client, "close", context="a")
    received = [frame for frame in [await client.recv() for _ in range(25)] if isinstance(frame, bytes)]
    client.transport.abort()
    await client.wait_closed()
    last = unpack(received[-1]).sequence
    async with _client(server) as client:
        await _send(client, "resume", session=session, received={"a": last})
        messages, audio = await _until(client, "done")
    assert messages[0]["resumed"] is True
    assert [frame.sequence for frame in audio] == list(range(last + 1, last + 1 + len(audio)))


async def test_half_open_socket_is_taken_over(live: Any) -> None:
    """A client whose old socket still looks alive comes back on a new one; the old one is closed."""
    server = await live.start(speed=4)
    old = await connect(_url(server), compression=None, max_queue=None)
    session = json.loads(await old.recv())["session"]
    await _send(old, "text", context="a", text=HELLO)
    await _send(old, "close", context="a")
    await _until(old, "words")
    async with _client(server) as new:
        await _send(new, "resume", session=session, received={"a": -1})
        messages, audio = await _until(new, "done")
        assert [frame.sequence for frame in audio] == list(range(len(audio)))
        assert "opened" in {message["type"] for message in messages}
    await old.wait_closed()
    assert old.close_code == 1000


async def test_goodbye_frees_at_once(live: Any) -> None:
    """A normal close is no drop: nothing is kept."""
    server = await live.start(speed=1)
    async with _client(server) as client:
        await _send(client, "text", context="a", text=HELLO)
        await _until(client, "words")
    assert server.hub is not None
    while server.hub.sessions:
        await asyncio.sleep(0)
    assert server.hub.admission.num_contexts == 0


async def test_slow_reader_hurts_only_itself(live: Any) -> None:
    """A client that reads nothing: its generation pauses and memory stays; another is served; in the end it is 1008."""
    limits = Limits(max_unacknowledged_bytes=65_536, replay_bytes=65_536, reader_idle_ms=1_500)
    server = await live.start(limits=limits)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=4096)
    raw: socket.socket = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    writer.write(
        b"GET /v1/stream HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    await reader.readuntil(b"\r\n\r\n")
    _stop_reading(writer)
    opening = {"type": "open", "context": "a", "format": "pcm_s16le", "max_lead_ms": 0}
    for message in (opening, {"type": "text", "context": "a", "text": HELLO * 40}):
        writer.write(_masked(json.dumps(message).encode()))
    assert server.hub is not None
    while not any(session.num_contexts for session in server.hub.sessions):
        await asyncio.sleep(0.01)
    (slow,) = server.hub.sessions
    async with _client(server) as client:
        await _send(client, "open", context="b", max_lead_ms=0)
        await _send(client, "text", context="b", text=HELLO)
        await _send(client, "close", context="b")
        await _until(client, "done")
    assert slow.held_bytes < 65_536 + 20_000
    while slow.ending is None:
        await asyncio.sleep(0.02)
    assert slow.ending.code == 1008
    writer.transport.abort()
    while server.hub.sessions:
        await asyncio.sleep(0.02)


def _stop_reading(writer: asyncio.StreamWriter) -> None:
    transport = writer.transport
    assert isinstance(transport, asyncio.Transport)
    transport.pause_reading()


def _masked(payload: bytes) -> bytes:
    """A client's text frame with a mask of zeros."""
    return bytes([0x81, 0xFE]) + len(payload).to_bytes(2, "big") + bytes(4) + payload


async def test_flood_without_reading_is_bounded(live: Any) -> None:
    """A client that sends nonsense and reads no answers: the server stops reading it, and memory stays."""
    server = await live.start(limits=Limits(max_control_bytes=10_000, reader_idle_ms=600_000))
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=4096)
    writer.write(
        b"GET /v1/stream HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    await reader.readuntil(b"\r\n\r\n")
    _stop_reading(writer)
    nonsense = _masked(b'{"type":"nonsense","context":"' + b"x" * 150 + b'"}') * 20
    assert server.hub is not None
    while not any(session.is_congested for session in server.hub.sessions):
        writer.write(nonsense)
        await asyncio.sleep(0)
    (session,) = server.hub.sessions
    for _ in range(100):
        writer.write(nonsense)
        await asyncio.sleep(0)
        assert session._outbox._answer_bytes < 11_000
    writer.transport.abort()


async def test_many_connections_come_and_go(live: Any) -> None:
    """A storm of connections, some cut short in the handshake, leaves a server that works and holds nothing."""
    server = await live.start()

    async def visit(number: int) -> None:
        if number % 3 == 0:
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"GET /v1/stream HT")
            writer.transport.abort()
            return
        async with _client(server) as client:
            await _send(client, "text", context="a", text=HELLO)
            if number % 3 == 1:
                client.transport.abort()

    await asyncio.gather(*(visit(number) for number in range(90)))
    async with _client(server) as client:
        await _send(client, "open", context="a")
        await _until(client, "opened")


async def test_tls(live: Any, tmp_path: Path) -> None:
    """With a certificate the same port speaks TLS."""
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    server = await live.start(tls_cert=certificate, tls_key=key)
    context = ssl.create_default_context(cafile=certificate)
    async with connect(_url(server, "wss"), ssl=context) as client:
        assert json.loads(await client.recv())["type"] == "ready"
        await _send(client, "text", context="a", text=HELLO)
        await _send(client, "close", context="a")
        _, audio = await _until(client, "done")
        assert audio


async def test_nothing_secret_is_logged(live: Any) -> None:
    """The log of a live server has its events and none of the text."""
    server = await live.start()
    async with _client(server) as client:
        await _send(client, "open", context="a", max_lead_ms=0)
        await _send(client, "text", context="a", text="SECRET words are never written down. ")
        await _send(client, "close", context="a")
        await _until(client, "done")
    log = live.log.getvalue()
    events = {json.loads(line)["event"] for line in log.splitlines()}
    assert {"listening", "ready", "context_opened", "context_done"} <= events
    assert "SECRET" not in log
