"""What is read from the broker's URL."""

from __future__ import annotations

import pytest
from bark_server.doors.mqtt_address import MqttAddress

from bark_stream.errors import ConfigError


def test_address_is_read_from_a_url() -> None:
    """User, password, host, port and a prefix of several levels; signs may be written as %40."""
    address = MqttAddress.parse("mqtts://me:p%40ss@broker.example:8884/home/bark/")
    assert (address.host, address.port, address.is_tls) == ("broker.example", 8884, True)
    assert (address.username, address.password, address.prefix) == ("me", "p@ss", "home/bark")


def test_address_has_defaults() -> None:
    """The port follows from the scheme; without a path the topics begin with `bark`."""
    plain, secure = MqttAddress.parse("mqtt://b"), MqttAddress.parse("mqtts://b")
    assert (plain.port, plain.prefix, plain.username) == (1883, "bark", None)
    assert (secure.port, secure.is_tls) == (8883, True)


def test_address_never_shows_its_password() -> None:
    """Neither printed nor as part of a configuration that is."""
    address = MqttAddress.parse("mqtt://me:secret@b/x")
    assert "secret" not in str(address) + repr(address)
    assert str(address) == "mqtt://b:1883/x"


@pytest.mark.parametrize("url", ["", "b:1883", "http://b", "mqtt://", "mqtt://b:port", "mqtt://b/a/#", "mqtt://[b"])
def test_address_refuses_what_is_none(url: str) -> None:
    """One clear error, which does not quote what may hold a password."""
    with pytest.raises(ConfigError) as caught:
        MqttAddress.parse(url)
    assert str(caught.value).startswith("mqtt")


@pytest.mark.parametrize(
    ("topic", "expected"), [("a/b/me/in", ("me", "in")), ("a/b/you/say", ("you", "say")), ("a/b//in", ("", "in"))]
)
def test_client_of_finds_the_level_behind_the_prefix(topic: str, expected: tuple[str, str]) -> None:
    """The prefix may have levels of its own."""
    assert MqttAddress.parse("mqtt://b/a/b").client_of(topic) == expected
