"""Training of a model's ear (`cloning.mel_encoder`) on the same alignments as its stages."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from bark_stream.cloning.mel_encoder import SAMPLE_RATE_HZ, TOKEN_RATE_HZ, MelEncoder
from bark_stream.training.shards import Clip

IGNORED = -100


class SemanticEncoderTraining:
    """Losses of semantic encoder training, step by step."""

    def __init__(self, model: MelEncoder, clips: list[Clip], batch_size: int = 12, num_tokens: int = 120) -> None:
        self._model = model
        self._clips = [c for c in clips if len(c.pcm)]
        self._batch_size = batch_size
        self._num_tokens = num_tokens

    def __call__(self, step: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """Losses of one step: cross-entropy, and the share of tokens that are right."""
        rows = [self._crop(rng) for _ in range(self._batch_size)]
        pcm = torch.from_numpy(np.stack([r[0] for r in rows]))
        wanted = torch.from_numpy(np.stack([r[1] for r in rows])).flatten()
        logits = self._model(self._model.features(pcm))[:, : self._num_tokens].flatten(0, 1)
        loss = F.cross_entropy(logits, wanted, ignore_index=IGNORED)
        with torch.no_grad():
            right = (logits.argmax(-1) == wanted)[wanted != IGNORED].float().mean()
        return {"loss": loss, "right": right}

    def _crop(self, rng: np.random.Generator) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        clip = self._clips[int(rng.integers(len(self._clips)))]
        first = int(rng.integers(0, max(1, len(clip.tokens) - self._num_tokens)))
        tokens = clip.tokens[first : first + self._num_tokens].astype(np.int64)
        start = round(first / TOKEN_RATE_HZ * SAMPLE_RATE_HZ)
        length = int((self._num_tokens + 1) / TOKEN_RATE_HZ * SAMPLE_RATE_HZ)
        pcm = clip.pcm[start : start + length].astype(np.float32) / 32768.0
        pcm = np.pad(pcm, (0, length - len(pcm))) * rng.uniform(0.3, 1.5)
        pcm += rng.normal(0.0, 10 ** rng.uniform(-4.5, -2.5), length)
        missing = self._num_tokens - len(tokens)
        return pcm.astype(np.float32), np.pad(tokens, (0, missing), constant_values=IGNORED)
