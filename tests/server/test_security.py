"""Promises of SECURITY.md that no other test keeps; and that each row of its table names tests that exist."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from bark_server.config import ServerConfig
from bark_server.doors import websocket
from bark_server.doors.http import HttpDoor
from bark_server.doors.mqtt_address import MqttAddress
from certificates import self_signed
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

REPOSITORY = Path(__file__).resolve().parents[2]
MARKER = f"marker-{secrets.token_hex(8)}"
"""Part of every path that a hostile client names."""
_opened: list[str] = []


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    # What opens, lists, renames or removes files announces it here, whichever library does it.
    if event.split(".")[0] in ("open", "os", "shutil", "glob", "pathlib") and MARKER in repr(arguments):
        _opened.append(f"{event} {arguments!r}")


@pytest.fixture
def opened() -> Iterator[list[str]]:
    """Files whose path holds the marker, as they are touched."""
    if not getattr(sys, "_bark_stream_watched", False):
        sys.addaudithook(_watch)  # there is no way to take it back
        sys._bark_stream_watched = True  # type: ignore[attr-defined]
    _opened.clear()
    yield _opened
    _opened.clear()


def _get(port: int, path: str, key: str | None = None) -> int:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}")
    if key is not None:
        request.add_header("Authorization", f"Bearer {key}")
    try:
        with urllib.request.urlopen(request) as response:
            return int(response.status)
    except urllib.error.HTTPError as refused:
        return refused.code


def test_each_row_of_the_threat_table_names_tests_that_exist() -> None:
    """A threat without a test is a wish."""
    table = (REPOSITORY / "SECURITY.md").read_text(encoding="utf-8")
    rows = [line for line in table.splitlines() if line.startswith("| ") and not line.startswith("| threat")]
    assert len(rows) > 12
    for row in rows:
        named = re.findall(r"`([\w/]+\.py)::(\w+)`", row)
        assert named, f"no test: {row}"
        for file, test in named:
            source = (REPOSITORY / "tests" / file).read_text(encoding="utf-8")
            assert re.search(rf"^(async )?def {test}\(", source, re.MULTILINE), f"{file}::{test}"


async def test_no_path_from_a_client_reaches_the_file_system(live: Any, opened: list[str], tmp_path: Path) -> None:
    """Voices, contexts, sessions and addresses that look like paths are names, and nothing is opened for them."""
    assert not list(tmp_path.glob(MARKER))
    (tmp_path / MARKER).write_text("x")
    assert opened, "the watch sees files"
    opened.clear()
    server = await live.start(http_port=0, elevenlabs=True)
    hostile = [
        f"../../{MARKER}",
        f"/etc/{MARKER}",
        f"file:///{MARKER}",
        f"..\\{MARKER}",
        f"{MARKER}\0.npz",
        f"~/{MARKER}",
    ]
    done = set()
    async with connect(f"ws://127.0.0.1:{server.port}/v1/stream") as client:
        for path in hostile:
            await client.send(json.dumps({"type": "resume", "session": path, "received": {path: 0}}))
            await client.send(json.dumps({"type": "open", "context": path, "voice": path}))
            await client.send(json.dumps({"type": "text", "context": path[:64], "text": path}))
            await client.send(json.dumps({"type": "close", "context": path[:64]}))
        while len(done) < len(hostile):
            frame = await asyncio.wait_for(client.recv(), 20)
            if isinstance(frame, str) and (message := json.loads(frame))["type"] == "done":
                done.add(message["context"])
    for path in (f"/{MARKER}", f"/../{MARKER}", f"/%2e%2e/{MARKER}", f"//{MARKER}", f"/v1/voices/../../{MARKER}"):
        assert await asyncio.to_thread(_get, server.port, path) == 404
    (http,) = [door.port for door in server._doors if isinstance(door, HttpDoor)]
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{http}") as openai:
        for path in hostile:
            speech = {"model": path, "voice": path, "input": "Hi.", "response_format": path}
            assert (await openai.post("/v1/audio/speech", json=speech)).status_code in (400, 404, 422)
            name = quote(path, safe="")
            assert (await openai.delete(f"/v1/audio/voices/{name}")).status_code >= 400
            with pytest.raises(InvalidStatus):
                await connect(f"ws://127.0.0.1:{server.port}/v1/text-to-speech/{name}/stream-input")
    assert opened == []


async def test_tls_at_the_http_door(live: Any, tmp_path: Path) -> None:
    """The certificate of the server serves its HTTP door, too; plain HTTP is not understood there."""
    certificate = self_signed(tmp_path)
    server = await live.start(http_port=0, tls_cert=certificate)
    (port,) = [door.port for door in server._doors if isinstance(door, HttpDoor)]
    async with httpx.AsyncClient(verify=ssl.create_default_context(cafile=certificate)) as client:
        assert (await client.get(f"https://127.0.0.1:{port}/v1/models")).status_code == 200
        with pytest.raises(httpx.HTTPError):
            await client.get(f"http://127.0.0.1:{port}/v1/models")


async def test_what_tells_about_the_work_needs_a_key(live: Any) -> None:
    """With keys, metrics and voices are for those who have one; the page and the health checks stay open to all."""
    server = await live.start(api_keys=("sesame",))
    for path, without in (("/metrics", 401), ("/v1/voices", 401), ("/", 200), ("/healthz", 200), ("/readyz", 200)):
        assert await asyncio.to_thread(_get, server.port, path) == without
        assert await asyncio.to_thread(_get, server.port, path, "wrong") == without
        assert await asyncio.to_thread(_get, server.port, path, "sesame") == 200


async def test_keys_are_never_logged(live: Any) -> None:
    """Neither right nor wrong ones, however they were offered; a printed configuration does not hold them either."""
    server = await live.start(api_keys=("right-sesame",))
    url = f"ws://127.0.0.1:{server.port}/v1/stream"
    async with connect(url, additional_headers={"Authorization": "Bearer right-sesame"}):
        pass
    with pytest.raises(InvalidStatus):
        await connect(url, additional_headers={"Authorization": "Bearer wrong-sesame"})
    with pytest.raises(InvalidStatus):
        await connect(f"{url}?key=query-sesame", subprotocols=["bearer.sub-sesame"])  # type: ignore[list-item]
    await asyncio.to_thread(_get, server.port, "/metrics", "get-sesame")
    log = live.log.getvalue()
    assert '"refused"' in log
    assert "sesame" not in log
    config = ServerConfig(api_keys=("right-sesame",), mqtt=MqttAddress.parse("mqtt://me:right-sesame@b"))
    assert "sesame" not in repr(config)


async def test_a_half_spoken_handshake_is_given_up(live: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever opens a connection and does not finish asking does not keep it."""
    monkeypatch.setattr(websocket, "HANDSHAKE_TIMEOUT_S", 0.1)
    server = await live.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET /v1/stream HTTP/1.1\r\nHost: ")
    assert await asyncio.wait_for(reader.read(), 20) == b""
    writer.close()
