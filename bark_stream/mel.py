"""The mel scale: filters that add up a spectrum the way an ear does. Knows no sound."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def mel_filters(num_samples: int, num_bands: int, sample_rate_hz: int) -> NDArray[np.float64]:
    """[num_bands, num_samples / 2 + 1] triangles over the bins of a window of `num_samples`, each of sum 1 so that
    narrow bands weigh no less."""
    edges = np.linspace(0.0, float(_mel(np.array(sample_rate_hz / 2))), num_bands + 2)
    bins = _mel(np.arange(num_samples // 2 + 1) * sample_rate_hz / num_samples)
    rising = (bins[None] - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins[None]) / np.diff(edges)[1:, None]
    filters = np.maximum(0.0, np.minimum(rising, falling))
    empty = filters.sum(axis=1) == 0
    nearest = np.abs(bins[None] - edges[1:-1, None]).argmin(axis=1)
    filters[empty, nearest[empty]] = 1.0
    return np.asarray(filters / filters.sum(axis=1, keepdims=True))


def _mel(hz: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(2595.0 * np.log10(1.0 + hz / 700.0))
