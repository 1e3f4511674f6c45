"""The doors that a configuration asks for beside the WebSocket. Their libraries are needed only then."""

from __future__ import annotations

from bark_server.config import ServerConfig
from bark_server.doors.door import ListeningDoor, Reception, needing
from bark_server.doors.wyoming import WyomingDoor


def other_doors(config: ServerConfig, reception: Reception) -> list[ListeningDoor]:
    """Raises: ConfigError for a door whose library is not installed."""
    doors: list[ListeningDoor] = []
    if config.http_port is not None:
        with needing("http_port", "http"):
            from bark_server.doors.http import HttpDoor
        doors.append(HttpDoor(reception, port=config.http_port))
    if config.wyoming_port is not None:
        doors.append(WyomingDoor(reception, port=config.wyoming_port))
    return doors
