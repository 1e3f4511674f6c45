"""A server process of its own, with an engine that plays a prepared sound. Arguments: port, speed, drain_ms."""

from __future__ import annotations

import sys

from bark_server.app import run
from bark_server.config import ServerConfig
from bark_server.limits import Limits
from bark_server.logs import EventLog
from bark_server.prepared import PreparedEngine
from harness import RATE_HZ, voice_like

if __name__ == "__main__":
    port, speed, drain_ms = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    config = ServerConfig(port=port, limits=Limits(drain_ms=drain_ms))
    sys.exit(run(config, lambda: PreparedEngine(voice_like(RATE_HZ), speed=speed), log=EventLog()))
