"""The WebSocket door: bytes on a socket <-> a session. Knows the hub and nothing of engines."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import struct
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame as WireFrame
from websockets.frames import Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.typing import Subprotocol

from bark_server.access import offered_key
from bark_server.config import ServerConfig
from bark_server.doors.dialect import Dialect
from bark_server.doors.door import Reception, Refusal
from bark_server.hub import Hub
from bark_server.logs import quiet_logger
from bark_server.messages import PROTOCOL
from bark_server.outlog import Frame
from bark_server.pages import PRIVATE_PATHS, Pages, refuse
from bark_server.turns import Turns

STREAM_PATH = "/v1/stream"
FRAMES_PER_TURN = 16
"""Of one socket; then others have theirs."""
IDLE_WAKEUP_S = 1.0
HANDSHAKE_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 5.0

# The library logs each failed handshake with a traceback; what matters is counted and logged by us.
_quiet_logger = quiet_logger("bark_server.websockets")


def _nothing() -> None:
    """Before a link listens, and after."""


class Socket(ServerConnection):
    """A connection that tells its link of pongs and of room to write, and writes many frames at once."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.on_pong: Callable[[bytes], None] = lambda payload: None
        self.on_writable: Callable[[], None] = _nothing

    @property
    def can_write(self) -> bool:
        """Open, and everything written so far is with the system."""
        return self.protocol.state is State.OPEN and not self.paused

    def write(self, frames: Sequence[Frame], ping: bytes | None) -> None:
        """Send frames, and then a ping, without waiting."""
        # The library's own way costs twice as much a frame as everything else here; a server's frames are simple.
        pieces = self.protocol.data_to_send()
        for frame in frames:
            if isinstance(frame, bytes):
                pieces += _head(Opcode.BINARY, len(frame)), frame
            else:
                payload = frame.encode()
                pieces += _head(Opcode.TEXT, len(payload)), payload
        if ping is not None:
            self.protocol.send_ping(ping)
            pieces += self.protocol.data_to_send()
        self.transport.write(b"".join(pieces))

    def process_event(self, event: Any) -> None:
        if isinstance(event, WireFrame) and event.opcode is Opcode.PONG:
            self.on_pong(bytes(event.data))
        super().process_event(event)

    def resume_writing(self) -> None:
        super().resume_writing()
        self.on_writable()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.on_writable()


def _head(opcode: Opcode, num_bytes: int) -> bytes:
    """Of a whole message in one frame without a mask (RFC 6455, section 5.2)."""
    if num_bytes < 126:
        return struct.pack("!BB", 0x80 | opcode, num_bytes)
    if num_bytes < 65_536:
        return struct.pack("!BBH", 0x80 | opcode, 126, num_bytes)
    return struct.pack("!BBQ", 0x80 | opcode, 127, num_bytes)


class SocketLink:
    """One socket and the session it speaks for."""

    def __init__(self, hub: Hub, socket: Socket, turns: Turns) -> None:
        self._hub = hub
        self._turns = turns
        self._socket = socket
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._is_over = False
        self._closing: asyncio.Task[None] | None = None
        self._pumped = asyncio.Event()
        self._session = hub.connect(self)
        socket.on_pong = self._on_pong
        socket.on_writable = self.wake

    async def run(self) -> None:
        """Speak until the socket is gone."""
        self._pump()
        try:
            while True:
                # Not decoded here: text that is no UTF-8 is the session's to refuse.
                data = await self._socket.recv(decode=False)
                self._session = self._hub.receive(self._session, data, self)
                self._pump()
                await self._wait_while_congested()
        except ConnectionClosed:
            pass
        finally:
            self._leave()

    def wake(self) -> None:
        self._pumped.set()
        self._turns.ask(self._pump)

    def taken_over(self) -> None:
        self._is_over = True
        self._close(1000, "resumed on another socket")

    async def _wait_while_congested(self) -> None:
        while self._session.is_congested and self._socket.protocol.state is State.OPEN:
            self._pumped.clear()
            await self._pumped.wait()

    def _pump(self) -> None:
        """Send what is due and come back when there will be more."""
        self._cancel_timer()
        if self._is_over:
            return
        now, session = self._loop.time(), self._session
        session.tick(now)
        if self._socket.can_write:
            frames = session.take(now, FRAMES_PER_TURN)
            position = session.ping_position(now)
            if frames or position is not None:
                self._socket.write(frames, None if position is None else position.to_bytes(8, "big"))
                self._pumped.set()
        if session.ending is not None:
            self._close(session.ending.code, session.ending.reason)
            return
        due_s = session.next_wakeup_s(now) if self._socket.can_write else now + IDLE_WAKEUP_S
        if due_s <= now:
            self._turns.ask(self._pump)
        else:
            self._timer = self._loop.call_at(due_s, self._turns.ask, self._pump)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_pong(self, payload: bytes) -> None:
        if len(payload) == 8 and not self._is_over:
            self._session.acknowledge(int.from_bytes(payload, "big"), self._loop.time())
            self.wake()

    def _close(self, code: int, reason: str) -> None:
        if self._closing is None:
            self._closing = self._loop.create_task(self._socket.close(code, reason))

    def _leave(self) -> None:
        self._is_over = True
        self._cancel_timer()
        self._socket.on_writable = _nothing
        self._hub.disconnect(self._session, self, is_final=self._socket.close_code == 1000)


