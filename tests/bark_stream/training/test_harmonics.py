"""Distances that a decoder is taught by: what each of them hears, and what it does not."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from bark_stream.training.codec import SAMPLE_RATE_HZ, LogMelDistance
from bark_stream.training.harmonics import HarmonicDistance


def _voice(hz: float, first_s: float = 0.0, lowest_hz: float = 0.0) -> Tensor:
    """[1, L] a second of harmonics up to 4 kHz, as loud together whatever their number, near unit RMS."""
    moments = np.arange(SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ + first_s
    numbers = np.arange(1, int(4000 / hz) + 1)
    numbers = numbers[numbers * hz > lowest_hz]
    sound = np.sin(2 * np.pi * numbers[:, None] * hz * moments).sum(0) * np.sqrt(2 / len(numbers))
    return torch.from_numpy(sound.astype(np.float32))[None]


def test_pitch_above_the_lowest_harmonics_is_heard_by_harmonics_alone() -> None:
    """From 1 kHz on, voices of 75 and 100 Hz are half as far apart in mel bands as in single bins."""
    low, high = _voice(75.0, lowest_hz=1000.0), _voice(100.0, lowest_hz=1000.0)
    by_bins, by_bands = HarmonicDistance()(low, high).item(), LogMelDistance()(low, high).item()
    assert by_bins > 2 * by_bands


def test_where_in_a_period_a_voice_is_makes_no_difference_to_harmonics() -> None:
    """The same voice a third of a period later is far nearer than another pitch."""
    distance, voice = HarmonicDistance(), _voice(100.0)
    later, other = _voice(100.0, first_s=1 / 300), _voice(75.0)
    assert distance(voice, voice).item() == 0.0
    assert distance(voice, later).item() < 0.2 * distance(voice, other).item()
