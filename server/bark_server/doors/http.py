"""The HTTP door: one port for everything that is asked for with a request. Knows neither engine nor what is asked.

Routes come from the modules that speak one API each; errors have one shape.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from functools import partial
from http import HTTPStatus
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from bark_server.config import ServerConfig
from bark_server.doors import openai, voices_api
from bark_server.doors.api_error import ApiError, answer_api_error, answer_http_error
from bark_server.doors.door import Reception
from bark_server.doors.http_connection import HttpConnection
from bark_server.logs import quiet_logger

BACKLOG = 256
FAREWELL_S = 1
"""How long an answer that is under way may go on when the door closes; what was accepted has been spoken by then."""

# Uvicorn logs what goes wrong with tracebacks, which may quote the text.
for _name in ("uvicorn.error", "uvicorn.asgi"):
    quiet_logger(_name)


class _Server(uvicorn.Server):
    """Leaves signals to the process, and tells when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_listening = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_listening.set()


class HttpDoor:
    def __init__(self, reception: Reception, *, port: int) -> None:
        self._reception = reception
        self._port = port
        self._socket: socket.socket | None = None
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port that is listened on."""
        if self._socket is None:
            return self._port
        port: int = self._socket.getsockname()[1]
        return port

    @property
    def url(self) -> str:
        config = self._reception.config
        return f"{'https' if config.tls_cert else 'http'}://{config.host}:{self.port}/v1"

    async def start(self) -> None:
        """Raises: OSError when the port cannot be had; ssl.SSLError or OSError for a bad certificate."""
        config = self._reception.config
        settings = uvicorn.Config(application(self._reception), **_settings(config))
        settings.load()
        self._socket = _listen(config.host, self._port)
        self._server = _Server(settings)
        self._serving = asyncio.create_task(self._server.serve([self._socket]))
        await self._server.is_listening.wait()

    async def close(self) -> None:
        """End every answer and stop listening."""
        if self._server is not None and self._serving is not None:
            self._server.should_exit = True
            await self._serving
        if self._socket is not None:
            self._socket.close()


def application(reception: Reception) -> ASGIApp:
    """All routes, with errors in one shape and pages of allowed origins let in."""
    config = reception.config
    cors = Middleware(
        CORSMiddleware,
        allow_origins=config.allowed_origins,
        allow_methods=("GET", "POST", "DELETE"),
        allow_headers=("Authorization", "Content-Type"),
    )
    return Starlette(
        routes=[*openai.routes(reception), *voices_api.routes(reception)],
        middleware=[cors] if config.allowed_origins else [],
        exception_handlers={
            ApiError: answer_api_error,
            HTTPException: answer_http_error,
            Exception: partial(_answer_bug, reception),
        },
    )


async def _answer_bug(reception: Reception, request: Request, error: Exception) -> Response:
    """Only the kind of error is told: its message may quote the text."""
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    reception.on_refused(status.value, type(error).__name__)
    return ApiError(status, "the server failed", code="internal").response()


def _settings(config: ServerConfig) -> dict[str, Any]:
    return {
        "ssl_certfile": config.tls_cert,
        "ssl_keyfile": config.tls_key,
        "http": partial(HttpConnection, max_connections=config.limits.max_connections),
        "lifespan": "off",
        "ws": "none",
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,
        "timeout_graceful_shutdown": FAREWELL_S,
    }


def _listen(host: str, port: int) -> socket.socket:
    """Raises: OSError."""
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    listener = socket.create_server(address[:2], family=family, backlog=BACKLOG)
    listener.setblocking(False)
    return listener
