"""What a listener of the stages hears: sound that the fine stage and the decoder make of codes, as an ear's features.

Whoever judges what the coarse stage draws must know such sound when the codes are true. Knows no text.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bark_stream.cloning.mel_encoder import MelEncoder
from bark_stream.config import ModelConfig
from bark_stream.training.codec import CodecModel
from bark_stream.training.fine import FineRemake
from bark_stream.training.streams import Stream, shares

LEVEL = 0.08
"""RMS at which sound is listened to."""
WINDOW_TOKENS = 200
ROWS = 16
"""Windows made at once."""
REFRESH_STEPS = 6
MAX_KEPT_BATCHES = 40
TRUE_SHARE = 0.25
"""Windows whose upper codes are the recording's instead of the fine stage's."""


@dataclass(frozen=True, slots=True)
class Heard:
    """Windows side by side."""

    features: Tensor
    """[B, M, N] see `MelEncoder.features`."""
    tokens: Tensor
    """[B, N] int64 semantic tokens of the same moments."""
    speakers: tuple[int, ...]


class Workshop:
    """The finished stages after the coarse one, as training asks for them."""

    def __init__(self, config: ModelConfig, fine: FineRemake, codec: CodecModel, ear: MelEncoder) -> None:
        self._config = config
        self._fine = fine
        self._codec = codec.eval()
        self._ear = ear

    @torch.no_grad()
    def features(self, codes: Tensor, first_frame: int) -> Tensor:
        """[B, K, T] codes, of which the upper ones are made from `first_frame` on -> [B, M, N]."""
        if first_frame < codes.shape[2]:
            codes = self._fine(codes, first_frame)
        return self.features_of(self._codec.decode(codes)[:, 0].float())

    @torch.no_grad()
    def features_of(self, pcm: Tensor) -> Tensor:
        """[B, L] sound at any level -> [B, M, N]."""
        loudness = pcm.pow(2).mean(1, keepdim=True).sqrt() + 1e-6
        with torch.autocast("cpu", enabled=False):
            return self._ear.features(pcm / loudness * LEVEL)

    @property
    def frames_per_token(self) -> float:
        return self._config.frames_per_semantic


class MadeSound:
    """Windows of true codes as the workshop sounds them; each batch serves for several steps."""

    def __init__(self, streams: list[Stream], workshop: Workshop) -> None:
        self._workshop = workshop
        self._num_frames = round(WINDOW_TOKENS * workshop.frames_per_token) + 1
        self._streams = [s for s in streams if s.codes.shape[1] > self._num_frames]
        self._weights = shares(self._streams, np.array([len(s.semantic) for s in self._streams], np.float64))
        self._kept: deque[Heard] = deque(maxlen=MAX_KEPT_BATCHES)

    def draw(self, step: int, rng: np.random.Generator) -> Heard:
        """One of the batches that were made lately."""
        if not self._kept or step % REFRESH_STEPS == 0:
            self._kept.append(self._made(rng))
        return self._kept[int(rng.integers(len(self._kept)))]

    def _made(self, rng: np.random.Generator) -> Heard:
        chosen = [self._streams[i] for i in rng.choice(len(self._streams), ROWS, p=self._weights)]
        codes, tokens = [], []
        for stream in chosen:
            last = int((stream.codes.shape[1] - self._num_frames) / self._workshop.frames_per_token)
            token = int(rng.integers(0, max(1, min(last, len(stream.semantic) - WINDOW_TOKENS) + 1)))
            first = round(token * self._workshop.frames_per_token)
            codes.append(stream.codes[:, first : first + self._num_frames].astype(np.int64))
            tokens.append(stream.semantic[token : token + WINDOW_TOKENS].astype(np.int64))
        rows = torch.from_numpy(np.stack(codes))
        num_true = round(TRUE_SHARE * ROWS)
        features = torch.cat(
            [self._workshop.features(rows[:num_true], rows.shape[2]), self._workshop.features(rows[num_true:], 0)]
        )
        known = torch.from_numpy(np.stack(tokens))[:, : features.shape[2]]
        return Heard(features[:, :, : known.shape[1]], known, tuple(s.speaker for s in chosen))
