"""What the server's tests share."""

from __future__ import annotations

import pytest
from harness import Stage


@pytest.fixture
def stage() -> Stage:
    """A server without sockets, threads or a clock of its own."""
    return Stage()
