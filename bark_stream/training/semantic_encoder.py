"""Sound -> semantic tokens: what HuBERT and its quantizer are for Bark, small.

A few convolutions over log-mel frames, one class per frame of 49.9 Hz. Trained on the same alignments as the
stages. Knows no text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bark_stream.training.codec import SAMPLE_RATE_HZ, mel_filters
from bark_stream.training.semantic_tokens import TOKEN_RATE_HZ
from bark_stream.training.shards import Clip

NUM_MELS = 64
WINDOW_SAMPLES = 1024
LOG_FLOOR = 1e-3
IGNORED = -100


@dataclass(frozen=True, kw_only=True, slots=True)
class SemanticEncoderConfig:
    """Sizes of the encoder."""

    num_classes: int
    """Semantic tokens."""
    channels: int = 128
    num_blocks: int = 6
    kernel: int = 9


class SemanticEncoder(nn.Module):
    """Log-mel frames at 49.9 Hz, then depthwise convolutions with residuals, both ways in time."""

    def __init__(self, config: SemanticEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("window", torch.hann_window(WINDOW_SAMPLES), persistent=False)
        self.register_buffer("mel", mel_filters(WINDOW_SAMPLES, NUM_MELS), persistent=False)
        self.first = nn.Conv1d(NUM_MELS, config.channels, 5, padding=2)
        self.blocks = nn.ModuleList(_Block(config.channels, config.kernel) for _ in range(config.num_blocks))
        self.head = nn.Linear(config.channels, config.num_classes)

    def forward(self, features: Tensor) -> Tensor:
        """[B, M, N] from `features` -> [B, N, V] logits."""
        x = self.first(features)
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.head(x.transpose(1, 2))
        return logits

    def features(self, pcm: Tensor) -> Tensor:
        """[B, L] float32 at 24 kHz, -1..1 -> [B, M, N] log-mel around the middle of each token."""
        count = int(pcm.shape[-1] / SAMPLE_RATE_HZ * TOKEN_RATE_HZ)
        middles = ((torch.arange(count) + 0.5) / TOKEN_RATE_HZ * SAMPLE_RATE_HZ).long()
        padded = F.pad(pcm, (WINDOW_SAMPLES // 2, WINDOW_SAMPLES))
        frames = padded[:, middles[:, None] + torch.arange(WINDOW_SAMPLES)[None]] * self.get_buffer("window")
        magnitude = torch.fft.rfft(frames).abs() / (WINDOW_SAMPLES / 4)
        log_mel = torch.log(magnitude @ self.get_buffer("mel").T + LOG_FLOOR).transpose(1, 2)
        # Loudness is not speech: what is left is shape.
        return log_mel - log_mel.mean(dim=(1, 2), keepdim=True)

    @torch.inference_mode()
    def tokens(self, pcm: Tensor) -> Tensor:
        """[B, L] float32 at 24 kHz, -1..1 -> [B, N] int64 semantic tokens."""
        logits: Tensor = self(self.features(pcm))
        return logits.argmax(-1)


class _Block(nn.Module):
    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, channels)
        self.depthwise = nn.Conv1d(channels, channels, kernel, padding=kernel // 2, groups=channels)
        self.widen = nn.Conv1d(channels, 2 * channels, 1)
        self.narrow = nn.Conv1d(2 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.narrow(F.gelu(self.widen(self.depthwise(self.norm(x)))))
        return result


class SemanticEncoderTraining:
    """Losses of semantic encoder training, step by step."""

    def __init__(self, model: SemanticEncoder, clips: list[Clip], batch_size: int = 12, num_tokens: int = 120) -> None:
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


def load_semantic_encoder(config: SemanticEncoderConfig, weights: Mapping[str, Tensor]) -> SemanticEncoder:
    """An encoder with these weights, ready for inference."""
    model = SemanticEncoder(config)
    model.load_state_dict(dict(weights))
    return model.eval().requires_grad_(False)
