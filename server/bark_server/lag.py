"""How late the event loop is: a timer that looks at when it really fires."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

INTERVAL_S = 0.02


class LoopLag:
    """Calls `observe(lag_s)` every `INTERVAL_S` from `start` until `stop`."""

    def __init__(self, observe: Callable[[float], None]) -> None:
        self._observe = observe
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._arm(asyncio.get_running_loop())

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        due_s = loop.time() + INTERVAL_S
        self._timer = loop.call_at(due_s, self._fire, loop, due_s)

    def _fire(self, loop: asyncio.AbstractEventLoop, due_s: float) -> None:
        self._observe(max(0.0, loop.time() - due_s))
        self._arm(loop)
