"""What can be measured of a clip without understanding it: silences, loudness, seams, pitch. Knows no model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FRAME_S = 0.01
QUIET_DB = -45.0
"""Relative to full scale; speech here lies near -22."""
SEAM_S = 0.01


def frame_levels_db(pcm: NDArray[np.float32], rate_hz: int) -> NDArray[np.float32]:
    """[T] -> [F] level of each 10 ms in dB of full scale."""
    size = round(FRAME_S * rate_hz)
    frames = pcm[: len(pcm) // size * size].reshape(-1, size)
    levels: NDArray[np.float32] = 10 * np.log10(np.mean(frames**2, axis=1) + 1e-10)
    return levels


def longest_silence_s(pcm: NDArray[np.float32], rate_hz: int) -> float:
    """The longest stretch below QUIET_DB between the first and the last sound."""
    loud = np.flatnonzero(frame_levels_db(pcm, rate_hz) > QUIET_DB)
    return float((np.diff(loud).max() - 1) * FRAME_S) if len(loud) > 1 else 0.0


def loudness_db(pcm: NDArray[np.float32], rate_hz: int) -> float:
    """Level of what is not silence, in dB of full scale."""
    levels = frame_levels_db(pcm, rate_hz)
    loud = levels[levels > QUIET_DB]
    return float(10 * np.log10(np.mean(10 ** (loud / 10)))) if len(loud) else QUIET_DB


def jumps_db(pcm: NDArray[np.float32], rate_hz: int, at_samples: NDArray[np.int64]) -> NDArray[np.float64]:
    """Level after each place less level before it, 10 ms on either side, without sign; quiet places are left out."""
    size = round(SEAM_S * rate_hz)
    jumps = []
    for at in at_samples.tolist():
        if size <= at <= len(pcm) - size:
            before, after = (
                10 * np.log10(np.mean(part**2) + 1e-10) for part in (pcm[at - size : at], pcm[at : at + size])
            )
            if max(before, after) > QUIET_DB:
                jumps.append(abs(after - before))
    return np.array(jumps)


def steps(pcm: NDArray[np.float32], at_samples: NDArray[np.int64]) -> NDArray[np.float64]:
    """Difference between the samples on either side of each place, without sign: a click shows here."""
    inside = at_samples[(at_samples > 0) & (at_samples < len(pcm))]
    return np.abs(pcm[inside] - pcm[inside - 1]).astype(np.float64)


def pitch_hz(pcm: NDArray[np.float32], rate_hz: int) -> NDArray[np.float64]:
    """[T] -> pitch of each voiced 40 ms (60 to 500 Hz), by autocorrelation."""
    size, hop = round(0.04 * rate_hz), round(0.02 * rate_hz)
    shortest, longest = rate_hz // 500, rate_hz // 60
    window = np.hanning(size)
    fading = np.fft.irfft(np.abs(np.fft.rfft(window, 2 * size)) ** 2)[:size]
    found = []
    for start in range(0, len(pcm) - size, hop):
        frame = pcm[start : start + size] * window
        if np.mean(frame**2) < 1e-5:
            continue
        spectrum = np.fft.rfft(frame, 2 * size)
        correlation = np.fft.irfft(np.abs(spectrum) ** 2)[:size]
        # A window fades with the lag; without this a period counts less than half of it.
        correlation[:longest] /= fading[:longest] / fading[0]
        lag = _period(correlation[:longest], shortest)
        if correlation[lag] > 0.4 * correlation[0]:
            found.append(rate_hz / lag)
    return np.array(found)


def share_at(pitch: NDArray[np.float64], hz: float) -> float:
    """How many of the pitches of voiced moments lie within a fiftieth of `hz`; 0 where nothing is voiced."""
    return float(np.mean(np.abs(pitch / hz - 1) < 0.02)) if len(pitch) else 0.0


def _period(correlation: NDArray[np.float64], shortest: int) -> int:
    """The first peak that is nearly the highest; those at its multiples are as high."""
    highest = correlation[shortest:].max()
    first = shortest + int(np.argmax(correlation[shortest:] > 0.9 * highest))
    while first + 1 < len(correlation) and correlation[first + 1] > correlation[first]:
        first += 1
    return first