class WebSocketDoor:
    """Listens on one port for sockets and plain GETs."""

    def __init__(self, reception: Reception, *, pages: Pages, dialects: Sequence[Dialect] = ()) -> None:
        self._config = reception.config
        self._reception = reception
        self._pages = pages
        self._dialects = dialects
        self._server: Server | None = None
        self._turns: Turns | None = None

    @property
    def port(self) -> int:
        """The port that is listened on."""
        if self._server is None:
            return self._config.port
        port: int = next(iter(self._server.sockets)).getsockname()[1]
        return port

    @property
    def url(self) -> str:
        return f"{'wss' if self._config.tls_cert else 'ws'}://{self._config.host}:{self.port}{STREAM_PATH}"

    async def start(self) -> None:
        """Raises: OSError when the port cannot be had; ssl.SSLError or OSError for a bad certificate."""
        self._turns = Turns(asyncio.get_running_loop())
        self._server = await serve(
            self._handle,
            self._config.host,
            self._config.port,
            ssl=_tls(self._config),
            process_request=self._on_request,
            select_subprotocol=self._choose_subprotocol,
            compression=None,
            server_header=None,
            # The session pings: what was received matters to it, not only who is alive.
            ping_interval=None,
            open_timeout=HANDSHAKE_TIMEOUT_S,
            close_timeout=CLOSE_TIMEOUT_S,
            max_size=self._config.limits.max_message_bytes,
            # What the system does not take at once is waited for: a cancelled context has nothing under way here.
            write_limit=(1, 0),
            logger=_quiet_logger,
            create_connection=Socket,
        )

    async def close(self) -> None:
        """Close every socket with 1001 and stop listening."""
        if self._server is not None:
            self._server.close(code=1001, reason="going away")
            await self._server.wait_closed()

    async def _handle(self, socket: ServerConnection) -> None:
        hub = self._reception.hub()
        dialect = None if socket.request is None else self._dialect(socket.request.path)
        if hub is not None and dialect is not None:
            with contextlib.suppress(ConnectionClosed, asyncio.TimeoutError):
                await dialect.converse(hub, socket)
        elif hub is not None and self._turns is not None:
            await SocketLink(hub, cast(Socket, socket), self._turns).run()

    def _on_request(self, socket: ServerConnection, request: Request) -> Response | None:
        path, dialect, headers = urlsplit(request.path).path, self._dialect(request.path), request.headers
        key = offered_key(headers.get("Authorization"), _offered_subprotocols(request))
        origin, host = headers.get("Origin"), headers.get("Host")
        if dialect is not None:
            key = dialect.key(headers) or key
            refusal = self._reception.refusal(key=key, origin=origin, host=host) or self._objection(dialect, request)
        elif path == STREAM_PATH:
            refusal = self._reception.refusal(key=key, origin=origin, host=host)
        elif path in PRIVATE_PATHS:
            refusal = self._reception.refusal_of_person(key=key, origin=origin, host=host)
        else:
            return self._pages.get(path)
        if refusal is not None:
            return _response(refusal)
        return None if dialect is not None or path == STREAM_PATH else self._pages.get(path)

    def _objection(self, dialect: Dialect, request: Request) -> Refusal | None:
        hub = self._reception.hub()
        return None if hub is None else dialect.objection(hub, request.path)

    def _dialect(self, target: str) -> Dialect | None:
        return next((dialect for dialect in self._dialects if dialect.speaks(target)), None)

    def _choose_subprotocol(self, socket: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
        return Subprotocol(PROTOCOL) if PROTOCOL in offered else None


def _response(refusal: Refusal) -> Response:
    more = {} if refusal.retry_after_s is None else {"Retry_After": str(refusal.retry_after_s)}
    if refusal.status is HTTPStatus.UNAUTHORIZED:
        more["WWW_Authenticate"] = "Bearer"
    return refuse(refusal.status, refusal.reason, **more)


def _offered_subprotocols(request: Request) -> list[str]:
    lines = request.headers.get_all("Sec-WebSocket-Protocol")
    return [name.strip() for line in lines for name in line.split(",")]


def _tls(config: ServerConfig) -> ssl.SSLContext | None:
    if config.tls_cert is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(config.tls_cert, config.tls_key)
    return context
