"""An encoder whose answer is known beforehand."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NEVER = -1000.0
"""Log-probability of what it did not hear: no words can outweigh it."""


class CountingEar:
    """Hears token n in the n-th frame, and is sure of it."""

    name = "counting"

    def __init__(self, num_tokens: int = 100, rate_hz: float = 49.9) -> None:
        self.num_tokens = num_tokens
        self.num_heard = 0
        self._rate_hz = rate_hz

    def scores(self, pcm: NDArray[np.float32], rate_hz: int) -> NDArray[np.float32]:
        self.num_heard += 1
        frames = np.arange(int(len(pcm) / rate_hz * self._rate_hz))
        scores = np.full((len(frames), self.num_tokens), NEVER, np.float32)
        scores[frames, frames % self.num_tokens] = 0
        return scores
