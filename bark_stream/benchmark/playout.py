"""What a listener hears of audio that comes piece by piece: waits, and how long. Knows no clock and no transport."""

from __future__ import annotations

from dataclasses import dataclass

JITTER_BUFFER_S = 0.08
"""A client starts to play so long after the first audio."""


@dataclass(slots=True)
class Playout:
    """A listener who starts to play a while after the first audio; who has run dry waits for more, and plays on."""

    buffer_s: float = JITTER_BUFFER_S
    num_underruns: int = 0
    """Waits in the middle: what came later than all before it had let expect."""
    num_late: int = 0
    """What a listener who never waits would have missed."""
    waited_s: float = 0.0
    """In all those waits."""
    worst_s: float = 0.0
    """The longest of them."""
    _starts_s: float | None = None

    def hear(self, came_s: float, at_s: float) -> None:
        """Args:
        came_s: when a piece came, on any clock.
        at_s: where it begins in the audio.
        """
        if self._starts_s is None:
            self._starts_s = came_s + self.buffer_s - at_s
        late_s = came_s - self._starts_s - at_s
        self.num_late += late_s > 0
        if late_s > self.waited_s:
            self.num_underruns += 1
            self.worst_s = max(self.worst_s, late_s - self.waited_s)
            self.waited_s = late_s
