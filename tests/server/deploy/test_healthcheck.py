"""The container's health check against real servers."""

from __future__ import annotations

import asyncio
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "deploy" / "healthcheck.py"


@pytest.fixture
def healthcheck() -> ModuleType:
    spec = importlib.util.spec_from_file_location("healthcheck", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_url_follows_the_servers_environment(healthcheck: ModuleType) -> None:
    """Port and TLS are read where the server reads them."""
    assert healthcheck.url({}) == "http://127.0.0.1:8765/readyz"
    environment = {"BARK_STREAM_PORT": "9000", "BARK_STREAM_TLS_CERT": "/x.pem"}
    assert healthcheck.url(environment) == "https://127.0.0.1:9000/readyz"


async def test_is_ready_while_work_is_taken(healthcheck: ModuleType, live: Any) -> None:
    """Healthy when ready, also with API keys; not while draining, and not when nobody listens."""
    server = await live.start(api_keys=("secret",))
    address = healthcheck.url({"BARK_STREAM_PORT": str(server.port)})
    assert await asyncio.to_thread(healthcheck.is_ready, address)
    await server.drain()
    assert not await asyncio.to_thread(healthcheck.is_ready, address)
    assert not healthcheck.is_ready("http://127.0.0.1:9/readyz")
