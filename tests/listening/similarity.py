"""How much two clips sound like one speaker: cosine of resemblyzer's embeddings."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from bark_stream.resample import resample

RATE_HZ = 16_000
RMS = 0.03


class SpeakerEar:
    """Resemblyzer's encoder."""

    def __init__(self) -> None:
        # Its voice activity detector is imported but not needed here, and wants a module that setuptools has dropped.
        sys.modules.setdefault("webrtcvad", ModuleType("webrtcvad"))
        from resemblyzer import VoiceEncoder

        self._encoder = VoiceEncoder("cpu", verbose=False)

    def embed(self, pcm: NDArray[np.float32], rate_hz: int) -> NDArray[np.float32]:
        """[T] mono -> [256] of length 1."""
        sound = resample(pcm, rate_hz, RATE_HZ)
        sound = sound * (RMS / max(1e-6, float(np.sqrt(np.mean(sound**2)))))
        embedding: NDArray[np.float32] = self._encoder.embed_utterance(sound.astype(np.float32))
        return embedding
