"""What names the semantic tokens of a sound: a model's own encoder, or HuBERT with a quantizer."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float32]
"""[N, V] log-probabilities of each frame's semantic token."""


class SemanticTokenizer(Protocol):
    @property
    def name(self) -> str:
        """For provenance."""

    @property
    def num_tokens(self) -> int:
        """Different tokens it can give."""

    def scores(self, pcm: NDArray[np.float32], rate_hz: int) -> Scores:
        """[T] float32 mono, -1 … 1 -> [N, num_tokens] log-probabilities of the tokens, about 49.9 times a second."""
