"""Spectrograms side by side, one picture per sentence."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

WINDOW_SAMPLES, HOP_SAMPLES = 1024, 160
MAX_HZ = 8000


def draw(
    path: Path, title: str, clips: Mapping[str, NDArray[np.float32]], seams: NDArray[np.int64], rate_hz: int
) -> None:
    """Args: clips: by name, [T] mono; seams: samples where chunks of the last clip meet, marked at its foot."""
    figure = Figure(figsize=(11, 2.2 * len(clips)), layout="constrained")
    rows = figure.subplots(len(clips), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (name, pcm) in zip(rows, clips.items(), strict=True):
        padded = np.pad(pcm, (0, max(0, 2 * WINDOW_SAMPLES - len(pcm))))
        # A floor far below hearing, since a decibel of nothing is none.
        padded = padded + np.random.default_rng(0).normal(0.0, 1e-6, len(padded))
        axes.specgram(
            padded, NFFT=WINDOW_SAMPLES, Fs=rate_hz, noverlap=WINDOW_SAMPLES - HOP_SAMPLES, vmin=-140, vmax=-40
        )
        axes.set_ylim(0, MAX_HZ)
        axes.set_ylabel(name)
    for seam in seams.tolist():
        rows[-1].axvline(seam / rate_hz, 0, 0.06, color="red", linewidth=1)
    rows[0].set_title(title, fontsize=10)
    rows[-1].set_xlabel("s")
    figure.savefig(path, dpi=70)
