"""What all doors share: who may come in, which doors there are, and what opens them."""

from __future__ import annotations

import argparse
from http import HTTPStatus
from typing import Any

import pytest
from bark_server.config import ServerConfig, add_arguments, from_arguments
from bark_server.doors.door import Reception, needing
from bark_server.doors.others import other_doors
from bark_server.limits import Limits
from harness import Stage

from bark_stream.errors import ConfigError


def _reception(stage: Stage | None = None, *, not_ready: str | None = None, **settings: Any) -> Reception:
    hub = None if stage is None else stage.hub
    return Reception(
        config=ServerConfig(**settings),
        hub=lambda: hub,
        not_ready=lambda: not_ready,
        on_refused=lambda status, reason: None,
        studio=lambda: None,
    )


def _config(*flags: str, **environment: str) -> ServerConfig:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return from_arguments(parser.parse_args(flags), environment)


def test_reception_lets_in_who_may(stage: Stage) -> None:
    """A known key, an origin of ours, a warm engine and room."""
    reception = _reception(stage, api_keys=("sesame",))
    assert reception.refusal(key="sesame", origin="http://here", host="here") is None


@pytest.mark.parametrize(
    ("settings", "who", "status"),
    [
        ({"api_keys": ("sesame",)}, {"key": None}, HTTPStatus.UNAUTHORIZED),
        ({"api_keys": ("sesame",)}, {"key": "other", "origin": "http://there"}, HTTPStatus.UNAUTHORIZED),
        ({}, {"key": None, "origin": "http://there", "host": "here"}, HTTPStatus.FORBIDDEN),
        ({"not_ready": "draining"}, {"key": None}, HTTPStatus.SERVICE_UNAVAILABLE),
        ({"limits": Limits(max_connections=1)}, {"key": None}, HTTPStatus.SERVICE_UNAVAILABLE),
    ],
)
def test_reception_refuses_in_order(
    stage: Stage, settings: dict[str, Any], who: dict[str, Any], status: HTTPStatus
) -> None:
    """Key, origin, readiness, room; only the last two are worth another try."""
    stage.connect()
    refusal = _reception(stage, **settings).refusal(**who)
    assert refusal is not None
    assert refusal.status is status
    assert (refusal.retry_after_s is not None) == (status is HTTPStatus.SERVICE_UNAVAILABLE)


def test_reception_refuses_before_the_engine_is_warm() -> None:
    """503, to be tried again."""
    refusal = _reception().refusal(key=None)
    assert refusal is not None
    assert (refusal.status, refusal.reason) == (HTTPStatus.SERVICE_UNAVAILABLE, "warming up")


def test_door_without_its_library_says_what_to_install() -> None:
    """A clear error at the start, with the extra's name."""
    with pytest.raises(ConfigError, match=r"http_port: .*bark-stream\[http\]"), needing("http_port", "http"):
        raise ModuleNotFoundError("uvicorn")


def test_doors_are_shut_unless_asked_for() -> None:
    """No port but the WebSocket's is listened on by default."""
    assert other_doors(ServerConfig(), _reception()) == []


def test_doors_open_by_flag_or_environment() -> None:
    """The same settings either way."""
    by_flags = _config("--http-port", "8000", "--wyoming-port", "10200", "--elevenlabs")
    assert (by_flags.http_port, by_flags.wyoming_port, by_flags.elevenlabs) == (8000, 10200, True)
    variables = {"BARK_STREAM_HTTP_PORT": "8000", "BARK_STREAM_WYOMING_PORT": "10200", "BARK_STREAM_ELEVENLABS": "yes"}
    assert _config(**variables) == by_flags
    kinds = [type(door).__name__ for door in other_doors(by_flags, _reception())]
    assert kinds == ["HttpDoor", "WyomingDoor"]


@pytest.mark.parametrize("variable", ["BARK_STREAM_HTTP_PORT", "BARK_STREAM_WYOMING_PORT", "BARK_STREAM_ELEVENLABS"])
def test_doors_with_settings_that_cannot_be_stay_shut(variable: str) -> None:
    """Each is a configuration error with its name."""
    with pytest.raises(ConfigError, match=variable.removeprefix("BARK_STREAM_").lower()):
        _config(**{variable: "perhaps"})
    if variable.endswith("PORT"):
        with pytest.raises(ConfigError, match="65535"):
            _config(**{variable: "70000"})
