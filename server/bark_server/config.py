"""What a server is started with: flags first, then the environment, then defaults. Read once, frozen afterwards."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bark_server.doors.mqtt_address import MqttAddress
from bark_server.limits import Limits
from bark_stream.errors import ConfigError

PREFIX = "BARK_STREAM_"
"""Of environment variables: `--max-contexts` is also `BARK_STREAM_MAX_CONTEXTS`."""

_PORTS = ("port", "http_port", "wyoming_port")
_SWITCH = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
_LIMIT_FLAGS = {
    "max_connections": "most sockets at a time",
    "max_contexts": "most contexts being spoken at a time",
    "max_lead_ms": "how far audio runs ahead of its playback unless a client asks otherwise",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerConfig:
    host: str = "127.0.0.1"
    port: int = 8765
    """0: any free one."""
    http_port: int | None = None
    """Of the OpenAI API; 0: any free one, None: none."""
    wyoming_port: int | None = None
    """Of the Wyoming protocol; 0: any free one, None: none."""
    elevenlabs: bool = False
    """Speak ElevenLabs' protocol too, on the WebSocket's port."""
    api_keys: tuple[str, ...] = field(default=(), repr=False)
    """Empty: everybody may speak."""
    allow_cloning: bool = False
    """Voices may be cloned and deleted over HTTP, by who has one of `cloning_keys`."""
    cloning_keys: tuple[str, ...] = field(default=(), repr=False)
    """They may speak too."""
    allowed_origins: tuple[str, ...] = ()
    """Of web pages beside the server's own; `*`: all."""
    tls_cert: Path | None = None
    tls_key: Path | None = None
    """None: in the certificate's file."""
    browser_dir: Path | None = None
    """Files of the browser client; None: the ones that came with the package."""
    mqtt: MqttAddress | None = None
    """The broker that is served too; None: none."""
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        for name in _PORTS:
            port = getattr(self, name)
            if port is not None and not 0 <= port <= 65_535:
                raise ConfigError(name, f"must be 0 … 65535, not {port}")
        if self.wyoming_port is not None and self.api_keys:
            raise ConfigError("wyoming_port", "cannot open beside API keys: the Wyoming protocol has none")
        if self.tls_key is not None and self.tls_cert is None:
            raise ConfigError("tls_key", "needs tls_cert")
        for name in ("api_keys", "cloning_keys"):
            if any(not key.isascii() or not key.isprintable() or " " in key for key in getattr(self, name)):
                raise ConfigError(name, "must be printable ASCII without spaces")
        if self.allow_cloning and (not self.cloning_keys or self.http_port is None):
            raise ConfigError("allow_cloning", "needs http_port, and cloning_keys: not everybody may clone")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The server's flags. What is left out comes from the environment, see `from_arguments`."""
    defaults, limits = ServerConfig(), Limits()
    parser.add_argument("--host", help=f"address to listen on ({defaults.host})")
    parser.add_argument("--port", type=int, help=f"port to listen on ({defaults.port})")
    parser.add_argument("--http-port", type=int, help="port of the OpenAI API too, usually 8000")
    parser.add_argument("--wyoming-port", type=int, help="port of the Wyoming protocol too, usually 10200")
    parser.add_argument(
        "--elevenlabs",
        action="store_const",
        const=True,
        help="speak ElevenLabs' WebSocket protocol too, on the same port",
    )
    parser.add_argument("--api-keys-file", type=Path, help="file with one API key per line (none: no keys needed)")
    parser.add_argument(
        "--allow-cloning", action="store_const", const=True, help="let who has a cloning key clone voices over HTTP"
    )
    parser.add_argument("--cloning-keys-file", type=Path, help="file with one key per line that may clone, and speak")
    parser.add_argument(
        "--allow-origin", action="append", metavar="ORIGIN", help="web origin that may connect, '*' for all; repeatable"
    )
    parser.add_argument("--tls-cert", type=Path, help="certificate chain (PEM); turns TLS on")
    parser.add_argument("--tls-key", type=Path, help="private key (PEM), if it is not in the certificate's file")
    parser.add_argument("--browser-dir", type=Path, help="folder of the page served at /")
    parser.add_argument(
        "--mqtt", metavar="URL", help="serve a broker too: mqtt://user:password@host:1883/prefix, mqtts:// for TLS"
    )
    parser.add_argument(
        "--resume-window",
        type=float,
        metavar="SECONDS",
        help=f"how long a dropped client may come back ({limits.resume_window_ms / 1000:g})",
    )
    parser.add_argument(
        "--drain-timeout",
        type=float,
        metavar="SECONDS",
        help=f"how long to speak on when told to stop ({limits.drain_ms / 1000:g})",
    )
    for name, text in _LIMIT_FLAGS.items():
        parser.add_argument(_flag(name), type=int, help=f"{text} ({getattr(limits, name)})")


