"""How loud a sound is, frame by frame, and where it pauses. Knows no speech."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FRAME_S = 0.02
SILENCE_DB = -120.0
"""Level of nothing at all."""
PAUSE_DEPTH_DB = 30.0
"""A frame this much below the loud ones belongs to a pause."""
MIN_PAUSE_S = 0.12
"""Shorter ones are the closures inside words."""


def levels_db(pcm: NDArray[np.float32], rate_hz: int) -> NDArray[np.float64]:
    """[N] level of each frame of `FRAME_S`, dB below full scale."""
    size = max(1, round(FRAME_S * rate_hz))
    frames = pcm[: len(pcm) // size * size].reshape(-1, size).astype(np.float64)
    rms = np.sqrt((frames**2).mean(axis=1)) if len(frames) else np.zeros(0)
    return np.asarray(np.maximum(20 * np.log10(np.maximum(rms, 1e-12)), SILENCE_DB))


def loud_level_db(levels: NDArray[np.float64]) -> float:
    """What counts as loud in this sound: nineteen frames of twenty are softer."""
    return float(np.percentile(levels, 95)) if len(levels) else SILENCE_DB


def is_sounding(levels: NDArray[np.float64]) -> NDArray[np.bool_]:
    """[N] whether a frame is near enough the loud ones to be more than a pause."""
    return np.asarray(levels > loud_level_db(levels) - PAUSE_DEPTH_DB)


def pauses_s(levels: NDArray[np.float64]) -> list[tuple[float, float]]:
    """Start and end of every pause, in seconds."""
    quiet = np.concatenate([[False], ~is_sounding(levels), [False]])
    edges = np.flatnonzero(np.diff(quiet.astype(np.int8))).reshape(-1, 2) * FRAME_S
    return [(float(start), float(end)) for start, end in edges if end - start >= MIN_PAUSE_S - 1e-9]
