"""What the clients' tests share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from bark_server.app import BarkServer
from prepared_server import Serve, running_server


@pytest.fixture
def serve() -> Serve:
    return running_server


@pytest.fixture
async def server() -> AsyncIterator[BarkServer]:
    """One that speaks as fast as it can."""
    async with running_server() as server:
        yield server


@pytest.fixture
def url(server: BarkServer) -> str:
    return f"ws://127.0.0.1:{server.port}"
