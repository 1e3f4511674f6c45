"""Who may speak to the server: API keys and the origins of web pages. Pure."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from urllib.parse import urlsplit

BEARER_SUBPROTOCOL = "bearer."


def offered_key(authorization: str | None, subprotocols: Iterable[str]) -> str | None:
    """The key in the `Authorization` header, else in a subprotocol `bearer.KEY`, which browsers can offer."""
    scheme, _, value = (authorization or "").partition(" ")
    if scheme.lower() == "bearer" and value.strip():
        return value.strip()
    for subprotocol in subprotocols:
        if subprotocol.startswith(BEARER_SUBPROTOCOL):
            return subprotocol[len(BEARER_SUBPROTOCOL) :]
    return None


def is_known_key(key: str | None, known: Iterable[str]) -> bool:
    """Takes the same time for every wrong key of a length."""
    offered = (key or "").encode()
    matches = [hmac.compare_digest(offered, candidate.encode()) for candidate in known]
    return any(matches)


def is_allowed_origin(origin: str | None, host: str | None, allowed: Iterable[str]) -> bool:
    """Pages of the server itself and of the allowed origins; programs that are no browser send no origin."""
    if origin is None:
        return True
    allowed = tuple(allowed)
    if "*" in allowed or origin in allowed:
        return True
    return host is not None and urlsplit(origin).netloc.lower() == host.lower()
