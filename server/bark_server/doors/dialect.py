"""Another protocol on the WebSocket's port, on paths of its own."""

from __future__ import annotations

from typing import Protocol

from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers

from bark_server.doors.door import Refusal
from bark_server.hub import Hub


class Dialect(Protocol):
    def speaks(self, target: str) -> bool:
        """Whether a request for `target`, path and query, is meant for it."""

    def key(self, headers: Headers) -> str | None:
        """The API key where its clients put it, if that is not where ours do."""

    def objection(self, hub: Hub, target: str) -> Refusal | None:
        """What is wrong with the request itself."""

    async def converse(self, hub: Hub, socket: ServerConnection) -> None:
        """Until one side closes. Raises: ConnectionClosed when it is the other."""
