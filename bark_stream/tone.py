"""A voice's tone: how its average spectrum differs from what a model usually sounds like, and the equaliser for it.

A small model blurs unknown voices towards those it knows, first of all in tone. So a sample is equalised to what the
model knows before it is encoded, and what the model says is equalised back: a filter of minimum phase, which adds no
delay. Knows no voices and no models.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bark_stream.mel import mel_filters

NUM_BANDS = 40
"""Mel bands from 0 to half the sample rate."""
WINDOW_SAMPLES, HOP_SAMPLES = 1024, 256
QUIET_DB = -30.0
"""Frames so far below the loudest are pauses, and have no tone."""
MAX_GAIN_DB = 20.0
NUM_TAPS = 512
_FFT_SAMPLES = 4096
_FLOOR = 1e-9

Tone = NDArray[np.float32]
"""[NUM_BANDS] dB, within MAX_GAIN_DB around 0."""


def spectrum_db(pcm: NDArray[np.float32], rate_hz: int) -> NDArray[np.float64]:
    """[T] sound of at least one window -> [NUM_BANDS] average of its log spectrum while it sounds, in dB."""
    frames = np.lib.stride_tricks.sliding_window_view(pcm, WINDOW_SAMPLES)[::HOP_SAMPLES]
    power = np.abs(np.fft.rfft(frames * np.hanning(WINDOW_SAMPLES))) ** 2
    energy = power.sum(1)
    sounding = power[energy >= energy.max() * 10 ** (QUIET_DB / 10)]
    bands = sounding @ mel_filters(WINDOW_SAMPLES, NUM_BANDS, rate_hz).T
    return np.asarray(10 * np.log10(bands + _FLOOR).mean(0))


def tone_between(usual_db: NDArray[np.float64], wanted_db: NDArray[np.float64]) -> Tone:
    """What makes the wanted spectrum of the usual one. Loudness is no tone: on average over the bands it is 0."""
    difference = wanted_db - usual_db
    return np.asarray(np.clip(difference - difference.mean(), -MAX_GAIN_DB, MAX_GAIN_DB), np.float32)


def louder(tone: Tone, factor: float) -> Tone:
    """The same tone, so many times as loud; in hundredths of a decibel, as a file holds it, so that a voice sounds the
    same before and after it was saved."""
    gains = np.clip(tone + 20 * np.log10(factor), -MAX_GAIN_DB, MAX_GAIN_DB)
    return np.asarray(gains.round(2), np.float32)


def level_of(pcm: NDArray[np.float32]) -> float:
    """RMS."""
    return float(np.sqrt(np.mean(pcm**2)))


@dataclass(slots=True)
class Equaliser:
    """A stream's filter, and what it remembers of the stream."""

    taps: NDArray[np.float32]
    """[NUM_TAPS]"""
    past: NDArray[np.float32]
    """[NUM_TAPS - 1] the samples before the next ones."""

    def __call__(self, pcm: NDArray[np.float32]) -> NDArray[np.float32]:
        """The next samples [T] of the stream -> [T]."""
        if not len(pcm):
            return pcm
        heard = np.concatenate([self.past, pcm])
        self.past = heard[len(heard) - len(self.past) :]
        return np.asarray(np.convolve(heard, self.taps, "valid"), np.float32)


def equaliser(tone: Tone, rate_hz: int, past: NDArray[np.float32] | None = None) -> Equaliser:
    """Args: past: what an earlier one of this stream remembers; silence without it."""
    return Equaliser(
        _taps(tone.astype(np.float32).tobytes(), rate_hz), np.zeros(NUM_TAPS - 1, np.float32) if past is None else past
    )


@lru_cache(maxsize=64)
def _taps(tone: bytes, rate_hz: int) -> NDArray[np.float32]:
    """Minimum phase by the cepstrum: its anti-causal half is folded onto the causal one."""
    filters = mel_filters(WINDOW_SAMPLES, NUM_BANDS, rate_hz)
    centres = filters @ np.arange(filters.shape[1]) / filters.sum(1)
    bins = np.arange(_FFT_SAMPLES // 2 + 1) * (WINDOW_SAMPLES / _FFT_SAMPLES)
    gains_db = np.interp(bins, centres, np.frombuffer(tone, np.float32))
    cepstrum = np.fft.irfft(gains_db * (np.log(10) / 20))
    half = _FFT_SAMPLES // 2
    cepstrum[1:half] *= 2
    cepstrum[half + 1 :] = 0
    taps = np.fft.irfft(np.exp(np.fft.rfft(cepstrum)))[:NUM_TAPS]
    fade = 0.5 + 0.5 * np.cos(np.pi * np.arange(NUM_TAPS // 2) / (NUM_TAPS // 2))
    taps[NUM_TAPS // 2 :] *= fade
    result = taps.astype(np.float32)
    result.setflags(write=False)
    return result
