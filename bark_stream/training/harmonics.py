"""How far apart the harmonics of two sounds are: single bins of long windows, where mel bands hold several harmonics.

A decoder that hears only of mel bands may put one pulse into each codec frame above some 600 Hz, whatever the pitch:
the bands sound alike. Here they do not. Where in a period a sound is makes no difference. Knows no model.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bark_stream.training.codec import LOG_FLOOR, SAMPLE_RATE_HZ, magnitudes

WINDOWS_SAMPLES = (1024, 2048, 4096)
MAX_HZ = 5_000.0
"""Above it voices are noise."""


class HarmonicDistance(nn.Module):
    """Mean L1 distance of log spectra up to MAX_HZ."""

    def __init__(self) -> None:
        super().__init__()
        for size in WINDOWS_SAMPLES:
            self.register_buffer(f"window_{size}", torch.hann_window(size), persistent=False)

    def forward(self, made: Tensor, true: Tensor) -> Tensor:
        """[B, L] sounds -> scalar."""
        distances = [
            F.l1_loss(self._log_spectrum(made, size), self._log_spectrum(true, size)) for size in WINDOWS_SAMPLES
        ]
        return torch.stack(distances).mean()

    def _log_spectrum(self, sound: Tensor, size: int) -> Tensor:
        num_bins = int(MAX_HZ / SAMPLE_RATE_HZ * size)
        return torch.log(magnitudes(sound, self.get_buffer(f"window_{size}"))[:, :num_bins] + LOG_FLOOR)
