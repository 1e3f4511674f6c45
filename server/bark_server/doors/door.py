"""What every door has, and what every door is given. Knows no protocol."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol

from bark_server.access import is_allowed_origin, is_known_key
from bark_server.config import ServerConfig
from bark_server.hub import Hub
from bark_server.speech import Studio
from bark_stream.errors import ConfigError

RETRY_AFTER_S = 2


class Door(Protocol):
    async def start(self) -> None:
        """Listen. Raises: OSError when the port cannot be had."""

    async def close(self) -> None:
        """Take leave of every client and stop listening."""


class ListeningDoor(Door, Protocol):
    @property
    def url(self) -> str:
        """Where it is."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why somebody may not come in, with HTTP's word for it."""

    status: HTTPStatus
    reason: str
    retry_after_s: int | None = None


@dataclass(frozen=True, slots=True)
class Reception:
    """Decides who may come in, the same at every door."""

    config: ServerConfig
    hub: Callable[[], Hub | None]
    """None until the engine is warm."""
    not_ready: Callable[[], str | None]
    """Why no work is taken, though the engine is warm."""
    on_refused: Callable[[int, str], None]
    studio: Callable[[], Studio | None] = lambda: None
    """Where voices are cloned; None where they are not, or not yet."""

    def refusal(self, *, key: str | None, origin: str | None = None, host: str | None = None) -> Refusal | None:
        """Why this client may not speak; in this order: its key, its origin, whether there is room. None: it may."""
        return self.refusal_of_person(key=key, origin=origin, host=host) or self._told(self._refusal_of_work())

    def refusal_of_person(self, *, key: str | None, origin: str | None, host: str | None) -> Refusal | None:
        """Why this client may not even look around."""
        if self.config.api_keys and not is_known_key(key, self.config.api_keys + self.config.cloning_keys):
            return self._told(Refusal(HTTPStatus.UNAUTHORIZED, "an API key is needed"))
        if not is_allowed_origin(origin, host, self.config.allowed_origins):
            return self._told(Refusal(HTTPStatus.FORBIDDEN, "this origin is not allowed"))
        return None

    def _told(self, refusal: Refusal | None) -> Refusal | None:
        if refusal is not None:
            self.on_refused(refusal.status.value, refusal.reason)
        return refusal

    def _refusal_of_work(self) -> Refusal | None:
        hub, reason = self.hub(), self.not_ready()
        if hub is None or reason is not None:
            return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, reason or "warming up", RETRY_AFTER_S)
        if hub.num_links >= self.config.limits.max_connections:
            return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "the server is full", RETRY_AFTER_S)
        return None


@contextlib.contextmanager
def needing(setting: str, extra: str) -> Iterator[None]:
    """Around the import of a door whose library is in an extra. Raises: ConfigError when it is not installed."""
    try:
        yield
    except ModuleNotFoundError as missing:
        raise ConfigError(setting, f"needs a library: pip install 'bark-stream[{extra}]'") from missing
