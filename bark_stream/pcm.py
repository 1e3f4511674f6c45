"""Samples as numbers and as 16-bit integers: one scale, one rounding, for files, pipes and packets. Knows no format."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FULL_SCALE = 32767
"""What 1.0 becomes; -1.0 becomes the opposite, so that silence stays in the middle."""


def to_pcm_16(pcm: NDArray[np.float32]) -> NDArray[np.int16]:
    """[T] float32 to [T] int16, little-endian: clipped to -1 … 1, rounded to the nearest."""
    scaled = np.multiply(pcm, np.float32(FULL_SCALE), dtype=np.float32)
    np.clip(scaled, -FULL_SCALE, FULL_SCALE, out=scaled)
    samples: NDArray[np.int16] = np.rint(scaled, out=scaled).astype("<i2")
    return samples


def from_pcm_16(data: bytes) -> NDArray[np.float32]:
    """Little-endian 16-bit samples to [T] float32, -1 … 1."""
    pcm: NDArray[np.float32] = np.frombuffer(data, "<i2") / np.float32(FULL_SCALE)
    return pcm
