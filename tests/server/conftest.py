"""What the server's tests share."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from bark_server.app import BarkServer
from bark_server.config import ServerConfig
from bark_server.limits import Limits
from bark_server.logs import EventLog
from bark_server.prepared import PreparedEngine
from harness import RATE_HZ, Stage, voice_like


@pytest.fixture
def stage() -> Stage:
    """A server without sockets, threads or a clock of its own."""
    return Stage()


class LiveServer:
    """A real server on a real port of the loopback, with an engine that plays a prepared sound."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._servers: list[BarkServer] = []
        self.engines: list[PreparedEngine] = []
        self.log = io.StringIO()

    async def start(self, *, speed: float | None = None, limits: Limits | None = None, **settings: Any) -> BarkServer:
        """`speed`: seconds of audio per second; None: at once."""

        def make_engine() -> PreparedEngine:
            self.engines.append(PreparedEngine(voice_like(RATE_HZ), speed=speed))
            return self.engines[-1]

        config = ServerConfig(port=0, browser_dir=self._folder, limits=limits or Limits(), **settings)
        server = BarkServer(config, make_engine, log=EventLog(self.log))
        self._servers.append(server)
        await server.start()
        return server

    async def stop(self) -> None:
        for server in self._servers:
            await server.close()


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[LiveServer]:
    """Starts servers that are stopped after the test."""
    (tmp_path / "index.html").write_text("<!doctype html><title>page</title>")
    (tmp_path / "client.js").write_text("export {}")
    (tmp_path / "secret.txt").write_text("not for browsers")
    live = LiveServer(tmp_path)
    yield live
    await live.stop()
