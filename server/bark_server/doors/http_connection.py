"""A connection of the HTTP door, with the bounds that its library leaves open: how many, and how long one may dawdle.

Knows no requests.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

PATIENCE_S = 10.0
"""A connection that brings no whole request head for so long, or does not take its leave, is cut."""


class HttpConnection(H11Protocol):
    def __init__(self, *arguments: Any, max_connections: int, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._max_connections = max_connections
        self._watch: asyncio.TimerHandle | None = None
        self._seen: RequestResponseCycle | None = None
        """The request that was the newest when last looked at."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        if len(self.connections) > self._max_connections:
            self.transport.abort()
        else:
            self._look_again()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def _look_again(self) -> None:
        self._watch = self.loop.call_later(PATIENCE_S, self._look)

    def _look(self) -> None:
        newest: RequestResponseCycle | None = self.cycle
        is_idle = newest is None or newest.response_complete
        if self.transport.is_closing() or (is_idle and newest is self._seen):
            self.transport.abort()
        else:
            self._seen = newest
            self._look_again()
