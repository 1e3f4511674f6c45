"""A real server on a real port, whose engine plays a prepared sound."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeAlias

import numpy as np
from bark_server.app import BarkServer
from bark_server.config import ServerConfig
from bark_server.limits import Limits
from bark_server.logs import EventLog
from bark_server.prepared import PreparedEngine
from numpy.typing import NDArray

RATE_HZ = 24_000

Serve: TypeAlias = Callable[..., AbstractAsyncContextManager[BarkServer]]


def tones() -> NDArray[np.float32]:
    """[T] five seconds of a tone that rises, so that every moment sounds different."""
    time_s = np.arange(5 * RATE_HZ) / RATE_HZ
    return (0.4 * np.sin(2 * np.pi * (200 * time_s + 40 * time_s**2))).astype(np.float32)


@asynccontextmanager
async def running_server(
    *, speed: float | None = None, api_keys: tuple[str, ...] = (), limits: Limits | None = None
) -> AsyncIterator[BarkServer]:
    """`speed`: seconds of audio made per second; None: at once."""
    config = ServerConfig(port=0, api_keys=api_keys, limits=limits or Limits())
    server = BarkServer(config, lambda: PreparedEngine(tones(), speed=speed), log=EventLog(io.StringIO()))
    await server.start()
    try:
        yield server
    finally:
        await server.close()
