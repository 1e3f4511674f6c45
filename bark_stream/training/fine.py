"""Training of the fine stage: the codebooks above the coarse ones, one at a time, seen from both sides.

What it is to make is given: true codes, or those nearest to their mean (`latent_mean`). Windows are short and long,
padded and not, with and without history, because streaming uses all of these. Knows no text.
"""

from __future__ import annotations

from collections.abc import Callable
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
    true_history_share: float = 0.5
    """Histories of true codes, as a voice's are; the others are as the stage itself would have made them."""

    def draw_length(self, rng: np.random.Generator) -> int:
        """Frames of a window; short ones as often as long ones."""
        return int(np.exp(rng.uniform(np.log(self.min_frames), np.log(self.max_frames))))


class Windows:
    """Draws windows of codes: every voice alike, long streams more often than short ones."""

    def __init__(self, streams: list[Stream], training: FineTrainingConfig) -> None:
        self._streams = [s for s in streams if s.codes.shape[1] > training.min_frames]
        self._weights = shares(self._streams, np.array([s.codes.shape[1] for s in self._streams], np.float64))

    def draw(self, num_frames: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """[T, K] codes; the last frame goes on where a stream is shorter."""
        codes = self._streams[int(rng.choice(len(self._streams), p=self._weights))].codes
        first = int(rng.integers(0, max(1, codes.shape[1] - num_frames)))
        window = codes[:, first : first + num_frames].T.astype(np.int64)
        return np.pad(window, ((0, num_frames - len(window)), (0, 0)), mode="edge")


def corrupt(codes: npt.NDArray[np.int64], max_share: float, num_codes: int, rng: np.random.Generator) -> None:
    """Makes a share of the codes random, in place, as drawn ones may be."""
    hit = rng.random(codes.shape) < rng.random() * max_share
    codes[hit] = rng.integers(0, num_codes, int(hit.sum()))


class FineTraining:
    """Losses of fine training, step by step."""

    def __init__(
        self,
        model: FineGPT,
        streams: list[Stream],
        config: ModelConfig,
        training: FineTrainingConfig,
        wanted: Callable[[Tensor], Tensor],
    ) -> None:
        """Args: wanted: true codes [B, T, K] -> the codes that are to be made; the coarse ones stay."""
        self._model = model
        self._config = config
        self._training = training
        self._wanted = wanted
        self._windows = Windows(streams, training)

    def __call__(self, step: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """Losses of one step: loss, and the share of codes that are right."""
        training, config = self._training, self._config
        codebook = int(rng.integers(config.coarse.num_codebooks, config.fine.num_codebooks))
        num_frames = width = training.draw_length(rng)
        if rng.random() < training.padded_share:
            width = min(config.fine.window_frames, num_frames + int(rng.integers(1, 2 * num_frames)))
        num_rows = max(1, training.frames_per_step // width)
        true = np.stack([self._windows.draw(num_frames, rng) for _ in range(num_rows)])
        wanted = self._wanted(torch.from_numpy(true)).numpy()
        rows = [self._row(codebook, *codes, rng) for codes in zip(true, wanted, strict=True)]
        padding = ((0, width - num_frames), (0, 0))
        pad = config.codebook_pad
        codes = torch.from_numpy(np.stack([np.pad(r[0], padding, constant_values=pad) for r in rows]))
        targets = torch.from_numpy(np.stack([np.pad(r[1], padding[0], constant_values=-1) for r in rows])).flatten()
        logits = self._model(codebook, codes, num_codes=config.codec.codebook_size).flatten(0, 1)
        loss = F.cross_entropy(logits, targets, ignore_index=-1)
        with torch.no_grad():
            right = (logits.argmax(-1) == targets)[targets >= 0].float().mean()
        return {"loss": loss, "right": right}

    def _row(
        self,
        codebook: int,
        true: npt.NDArray[np.int64],
        wanted: npt.NDArray[np.int64],
        rng: np.random.Generator,
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Codes [T, K] as the model would find them, and targets [T], -1 in the history."""
        config, training = self._config, self._training
        num_known = 0 if rng.random() < training.no_history_share else int(rng.integers(0, max(1, len(true) - 8)))
        targets = wanted[:, codebook].copy()
        targets[:num_known] = -1
        seen = wanted.copy()
        if rng.random() < training.true_history_share:
            seen[:num_known] = true[:num_known]
        seen[num_known:, codebook:] = config.codebook_pad
        corrupt(seen[:, :codebook], training.max_corrupted, config.codec.codebook_size, rng)
        return seen, targets


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