def from_arguments(arguments: argparse.Namespace, environment: Mapping[str, str]) -> ServerConfig:
    """Flags over environment over defaults. Keys are in `BARK_STREAM_API_KEYS` (comma-separated) or in a file; every
    limit has a variable, also those without a flag: `BARK_STREAM_MAX_TEXT_CHARACTERS`.

    Raises: ConfigError.
    """
    values = _Values(arguments, environment)
    limits = {item.name: values.number(item.name) for item in dataclasses.fields(Limits)}
    for field_name, flag in (("resume_window_ms", "resume_window"), ("drain_ms", "drain_timeout")):
        seconds = values.number(flag)
        limits[field_name] = limits[field_name] if seconds is None else round(seconds * 1000)
    ports = {name: values.number(name) for name in _PORTS}
    mqtt = values.text("mqtt")
    settings: dict[str, Any] = {
        "host": values.text("host"),
        **{name: None if port is None else int(port) for name, port in ports.items()},
        "elevenlabs": values.switch("elevenlabs"),
        "api_keys": _keys(values.text("api_keys_file"), environment.get(PREFIX + "API_KEYS", ""), "api_keys_file"),
        "allow_cloning": values.switch("allow_cloning"),
        "cloning_keys": _keys(
            values.text("cloning_keys_file"), environment.get(PREFIX + "CLONING_KEYS", ""), "cloning_keys_file"
        ),
        "allowed_origins": tuple(arguments.allow_origin or _split(environment.get(PREFIX + "ALLOW_ORIGIN", ""))),
        "tls_cert": values.path("tls_cert"),
        "tls_key": values.path("tls_key"),
        "browser_dir": values.path("browser_dir"),
        "mqtt": None if mqtt is None else MqttAddress.parse(mqtt),
        "limits": Limits(**{name: int(value) for name, value in limits.items() if value is not None}),
    }
    return dataclasses.replace(ServerConfig(), **{name: value for name, value in settings.items() if value is not None})


@dataclass(frozen=True, slots=True)
class _Values:
    arguments: argparse.Namespace
    environment: Mapping[str, str]

    def text(self, name: str) -> str | None:
        value = getattr(self.arguments, name, None)
        return str(value) if value is not None else self.environment.get(PREFIX + name.upper())

    def path(self, name: str) -> Path | None:
        value = self.text(name)
        return None if value is None else Path(value)

    def switch(self, name: str) -> bool | None:
        value = self.text(name)
        if value is not None and value.lower() not in _SWITCH:
            raise ConfigError(name, f"must be one of {', '.join(_SWITCH)}, not {value!r}")
        return None if value is None else _SWITCH[value.lower()]

    def number(self, name: str) -> float | None:
        value = self.text(name)
        try:
            return None if value is None else float(value)
        except ValueError as problem:
            raise ConfigError(name, f"must be a number, not {value!r}") from problem


def _keys(path: str | None, inline: str, setting: str) -> tuple[str, ...]:
    keys = list(_split(inline))
    if path is not None:
        try:
            keys += [line.strip() for line in Path(path).read_text().splitlines()]
        except (OSError, UnicodeDecodeError) as problem:
            raise ConfigError(setting, f"{path} cannot be read") from problem
        if not any(keys):
            raise ConfigError(setting, f"{path} holds no key")
    return tuple(key for key in keys if key and not key.startswith("#"))


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
