"""Promises of `bark_stream.pcm`."""

from __future__ import annotations

import numpy as np

from bark_stream.pcm import from_pcm_16, to_pcm_16


def test_to_pcm_16_rounds_and_clips() -> None:
    """The nearest number, full scale for what is beyond it, the same on both sides of silence."""
    pcm = np.array([0.0, 0.6 / 32767, -0.6 / 32767, 1.0, -1.0, 3.0, -3.0], dtype=np.float32)
    assert to_pcm_16(pcm).tolist() == [0, 1, -1, 32767, -32767, 32767, -32767]


def test_pcm_16_comes_back_as_it_was() -> None:
    """Every 16-bit sample that `to_pcm_16` makes is made again from what `from_pcm_16` gives."""
    samples = np.arange(-32767, 32768).astype("<i2")
    assert np.array_equal(to_pcm_16(from_pcm_16(samples.tobytes())), samples)
