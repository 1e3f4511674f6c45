"""What the coarse codes leave open of the codec's latent, as far as they tell it: its mean, seen from both sides.

Upper codes that are drawn as they are in recordings double the error of the envelope: most of what they say is
chance, new in every frame. The codes nearest to the mean say what can be known and nothing else. They are what the
fine stage learns to make; this model serves training alone. Knows no text.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from bark_stream.config import ModelConfig
from bark_stream.training.codec import DIMENSION, nearest, sum_of_vectors
from bark_stream.training.fine import FineTrainingConfig, Windows, corrupt, init_fine
from bark_stream.training.streams import Stream
from bark_stream.transformer import FineGPT

ERROR_WEIGHT = 0.1
"""Brings the squared error of a frame near one."""
MAX_WRONG = 0.1
"""Largest share of coarse codes that are random, as drawn ones may be; the mean then mends them."""


class LatentMean(nn.Module):
    """Mean of what all codebooks above the coarse ones add up to."""

    vectors: Tensor

    def __init__(self, config: ModelConfig, vectors: Tensor) -> None:
        """Args: vectors: [K, 1024, D] the codec's codebooks."""
        super().__init__()
        self._num_coarse = config.coarse.num_codebooks
        self.gpt = FineGPT(config.fine.transformer, num_codebooks=len(vectors), num_codebooks_given=1)
        init_fine(self.gpt, vectors, seed=1)
        self.out = nn.Linear(config.fine.transformer.hidden_size, DIMENSION)
        nn.init.normal_(self.out.weight, std=0.01)
        nn.init.zeros_(self.out.bias)
        self.register_buffer("vectors", vectors, persistent=False)

    def forward(self, codes: Tensor) -> Tensor:
        """[B, T, K] int64, of which the coarse ones are looked at -> [B, T, D]."""
        return cast(Tensor, self.out(self.gpt.hidden(self._num_coarse - 1, codes)))

    @torch.no_grad()
    def codes(self, codes: Tensor) -> Tensor:
        """[B, T, K] int64 -> the same with the upper codes nearest to the mean, codebook after codebook."""
        made, left = codes.clone(), self(codes)
        for codebook in range(self._num_coarse, len(self.vectors)):
            vectors = self.vectors[codebook]
            found = nearest(left.flatten(0, 1), vectors).view(left.shape[:2])
            made[..., codebook] = found
            left = left - vectors[found]
        return made


class LatentMeanTraining:
    """Squared error of the mean, step by step."""

    def __init__(
        self, model: LatentMean, streams: list[Stream], config: ModelConfig, training: FineTrainingConfig
    ) -> None:
        self._model = model
        self._num_coarse = config.coarse.num_codebooks
        self._num_codes = config.codec.codebook_size
        self._training = training
        self._windows = Windows(streams, training)

    def __call__(self, step: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """Losses of one step: loss, and the squared error that no guess at all would have."""
        num_frames = self._training.draw_length(rng)
        num_rows = max(1, self._training.frames_per_step // num_frames)
        true = np.stack([self._windows.draw(num_frames, rng) for _ in range(num_rows)])
        seen = true.copy()
        corrupt(seen[..., : self._num_coarse], MAX_WRONG, self._num_codes, rng)
        codes, vectors = torch.from_numpy(seen), self._model.vectors
        missing = sum_of_vectors(vectors, torch.from_numpy(true).movedim(-1, 0))
        missing = missing - sum_of_vectors(vectors, codes[..., : self._num_coarse].movedim(-1, 0))
        error = (self._model(codes) - missing).square().sum(-1).mean()
        return {"loss": ERROR_WEIGHT * error, "no_guess": ERROR_WEIGHT * missing.square().sum(-1).mean()}
