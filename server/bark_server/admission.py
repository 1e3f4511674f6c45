"""Whether another context may start: room, and an engine that keeps up. Shared by all sessions; the clock is passed."""

from __future__ import annotations

from collections import deque

from bark_server.errors import ClientError
from bark_server.limits import Limits

FULL_RETRY_MS = 1_000
TOLERATED_LATE_S = 0.25
"""Listeners may wait so long, all of them together within `Limits.overload_ms`, before the engine counts as too slow:
one who runs dry for a moment while another begins does not mean that there is no room for a third."""


class Admission:
    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._behind_until_s = 0.0
        self._waits: deque[tuple[float, float]] = deque()
        """(when, for how long) of the listeners who ran dry lately."""
        self.num_contexts = 0
        self.is_draining = False

    def enter(self, now: float, *, context: str) -> None:
        """Count one more context. Raises: ClientError `overloaded`; then nothing was started."""
        retry_ms = self.refusal_ms(now)
        if retry_ms is not None:
            raise ClientError(
                "overloaded", "the server speaks as much as it can", context=context, retry_after_ms=retry_ms
            )
        self.num_contexts += 1

    def leave(self) -> None:
        self.num_contexts -= 1

    def refusal_ms(self, now: float) -> int | None:
        """None when a context would be admitted, else when to ask again."""
        if self.is_draining or self.num_contexts >= self._limits.max_contexts:
            return FULL_RETRY_MS
        if self.num_contexts and now < self._behind_until_s:
            return max(1, round((self._behind_until_s - now) * 1000))
        return None

    def ran_dry(self, late_s: float, now: float) -> None:
        """A listener had to wait for so long."""
        self._waits.append((now, late_s))
        while self._waits[0][0] < now - self._limits.overload_ms / 1000:
            self._waits.popleft()
        if sum(wait_s for _, wait_s in self._waits) > TOLERATED_LATE_S:
            self.fell_behind(now)

    def fell_behind(self, now: float) -> None:
        """The engine does not keep up: listeners wait too long in all, or a first sound is overdue."""
        self._behind_until_s = now + self._limits.overload_ms / 1000
