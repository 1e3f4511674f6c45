"""Flags over environment over defaults."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import pytest
from bark_server.config import ServerConfig, add_arguments, from_arguments
from bark_server.limits import Limits

from bark_stream.errors import ConfigError


def _read(*flags: str, **environment: str) -> ServerConfig:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return from_arguments(parser.parse_args(flags), environment)


def test_config_defaults() -> None:
    """Nothing given: loopback, no keys, the limits' own defaults."""
    assert _read() == ServerConfig()


def test_config_flags_win_over_the_environment() -> None:
    """A variable fills in what no flag says."""
    config = _read("--port", "1", BARK_STREAM_PORT="2", BARK_STREAM_HOST="0.0.0.0", BARK_STREAM_MAX_CONTEXTS="5")
    assert (config.port, config.host, config.limits.max_contexts) == (1, "0.0.0.0", 5)


def test_config_seconds_become_milliseconds() -> None:
    """Windows are given in seconds."""
    config = _read("--resume-window", "1.5", "--drain-timeout", "0")
    assert (config.limits.resume_window_ms, config.limits.drain_ms) == (1_500, 0)


def test_config_has_a_variable_for_every_limit() -> None:
    """Limits without a flag come from the environment, too."""
    for item in dataclasses.fields(Limits):
        value = getattr(Limits(), item.name) + (item.name != "max_unacknowledged_bytes")
        config = _read(**{"BARK_STREAM_" + item.name.upper(): str(value)})
        assert getattr(config.limits, item.name) == value


def test_config_keys_from_file_and_environment(tmp_path: Path) -> None:
    """Keys of both are taken; comments and empty lines are not keys; they never show in a printed configuration."""
    file = tmp_path / "keys"
    file.write_text("# ours\nalpha\n\n beta \n")
    config = _read("--api-keys-file", str(file), BARK_STREAM_API_KEYS="gamma, delta")
    assert set(config.api_keys) == {"alpha", "beta", "gamma", "delta"}
    assert "alpha" not in repr(config)


def test_config_origins() -> None:
    """Repeated flags, or a list in the environment."""
    assert _read("--allow-origin", "http://a", "--allow-origin", "http://b").allowed_origins == ("http://a", "http://b")
    assert _read(BARK_STREAM_ALLOW_ORIGIN="http://a,http://b").allowed_origins == ("http://a", "http://b")


@pytest.mark.parametrize(
    ("flags", "environment", "field"),
    [
        (("--port", "70000"), {}, "port"),
        ((), {"BARK_STREAM_PORT": "http"}, "port"),
        (("--tls-key", "k.pem"), {}, "tls_key"),
        (("--max-contexts", "0"), {}, "max_contexts"),
        (("--api-keys-file", "/nowhere/keys"), {}, "api_keys_file"),
        ((), {"BARK_STREAM_API_KEYS": "with space"}, "api_keys"),
    ],
)
def test_config_names_what_is_wrong(flags: tuple[str, ...], environment: dict[str, str], field: str) -> None:
    """A setting that cannot be right stops the start and is named."""
    with pytest.raises(ConfigError) as caught:
        _read(*flags, **environment)
    assert caught.value.source == field


def test_config_refuses_an_empty_keys_file(tmp_path: Path) -> None:
    """A file without a key would leave the door open."""
    file = tmp_path / "keys"
    file.write_text("\n")
    with pytest.raises(ConfigError, match="no key"):
        _read("--api-keys-file", str(file))
