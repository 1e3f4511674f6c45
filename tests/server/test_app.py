"""The life of a server: warming up, serving, speaking out, ending."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from bark_server.app import BarkServer, run
from bark_server.config import ServerConfig
from bark_server.frames import LAST_OF_CONTEXT, unpack
from bark_server.limits import Limits
from bark_server.logs import EventLog
from bark_server.prepared import PreparedEngine
from bark_server.speech import Engine
from harness import RATE_HZ, ScriptedEngine, voice_like
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from bark_stream.errors import BarkStreamError, ConfigError, UnknownModel
from bark_stream.events import SentenceFailed

HELLO = "Hello there, my good old friend. How are you doing on this fine day? "
SCRIPT = Path(__file__).with_name("serve_prepared.py")


@contextlib.asynccontextmanager
async def _process(*, speed: float, drain_ms: int) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """A server process that is ready, and its port."""
    settings = {"speed": speed, "limits": {"drain_ms": drain_ms}}
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(SCRIPT), json.dumps(settings), stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    try:
        listening = json.loads(await process.stderr.readline())
        assert json.loads(await process.stderr.readline())["event"] == "ready"
        yield process, int(listening["url"].rsplit(":", 1)[1].split("/")[0])
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def _speak_and_term(port: int, process: asyncio.subprocess.Process) -> tuple[list[Any], int]:
    """Ask for speech, send SIGTERM with its first packet, collect what comes; and the close code."""
    client = await connect(f"ws://127.0.0.1:{port}/v1/stream", compression=None, max_queue=None)
    frames: list[Any] = []
    await client.send(json.dumps({"type": "text", "context": "a", "text": HELLO + "And then"}))
    with contextlib.suppress(ConnectionClosed):
        while True:
            frame = await asyncio.wait_for(client.recv(), 30)
            frames.append(unpack(frame) if isinstance(frame, bytes) else json.loads(frame))
            if isinstance(frame, bytes) and process.returncode is None and len(frames) < 10:
                process.send_signal(signal.SIGTERM)
    assert client.close_code is not None
    return frames, client.close_code


async def test_sigterm_in_mid_sentence_speaks_out() -> None:
    """Everything accepted is spoken, then 1001, then exit code 0."""
    async with _process(speed=20, drain_ms=30_000) as (process, port):
        frames, code = await _speak_and_term(port, process)
        assert await asyncio.wait_for(process.wait(), 10) == 0
    assert code == 1001
    assert frames[-1]["type"] == "done"
    assert [frame for frame in frames if not isinstance(frame, dict)][-1].flags & LAST_OF_CONTEXT
    spoken = "".join(f["text"] for f in frames if isinstance(f, dict) and f["type"] == "sentence")
    assert spoken == HELLO + "And then"


async def test_sigterm_does_not_wait_for_ever() -> None:
    """Speech that takes longer than the drain time is cut; the socket is still told 1001."""
    async with _process(speed=0.5, drain_ms=200) as (process, port):
        frames, code = await _speak_and_term(port, process)
        assert await asyncio.wait_for(process.wait(), 10) == 0
    assert code == 1001
    assert not any(isinstance(frame, dict) and frame["type"] == "done" for frame in frames)


async def test_killed_client_is_forgotten(live: Any) -> None:
    """A client process that is killed with -9 leaves nothing once the resume window is over."""
    server = await live.start(limits=Limits(resume_window_ms=100))
    script = (
        "import asyncio, json, sys\n"
        "from websockets.asyncio.client import connect\n"
        "async def main():\n"
        "    client = await connect(sys.argv[1], compression=None)\n"
        "    await client.send(json.dumps({'type': 'open', 'context': 'a'}))\n"
        "    await client.recv(); await client.recv(); print('open', flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, f"ws://127.0.0.1:{server.port}/v1/stream", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"open\n"
    process.kill()
    await process.communicate()
    assert server.hub is not None
    while server.hub.sessions:
        await asyncio.sleep(0.02)
    assert server.hub.admission.num_contexts == 0


async def test_not_ready_until_the_engine_has_spoken() -> None:
    """While the engine loads: alive, not ready, sockets 503; afterwards all is well."""
    may_load = threading.Event()

    def make_engine() -> Engine:
        may_load.wait(10)
        return PreparedEngine(voice_like(RATE_HZ))

    server = BarkServer(ServerConfig(port=0), make_engine, log=EventLog(io.StringIO()))
    starting = asyncio.create_task(server.start())
    while server.port == 0:
        await asyncio.sleep(0)
    url = f"ws://127.0.0.1:{server.port}/v1/stream"
    with pytest.raises(InvalidStatus) as caught:
        await connect(url)
    assert caught.value.response.status_code == 503
    may_load.set()
    await starting
    async with connect(url) as client:
        assert json.loads(await client.recv())["type"] == "ready"
    await server.close()


def test_engine_that_cannot_start_ends_the_server() -> None:
    """The error of the model is the error of the command, and the port is free again."""

    def make_engine() -> Engine:
        raise UnknownModel("nobody", "no such model")

    with pytest.raises(UnknownModel):
        run(ServerConfig(port=0), make_engine, log=EventLog(io.StringIO()))


def test_engine_that_cannot_speak_ends_the_server() -> None:
    """A model that fails its first sentence is not put before people."""

    class Broken(ScriptedEngine):
        def open(self, **options: Any) -> Any:
            stream = super().open(**options)
            stream.say = lambda sentence: stream.on_event(_failed(sentence.index))  # type: ignore[method-assign]
            return stream

    with pytest.raises(BarkStreamError, match="no voice at all"):
        run(ServerConfig(port=0), Broken, log=EventLog(io.StringIO()))


def test_port_in_use_is_named() -> None:
    """A port that is taken is a clear error of the configuration."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = ServerConfig(port=taken.getsockname()[1])
        with pytest.raises(ConfigError, match="port"):
            run(config, lambda: PreparedEngine(voice_like(RATE_HZ)), log=EventLog(io.StringIO()))


def _failed(index: int) -> Any:
    return SentenceFailed(index, ConfigError("model", "no voice at all"))
