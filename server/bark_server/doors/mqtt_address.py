"""Where the broker is and under which topics we answer: `mqtt://user:password@host:1883/prefix`. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from bark_stream.errors import ConfigError

DEFAULT_PREFIX = "bark"
_PORTS = {"mqtt": 1883, "mqtts": 8883}


@dataclass(frozen=True, kw_only=True, slots=True)
class MqttAddress:
    """`str` of it holds no password."""

    host: str
    port: int
    is_tls: bool
    prefix: str
    """First levels of every topic, without a slash at either end."""
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str) -> MqttAddress:
        """`mqtt` or `mqtts` (TLS); user, password, port and prefix may be left out, `%40` and the like are decoded.

        Raises: ConfigError, which does not quote the URL.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as problem:
            raise ConfigError("mqtt", "is no URL") from problem
        if parts.scheme not in _PORTS or not parts.hostname or "?" in url or "#" in url:
            raise ConfigError("mqtt", "must look like mqtt://user:password@host:1883/prefix (mqtts for TLS)")
        prefix = unquote(parts.path).strip("/") or DEFAULT_PREFIX
        if any(sign in prefix for sign in "+#$\0"):
            raise ConfigError("mqtt", "the topics' prefix must not hold + # $")
        return cls(
            host=parts.hostname,
            port=port or _PORTS[parts.scheme],
            is_tls=parts.scheme == "mqtts",
            prefix=prefix,
            username=None if parts.username is None else unquote(parts.username),
            password=None if parts.password is None else unquote(parts.password),
        )

    def __str__(self) -> str:
        return f"{'mqtts' if self.is_tls else 'mqtt'}://{self.host}:{self.port}/{self.prefix}"

    @property
    def status_topic(self) -> str:
        return f"{self.prefix}/status"

    def topic(self, client: str, kind: str) -> str:
        return f"{self.prefix}/{client}/{kind}"

    def client_of(self, topic: str) -> tuple[str, str]:
        """Client and kind of a topic that was subscribed to."""
        client, _, kind = topic[len(self.prefix) + 1 :].rpartition("/")
        return client, kind
