"""How long to wait before each try to reconnect, and when to give up. Knows no clock: it counts its own delays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, kw_only=True, slots=True)
class Backoff:
    """The first try comes at once, later ones after delays that double, up to a quarter of each by chance."""

    first_s: float = 0.1
    """Before the second try."""
    max_s: float = 5.0
    """No delay is longer."""
    total_s: float = 30.0
    """All delays together; servers keep a session for about so long."""

    def __post_init__(self) -> None:
        if not 0 < self.first_s <= self.max_s <= self.total_s:
            raise ValueError(f"first_s, max_s and total_s must be positive and in this order: {self}")

    def delays(self, random: Random) -> Iterator[float]:
        """Seconds before each try; ends when it is time to give up."""
        yield 0.0
        spent_s, delay_s = 0.0, self.first_s
        while spent_s < self.total_s:
            jittered_s = min(delay_s * (1 - random.random() / 4), self.total_s - spent_s)
            yield jittered_s
            spent_s += jittered_s
            delay_s = min(self.max_s, delay_s * 2)
