"""Is the server ready for work? Pure: told what is, asked what follows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True, kw_only=True)
class Readiness:
    """What `/readyz` answers."""

    stall_s: float
    """Speech that makes no audio for so long means that the engine is stuck."""
    is_warm: bool = False
    is_draining: bool = False
    stalled_s: float = 0.0
    """For how long the engine has owed somebody audio without making any."""

    @property
    def reason(self) -> str | None:
        """Why no work is taken; None when it is."""
        if self.is_draining:
            return "draining"
        if not self.is_warm:
            return "warming up"
        if self.stalled_s >= self.stall_s:
            return "stalled"
        return None
