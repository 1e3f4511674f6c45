"""The lateness of the event loop."""

from __future__ import annotations

import asyncio
import time

from bark_server.lag import INTERVAL_S, LoopLag


async def test_lag_sees_a_blocked_loop() -> None:
    """Whoever holds the loop up is seen; after `stop` nothing is looked at."""
    seen: list[float] = []
    lag = LoopLag(seen.append)
    lag.start()
    time.sleep(INTERVAL_S + 0.1)
    while not seen:
        await asyncio.sleep(0)
    lag.stop()
    lag.stop()
    assert seen[0] >= 0.09
