"""Does the speaker change? A test for one change, of timbre and pitch together.

Two Gaussians of one shape, one for each side of a possible change, are compared with a single one for both, less the
price of the second (the Bayesian information criterion of Chen and Gopalakrishnan, 1998), over cepstra and log pitch of
the voiced frames. It finds another person, not another mood; two voices much alike pass.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bark_stream.mel import mel_filters
from bark_stream.resample import resample

RATE_HZ = 16_000
HOP_SAMPLES = 160
WINDOW_SAMPLES = 640
"""Two periods of the deepest voice."""
NUM_BANDS = 40
NUM_CEPSTRA = 12
LOWEST_HZ, HIGHEST_HZ = 60.0, 400.0
MIN_PERIODICITY = 0.5
"""Of the autocorrelation: below it a frame is not voiced."""
MIN_SIDE_FRAMES = 60
"""Voiced frames on either side of a change."""
STEP_FRAMES = 10


def speaker_change(pcm: NDArray[np.float32], rate_hz: int) -> tuple[float, float]:
    """The most likely change of speaker in a clip.

    Returns: how much better two speakers explain each voiced frame than one does (nats; 0 for too short a clip), and
        the second at which the second one begins. One person alone stayed below 0.36 in 126 clips of 21 voices.
    """
    features, times_s = _voiced_features(resample(pcm, rate_hz, RATE_HZ))
    num_frames, num_features = features.shape
    best, at_s = 0.0, 0.0
    if num_frames < 2 * MIN_SIDE_FRAMES:
        return best, at_s
    whole = _log_det(np.cov(features.T, bias=True))
    price = num_features / 2 * np.log(num_frames) / num_frames
    for split in range(MIN_SIDE_FRAMES, num_frames - MIN_SIDE_FRAMES + 1, STEP_FRAMES):
        parts = features[:split], features[split:]
        within = sum(np.cov(part.T, bias=True) * len(part) for part in parts) / num_frames
        gain = (whole - _log_det(within)) / 2 - price
        if gain > best:
            best, at_s = float(gain), float(times_s[split])
    return best, at_s


def _log_det(covariance: NDArray[np.float64]) -> float:
    """Log determinant, kept from collapsing."""
    return float(np.linalg.slogdet(covariance + 1e-3 * np.eye(len(covariance)))[1])


def _voiced_features(pcm: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """[N, 1 + NUM_CEPSTRA] log pitch and cepstra of the voiced frames, and [N] their times."""
    if len(pcm) < WINDOW_SAMPLES:
        return np.zeros((0, 1 + NUM_CEPSTRA)), np.zeros(0)
    frames = np.lib.stride_tricks.sliding_window_view(pcm, WINDOW_SAMPLES)[::HOP_SAMPLES].astype(np.float64)
    frames = (frames - frames.mean(axis=1, keepdims=True)) * np.hanning(WINDOW_SAMPLES)
    pitch_hz, periodicity = _pitch(frames)
    power = (frames**2).sum(axis=1)
    voiced = (periodicity > MIN_PERIODICITY) & (power > 1e-3 * np.percentile(power, 95))
    spectrum = np.abs(np.fft.rfft(frames[voiced]))
    log_mel = np.log(spectrum @ mel_filters(WINDOW_SAMPLES, NUM_BANDS, RATE_HZ).T + 1e-5)
    features = np.column_stack([np.log(pitch_hz[voiced]), log_mel @ _cosines().T])
    return features, np.flatnonzero(voiced) * HOP_SAMPLES / RATE_HZ


def _pitch(frames: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """[N] Hz and [N] periodicity, 0 … 1, of windowed frames."""
    size = 2 * WINDOW_SAMPLES
    lags = np.arange(round(RATE_HZ / HIGHEST_HZ), round(RATE_HZ / LOWEST_HZ))
    window = np.fft.irfft(np.abs(np.fft.rfft(np.hanning(WINDOW_SAMPLES), size)) ** 2)
    correlation = np.fft.irfft(np.abs(np.fft.rfft(frames, size)) ** 2)
    normal = correlation[:, lags] / window[lags] * window[0] / np.maximum(correlation[:, :1], 1e-12)
    # A period's multiples are as good as itself: the shortest of the nearly best is meant.
    good = normal >= 0.9 * normal.max(axis=1, keepdims=True)
    found = good.argmax(axis=1)
    return RATE_HZ / lags[found], normal.max(axis=1)


def _cosines() -> NDArray[np.float64]:
    """[NUM_CEPSTRA, NUM_BANDS] cosine transform without its first row: loudness is no timbre."""
    orders = np.arange(1, NUM_CEPSTRA + 1)[:, None]
    return np.asarray(np.cos(np.pi * orders * (np.arange(NUM_BANDS) + 0.5) / NUM_BANDS) * np.sqrt(2 / NUM_BANDS))
