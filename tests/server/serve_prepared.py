"""A server process of its own, with an engine that plays a prepared sound.

Argument: JSON object with `speed` (seconds of audio per second, null: at once), `limits`, and `mqtt` (a URL) if wanted.
"""

from __future__ import annotations

import json
import sys

from bark_server.app import run
from bark_server.config import ServerConfig
from bark_server.doors.mqtt_address import MqttAddress
from bark_server.limits import Limits
from bark_server.logs import EventLog
from bark_server.prepared import PreparedEngine
from harness import RATE_HZ, voice_like

if __name__ == "__main__":
    settings = json.loads(sys.argv[1])
    mqtt = settings.get("mqtt")
    config = ServerConfig(
        port=0, limits=Limits(**settings["limits"]), mqtt=None if mqtt is None else MqttAddress.parse(mqtt)
    )
    sys.exit(run(config, lambda: PreparedEngine(voice_like(RATE_HZ), speed=settings["speed"]), log=EventLog()))
