"""A TCP relay that can be cut: what a bad network does to the socket between a client and a real server."""

from __future__ import annotations

import asyncio
from contextlib import suppress


class BreakingProxy:
    """Relays to `port`; `cut` breaks every connection, and for as long as `is_down` new ones die at once."""

    def __init__(self, port: int) -> None:
        self._target_port = port
        self._writers: set[asyncio.StreamWriter] = set()
        self._frozen: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.is_down = False
        self.upstream_budget: int | None = None
        """Bytes that still get through to the server; the rest is swallowed. None: all."""
        self.num_connections = 0
        self.num_refused = 0
        self.swallowed_bytes = 0

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"ws://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    @property
    def num_open(self) -> int:
        """Sockets, two for each connection that is relayed."""
        return len(self._writers)

    def freeze(self) -> None:
        """Connections that are there pass nothing on any more, and nobody is told."""
        self._frozen |= self._writers

    async def __aenter__(self) -> BreakingProxy:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        while self._writers:
            await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_down:
            self.num_refused += 1
            writer.transport.abort()
            return
        self.num_connections += 1
        self._writers.add(writer)
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        except BaseException:
            self._writers.discard(writer)
            writer.transport.abort()
            raise
        pair = {writer, up_writer}
        self._writers |= pair
        try:
            await asyncio.gather(self._pump(reader, up_writer, is_up=True), self._pump(up_reader, writer, is_up=False))
        finally:
            self._writers -= pair

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_up: bool) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65_536):
                if is_up and self.upstream_budget is not None:
                    self.swallowed_bytes += max(0, len(data) - self.upstream_budget)
                    data = data[: self.upstream_budget]
                    self.upstream_budget -= len(data)
                if writer in self._frozen:
                    continue
                writer.write(data)
                await writer.drain()
        writer.transport.abort()
