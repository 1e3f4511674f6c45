"""Keys and origins."""

from __future__ import annotations

import pytest
from bark_server.access import is_allowed_origin, is_known_key, offered_key


@pytest.mark.parametrize(
    ("authorization", "subprotocols", "key"),
    [
        ("Bearer k1", [], "k1"),
        ("bearer  k1 ", [], "k1"),
        ("Basic k1", [], None),
        ("Bearer ", ["bearer.k2"], "k2"),
        (None, ["bark-stream.v1", "bearer.k2"], "k2"),
        (None, ["bark-stream.v1"], None),
        (None, [], None),
    ],
)
def test_offered_key(authorization: str | None, subprotocols: list[str], key: str | None) -> None:
    """The header first, then the subprotocol."""
    assert offered_key(authorization, subprotocols) == key


def test_known_keys() -> None:
    """Any of the keys opens; none, an empty one and a part of one do not."""
    assert is_known_key("k2", ["k1", "k2"])
    assert not any(is_known_key(key, ["k1", "k2"]) for key in (None, "", "k", "k11", "ключ"))


@pytest.mark.parametrize(
    ("origin", "host", "allowed", "is_allowed"),
    [
        (None, "h:1", (), True),
        ("http://h:1", "h:1", (), True),
        ("https://H:1", "h:1", (), True),
        ("http://evil", "h:1", (), False),
        ("http://evil", None, (), False),
        ("null", "h:1", (), False),
        ("http://friend", "h:1", ("http://friend",), True),
        ("http://friend:2", "h:1", ("http://friend",), False),
        ("http://evil", "h:1", ("*",), True),
    ],
)
def test_origins(origin: str | None, host: str | None, allowed: tuple[str, ...], is_allowed: bool) -> None:
    """The server's own pages, those on the list, and programs that are no browser."""
    assert is_allowed_origin(origin, host, allowed) is is_allowed
