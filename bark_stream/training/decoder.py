"""Training of the codec's decoder alone, on codes as the stages make them. Knows no encoder."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from bark_stream.config import ModelConfig
from bark_stream.training.coarse import CoarseRemake, semantic_slice
from bark_stream.training.codec import (
    HOP_SAMPLES,
    LOUDNESS,
    CodecModel,
    CodecTrainingConfig,
    LogMelDistance,
    pre_emphasised,
)
from bark_stream.training.fine import FineRemake
from bark_stream.training.harmonics import HarmonicDistance
from bark_stream.training.streams import Stream, shares

HISTORY_FRAMES = 32
"""Of true codes, before those that the decoder learns from."""
MADE_FRAMES = 192
"""Frames that the stages make in one go: what the decoder learns from is cut out of them."""
REFRESH_STEPS = 16
"""The stages make a batch of windows once in so many steps, since that costs several of them."""
MAX_KEPT_BATCHES = 24
HARMONIC_WEIGHT = 15.0
"""Beside the weight of the log-mel distance. Codes that are made tell no phase: without this a voice's pulses come at
the frame rate."""
SETTLING_FRAMES = 8
"""First frames of a crop, from which the decoder's memory fills: they are made, and not judged."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Windows:
    """Codes as the decoder is to hear them, and the true sound."""

    codes: Tensor
    """[B, K, MADE_FRAMES] int64."""
    sounds: Tensor
    """[B, MADE_FRAMES * 320] int16."""


class DecoderTraining:
    """Losses of the decoder alone, from codes that no longer change, so that the stages can learn beside it.

    Half of the codes are as both stages make them, a third as the fine stage makes them of true coarse ones, some
    true: the decoder learns which codebooks to believe, and to smooth over the mistakes that it will hear.
    """

    def __init__(
        self,
        model: CodecModel,
        streams: list[Stream],
        sounds: list[npt.NDArray[np.int16]],
        config: ModelConfig,
        training: CodecTrainingConfig,
        *,
        fine: FineRemake | None = None,
        coarse: CoarseRemake | None = None,
    ) -> None:
        """`sounds`: [T * 320 or more] that the streams' codes [K, T] were encoded from."""
        for module in (model.encoder, model.quantizer):
            module.requires_grad_(False)
        self._model = model
        self._streams, self._sounds = streams, sounds
        self._config, self._training = config, training
        self._fine, self._coarse = fine, coarse
        self._distance, self._harmonic_distance = LogMelDistance(), HarmonicDistance()
        self._num_frames = training.crop_samples // HOP_SAMPLES
        lengths = [max(0, s.codes.shape[1] - HISTORY_FRAMES - MADE_FRAMES - 2) for s in streams]
        self._weights = shares(streams, np.array(lengths, np.float64))
        self._kept: deque[_Windows] = deque(maxlen=MAX_KEPT_BATCHES)

    def __call__(self, step: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """Losses of one step: loss, log-mel distance, distance of harmonics, waveform error."""
        if not self._kept or step % REFRESH_STEPS == 0:
            self._kept.append(self._windows(rng))
        codes, sounds = (torch.stack(column) for column in zip(*self._crops(rng), strict=True))
        with torch.no_grad():
            latent = self._model.quantizer.decode(codes.transpose(0, 1))
        settled = slice(SETTLING_FRAMES * HOP_SAMPLES, None)
        true = sounds[:, settled].float() * (LOUDNESS / 32768.0)
        made = self._model.decoder(latent)[:, 0, settled]
        # Codes that are made do not tell the phase: to come near the waveform would be to fall silent.
        _, filled = _num_made(codes)
        wave = F.mse_loss(pre_emphasised(made[filled:]), pre_emphasised(true[filled:])) * (1 - filled / len(codes))
        mel, harmonics = self._distance(made, true), self._harmonic_distance(made, true)
        spectral = self._training.mel_weight * mel + HARMONIC_WEIGHT * harmonics
        return {
            "loss": self._training.wave_weight * wave + spectral,
            "mel": mel,
            "harmonics": harmonics,
            "wave": wave,
        }

    def _crops(self, rng: np.random.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """Codes [K, T] and sound [T * 320], row by row of what is kept: a row's number says how it was made."""
        for row in range(self._training.batch_size):
            windows = self._kept[int(rng.integers(len(self._kept)))]
            first = int(rng.integers(MADE_FRAMES - self._num_frames + 1))
            last = first + self._num_frames
            yield windows.codes[row, :, first:last], windows.sounds[row, first * HOP_SAMPLES : last * HOP_SAMPLES]

    def _windows(self, rng: np.random.Generator) -> _Windows:
        rows = [self._window(rng) for _ in range(self._training.batch_size)]
        semantic, codes, sounds = (torch.from_numpy(np.stack(column)) for column in zip(*rows, strict=True))
        return _Windows(codes=self._heard(semantic, codes), sounds=sounds)

    def _window(
        self, rng: np.random.Generator
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int16]]:
        """Semantic tokens [S], codes [K, H + T] from the same moment on, and the sound [T * 320] of the last T."""
        index = int(rng.choice(len(self._streams), p=self._weights))
        stream = self._streams[index]
        num_frames = HISTORY_FRAMES + MADE_FRAMES
        ratio = self._config.frames_per_semantic
        token = int(rng.integers(0, int((stream.codes.shape[1] - num_frames) / ratio)))
        first = round(token * ratio)
        semantic = semantic_slice(stream, token, self._config)
        codes = stream.codes[:, first : first + num_frames].astype(np.int64)
        sound = self._sounds[index][(first + HISTORY_FRAMES) * HOP_SAMPLES : (first + num_frames) * HOP_SAMPLES]
        return semantic, codes, np.pad(sound, (0, MADE_FRAMES * HOP_SAMPLES - len(sound)))

    def _heard(self, semantic: Tensor, codes: Tensor) -> Tensor:
        """[B, S] and [B, K, H + T] -> [B, K, T] what the decoder is given: three of six by both stages, two by fine."""
        heard = codes.clone()
        drawn, filled = _num_made(codes)
        if self._coarse is not None:
            heard[:drawn] = self._coarse(semantic[:drawn], heard[:drawn], HISTORY_FRAMES)
        if self._fine is not None:
            heard[:filled] = self._fine(heard[:filled], HISTORY_FRAMES)
        return heard[..., HISTORY_FRAMES:]


def _num_made(codes: Tensor) -> tuple[int, int]:
    """Rows of a batch, the first ones, that are for the coarse and for the fine stage to make."""
    return len(codes) // 2, len(codes) * 5 // 6
