"""Turns at the event loop: many small pieces of work share it so that none holds it up for long."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

BUDGET_S = 0.004
"""Work of one round; then sockets are read and timers fire before the next."""


class Turns:
    """Runs what is waiting in order, a budget's worth per round of the loop. Each waits once at most."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[Callable[[], None]] = deque()
        self._members: set[Callable[[], None]] = set()
        self._is_scheduled = False

    def ask(self, work: Callable[[], None]) -> None:
        """Let `work` have a turn soon."""
        if work in self._members:
            return
        self._members.add(work)
        self._waiting.append(work)
        self._schedule()

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._round)

    def _round(self) -> None:
        self._is_scheduled = False
        end_s = self._loop.time() + BUDGET_S
        while self._waiting:
            work = self._waiting.popleft()
            self._members.discard(work)
            work()
            if self._loop.time() >= end_s:
                break
        if self._waiting:
            self._schedule()
