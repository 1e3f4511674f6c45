"""Whole clips from one sample rate to another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def resample(pcm: NDArray[np.float32], rate_hz: int, new_rate_hz: int) -> NDArray[np.float32]:
    """[T] at `rate_hz` -> [T'] at `new_rate_hz`, by spectrum: nothing above the lower of the two is left."""
    if rate_hz == new_rate_hz:
        return pcm
    length = round(len(pcm) * new_rate_hz / rate_hz)
    spectrum = np.fft.rfft(pcm)
    kept = np.zeros(length // 2 + 1, spectrum.dtype)
    count = min(len(kept), len(spectrum))
    kept[:count] = spectrum[:count]
    return np.asarray(np.fft.irfft(kept, length) * (length / len(pcm)), np.float32)
