"""Making the socket: address, key, subprotocol, the server's first words, and what its refusals mean.

Knows no contexts.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.frames import CloseCode
from websockets.typing import Subprotocol

from bark_client.errors import ConnectionFailed, ProtocolViolation, ServerBusy, Unauthorized
from bark_client.messages import PROTOCOL, Error, Ready, decode

PATH = "/v1/stream"
MAX_FRAME_BYTES = 4 * 1024 * 1024
KEEPALIVE_S = 5.0
"""How often to ask whether the server is still there, and how long to wait for its answer."""
_SCHEMES = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}


class Connector:
    """Where the server is and how to be let in."""

    def __init__(self, url: str, *, api_key: str | None, timeout_s: float, ssl_context: ssl.SSLContext | None) -> None:
        """Raises: ConnectionFailed for an address that cannot be one."""
        self.url = stream_url(url)
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._timeout_s = timeout_s
        self._ssl_context = ssl_context

    async def connect(self) -> tuple[ClientConnection, Ready]:
        """A socket and what the server said first. Raises: ConnectionFailed and its kinds, ProtocolViolation."""
        try:
            return await asyncio.wait_for(self._connect(), self._timeout_s)
        except asyncio.TimeoutError as problem:
            raise ConnectionFailed(self.url, f"no answer within {self._timeout_s:g} s") from problem
        except InvalidStatus as problem:
            raise self._refusal(problem.response.status_code, problem.response.headers) from problem
        except ConnectionClosed as problem:
            raise ConnectionFailed(self.url, f"closed before it was ready: {problem}") from problem
        except (OSError, WebSocketException) as problem:
            raise ConnectionFailed(self.url, str(problem) or type(problem).__name__) from problem

    async def _connect(self) -> tuple[ClientConnection, Ready]:
        socket = await connect(
            self.url,
            subprotocols=[Subprotocol(PROTOCOL)],
            additional_headers=self._headers,
            compression=None,
            max_size=MAX_FRAME_BYTES,
            open_timeout=None,
            ping_interval=KEEPALIVE_S,
            ping_timeout=KEEPALIVE_S,
            close_timeout=KEEPALIVE_S,
            ssl=self._ssl_context,
        )
        try:
            return socket, await next_ready(socket)
        except BaseException:
            socket.transport.abort()
            raise

    def _refusal(self, status: int, headers: Mapping[str, str]) -> ConnectionFailed:
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            return Unauthorized(self.url, f"refused with {status}: the key is missing or wrong")
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            return ServerBusy(self.url, "the server takes no more clients now", _seconds(headers.get("Retry-After")))
        return ConnectionFailed(self.url, f"refused with {status}")


async def next_ready(socket: ClientConnection) -> Ready:
    """Read on to the next `ready`. Raises: ProtocolViolation, ServerError, websockets' ConnectionClosed."""
    while True:
        frame = await socket.recv()
        message = decode(frame) if isinstance(frame, str) else None
        if isinstance(message, Ready):
            if message.protocol != PROTOCOL:
                raise ProtocolViolation(f"it speaks {message.protocol}, not {PROTOCOL}")
            return message
        if isinstance(message, Error):
            raise message.as_exception()


async def hang_up(socket: ClientConnection, code: int = CloseCode.NORMAL_CLOSURE) -> None:
    """Say goodbye and let go of the line; it is let go even when this is cancelled in the middle."""
    try:
        await socket.close(code)
    finally:
        socket.transport.abort()


def stream_url(url: str) -> str:
    """`host:port` and `http` addresses too become that of the stream. Raises: ConnectionFailed."""
    parts = urlsplit(url if "://" in url else f"ws://{url}")
    if parts.scheme not in _SCHEMES or not parts.hostname:
        raise ConnectionFailed(url, "not an address like ws://host:8765")
    path = parts.path if parts.path not in ("", "/") else PATH
    return urlunsplit((_SCHEMES[parts.scheme], parts.netloc, path, parts.query, ""))


def _seconds(header: str | None) -> float | None:
    return float(header) if header is not None and header.isdigit() else None
