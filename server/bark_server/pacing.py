"""How far audio may run ahead of its listener, and how many messages may come. The clock is an argument."""

from __future__ import annotations

import math

START_DELAY_S = 0.08
"""A client plays so long after its first packet (its jitter buffer)."""
BURST_S = 0.25
"""Packets leave in bursts of up to this much audio: a call into the system costs more than a packet."""


class Playback:
    """Where the listener of one context is, as far as can be told: as reported, else as if played without a break.

    A listener who ran dry starts again `START_DELAY_S` after the next packet.
    """

    def __init__(self, *, rate_hz: int, max_lead_s: float) -> None:
        self._rate_hz = rate_hz
        self._max_lead_s = max_lead_s if max_lead_s > 0 else math.inf
        self._burst_s = min(BURST_S, self._max_lead_s / 2)
        self._origin_s = math.inf
        self.sent_samples = 0

    @property
    def deadline_s(self) -> float:
        """When the next packet is to be heard; infinity before the first."""
        return self._origin_s + self.sent_samples / self._rate_hz

    def send(self, num_samples: int, now: float) -> None:
        """Count a packet that leaves now."""
        if math.isinf(self._origin_s) or now > self.deadline_s:
            self._origin_s = now + START_DELAY_S - self.sent_samples / self._rate_hz
        self.sent_samples += num_samples

    def report(self, played_samples: int, now: float) -> None:
        """The listener says where it is."""
        if not math.isinf(self._origin_s):
            self._origin_s = now - min(played_samples, self.sent_samples) / self._rate_hz

    def position_samples(self, now: float) -> int:
        """Samples heard by now."""
        if math.isinf(self._origin_s):
            return 0
        return max(0, min(self.sent_samples, round((now - self._origin_s) * self._rate_hz)))

    def lead_s(self, now: float) -> float:
        """Audio sent and not yet heard."""
        if math.isinf(self._origin_s):
            return 0.0
        return max(0.0, self.deadline_s - now)

    def may_send(self, num_samples: int, now: float) -> bool:
        """Whether a packet of `num_samples` keeps the lead within bounds. The first packet always may."""
        return self.sent_samples == 0 or self.lead_s(now) + num_samples / self._rate_hz <= self._max_lead_s

    def next_burst_s(self, now: float) -> float:
        """When it is worth sending again: `now` or later."""
        return max(now, now + self.lead_s(now) - self._max_lead_s + self._burst_s)


class TokenBucket:
    """At most `rate` per second in the long run and `burst` at once."""

    def __init__(self, *, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._filled_s = now

    def take(self, now: float) -> float:
        """Take one. Returns 0 if there was one, else the seconds until there is."""
        self._tokens = min(self._burst, self._tokens + max(0.0, now - self._filled_s) * self._rate)
        self._filled_s = now
        if self._tokens >= 1:
            self._tokens -= 1
            return 0.0
        return (1 - self._tokens) / self._rate
