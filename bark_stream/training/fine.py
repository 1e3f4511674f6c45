"""Training of the fine stage: the codebooks above the coarse ones, one at a time, seen from both sides.

Windows are short and long, padded and not, with and without history, because streaming uses all of these. Knows
no text.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from bark_stream.config import ModelConfig
from bark_stream.training.gpt import init_gpt
from bark_stream.training.streams import Stream, shares
from bark_stream.transformer import FineGPT


@dataclass(frozen=True, kw_only=True, slots=True)
class FineTrainingConfig:
    """What a step of fine training sees."""

    frames_per_step: int = 2048
    """Frames of a batch, padding included."""
    min_frames: int = 32
    max_frames: int = 384
    padded_share: float = 0.2
    """Batches padded with unknown codes to some longer window."""
    no_history_share: float = 0.25
    """Rows that begin with unknown codes."""
    max_corrupted: float = 0.15
    """Largest share of frames whose given codes are partly random, as drawn ones are."""


class FineTraining:
    """Losses of fine training, step by step."""

    def __init__(
        self, model: FineGPT, streams: list[Stream], config: ModelConfig, training: FineTrainingConfig
    ) -> None:
        self._model = model
        self._config = config
        self._training = training
        self._streams = [s for s in streams if s.codes.shape[1] > training.min_frames]
        self._weights = shares(self._streams, np.array([s.codes.shape[1] for s in self._streams], np.float64))

    def __call__(self, step: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """Losses of one step: loss, and the share of codes that are right."""
        training, config = self._training, self._config
        codebook = int(rng.integers(config.coarse.num_codebooks, config.fine.num_codebooks))
        num_frames = int(np.exp(rng.uniform(np.log(training.min_frames), np.log(training.max_frames))))
        width = num_frames
        if rng.random() < training.padded_share:
            width = min(config.fine.window_frames, num_frames + int(rng.integers(1, 2 * num_frames)))
        rows = [self._row(codebook, num_frames, rng) for _ in range(max(1, training.frames_per_step // width))]
        padding = ((0, width - num_frames), (0, 0))
        pad = config.codebook_pad
        codes = torch.from_numpy(np.stack([np.pad(r[0], padding, constant_values=pad) for r in rows]))
        targets = torch.from_numpy(np.stack([np.pad(r[1], padding[0], constant_values=-1) for r in rows]))
        logits = self._model(codebook, codes, num_codes=config.codec.codebook_size).flatten(0, 1)
        wanted = targets.flatten()
        loss = F.cross_entropy(logits, wanted, ignore_index=-1)
        with torch.no_grad():
            right = (logits.argmax(-1) == wanted)[wanted >= 0].float().mean()
        return {"loss": loss, "right": right}

    def _row(
        self, codebook: int, num_frames: int, rng: np.random.Generator
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Codes [T, K] as the model would find them, and targets [T], -1 in the history."""
        config, training = self._config, self._training
        stream = self._streams[int(rng.choice(len(self._streams), p=self._weights))]
        first = int(rng.integers(0, max(1, stream.codes.shape[1] - num_frames)))
        codes = stream.codes[:, first : first + num_frames].T.astype(np.int64)
        num_known = 0 if rng.random() < training.no_history_share else int(rng.integers(0, max(1, len(codes) - 8)))
        targets = codes[:, codebook].copy()
        targets[:num_known] = -1
        seen = codes.copy()
        seen[num_known:, codebook:] = config.codebook_pad
        hit = rng.random(seen[:, :codebook].shape) < rng.random() * training.max_corrupted
        seen[:, :codebook][hit] = rng.integers(0, config.codec.codebook_size, int(hit.sum()))
        missing = num_frames - len(codes)
        return (
            np.pad(seen, ((0, missing), (0, 0)), constant_values=config.codebook_pad),
            np.pad(targets, (0, missing), constant_values=-1),
        )


class FineRemake:
    """True codes with the upper codebooks as the model makes them, all rows at once."""

    def __init__(self, model: FineGPT, config: ModelConfig) -> None:
        self._model = model.eval()
        self._config = config

    @torch.inference_mode()
    def __call__(self, codes: Tensor, first_frame: int) -> Tensor:
        """[B, K, T] true codes -> [B, K, T] int64, those from `first_frame` on remade."""
        config = self._config
        made = codes.transpose(1, 2).clone()
        made[:, first_frame:, config.coarse.num_codebooks :] = config.codebook_pad
        for codebook in range(config.coarse.num_codebooks, config.fine.num_codebooks):
            logits = self._model(codebook, made, num_codes=config.codec.codebook_size, first_frame=first_frame)
            logits = logits / config.sampling.fine_temperature
            drawn = torch.multinomial(logits.softmax(-1).flatten(0, 1), 1)
            made[:, first_frame:, codebook] = drawn.view(logits.shape[:2])
        return made.transpose(1, 2)


def init_fine(model: FineGPT, codebooks: Tensor | None, seed: int) -> None:
    """Suno's initialisation; like codes start alike.

    Args:
        codebooks: [K, 1024, D] the codec's code vectors, or None.
    """
    generator = torch.Generator().manual_seed(seed)
    init_gpt(model, generator)
    if codebooks is None:
        return
    size = model.config.hidden_size
    scale = codebooks[0].std().clamp(min=1e-6)
    with torch.no_grad():
        mixing = torch.empty(codebooks.shape[2], size).normal_(0.0, codebooks.shape[2] ** -0.5, generator=generator)
        for index, vectors in enumerate(codebooks):
            table = model.get_parameter(f"transformer.wtes.{index}.weight")
            # Vectors of all codebooks add up in the codec, so one mixing serves them all.
            whitened = vectors / (vectors.std().clamp(min=1e-6) * scale).sqrt()
            table[: len(vectors)] += 0.04 * whitened @ mixing
