"""Sound -> semantic tokens: what HuBERT and its quantizer are for Bark, small.

A few convolutions over log-mel frames, one class per frame of 49.9 Hz. Trained on the same alignments as the stages of
the model it lies beside. Knows no text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from bark_stream.checkpoint.folder import ENCODER
from bark_stream.checkpoint.mapped_file import MappedFile
from bark_stream.errors import CheckpointError
from bark_stream.mel import mel_filters
from bark_stream.resample import resample

SAMPLE_RATE_HZ = 24_000
TOKEN_RATE_HZ = 49.9
NUM_MELS = 64
WINDOW_SAMPLES = 1024
LOG_FLOOR = 1e-3


@dataclass(frozen=True, kw_only=True, slots=True)
class MelEncoderConfig:
    """Sizes of the encoder."""

    num_classes: int
    """Semantic tokens."""
    channels: int = 128
    num_blocks: int = 6
    kernel: int = 9


class MelEncoder(nn.Module):
    """Log-mel frames at 49.9 Hz, then depthwise convolutions with residuals, both ways in time."""

    def __init__(self, config: MelEncoderConfig) -> None:
        super().__init__()
        self.config = config
        mel = torch.from_numpy(mel_filters(WINDOW_SAMPLES, NUM_MELS, SAMPLE_RATE_HZ)).float()
        self.register_buffer("window", torch.hann_window(WINDOW_SAMPLES), persistent=False)
        self.register_buffer("mel", mel, persistent=False)
        self.first = nn.Conv1d(NUM_MELS, config.channels, 5, padding=2)
        self.blocks = nn.ModuleList(_Block(config.channels, config.kernel) for _ in range(config.num_blocks))
        self.head = nn.Linear(config.channels, config.num_classes)

    @property
    def name(self) -> str:
        return "the model's own"

    @property
    def num_tokens(self) -> int:
        return self.config.num_classes

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
    def scores(self, pcm: NDArray[np.float32], rate_hz: int) -> NDArray[np.float32]:
        """[T] float32 mono, -1 … 1 -> [N, V] log-probabilities of the semantic tokens."""
        sound = torch.from_numpy(resample(pcm, rate_hz, SAMPLE_RATE_HZ))[None]
        return np.asarray(self(self.features(sound))[0].log_softmax(-1).numpy())


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


def load_mel_encoder(folder: Path) -> MelEncoder:
    """The encoder that lies beside a model.

    Raises: CheckpointError if there is none, or its tensors are not an encoder's.
    """
    path = folder / ENCODER
    if not path.exists():
        raise CheckpointError(str(folder), f"holds no {ENCODER}, so it cannot hear; give HuBERT and a quantizer")
    return mel_encoder({name: tensor.float() for name, tensor in MappedFile(path).items()}, str(path))


def mel_encoder(weights: Mapping[str, Tensor], source: str) -> MelEncoder:
    """An encoder with these weights, of the sizes they have, ready for inference.

    Raises: CheckpointError if they are not an encoder's.
    """
    try:
        config = MelEncoderConfig(
            num_classes=len(weights["head.bias"]),
            channels=len(weights["first.bias"]),
            num_blocks=sum(name.endswith("depthwise.weight") for name in weights),
            kernel=weights["blocks.0.depthwise.weight"].shape[-1],
        )
        model = MelEncoder(config)
        model.load_state_dict(dict(weights))
    except (KeyError, IndexError, RuntimeError) as exc:
        raise CheckpointError(source, f"is no semantic encoder: {exc}") from exc
    return model.eval().requires_grad_(False)
