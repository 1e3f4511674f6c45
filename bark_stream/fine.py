"""Coarse codebooks -> all codebooks, by a model that looks both ways.

`fill_whole` is Suno's arithmetic (generation.py, generate_fine): fixed windows of 1,024 frames, 512 frames apart,
over a whole sentence, short ones padded. `fill_next` is the streaming one: one bounded window of history and new
frames, no padding. Keeps nothing between calls: the history is passed in.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bark_stream.config import ModelConfig, SamplingConfig
from bark_stream.sampling import draw
from bark_stream.transformer import FineGPT

Codes = NDArray[np.int64]


class FineStage:
    def __init__(self, model: FineGPT, config: ModelConfig) -> None:
        self._model = model
        self._config = config

    def fill_whole(
        self, coarse: Codes, history: Codes | None, sampling: SamplingConfig, generator: torch.Generator
    ) -> Codes:
        """A whole sentence.

        Args:
            coarse: [num_coarse_codebooks, T].
            history: [num_codebooks, H] what was spoken before, or None; only the last max_history_frames count.
        Returns: [num_codebooks, T].
        """
        config = self._config.fine
        window, stride = config.window_frames, config.max_history_frames
        known = self._unfilled(coarse, history, config.max_history_frames)
        num_history = known.shape[1] - coarse.shape[1]
        num_padding = max(0, window - known.shape[1])
        known = np.pad(known, ((0, 0), (0, num_padding)), constant_values=self._config.codebook_pad)
        codes = torch.from_numpy(known.T.copy())
        num_windows = max(0, math.ceil((coarse.shape[1] - (window - num_history)) / stride)) + 1
        for index in range(num_windows):
            first = min(index * stride, len(codes) - window)
            first_new = min(num_history + index * stride, len(codes) - stride)
            # The view is filled in place: the next window sees what this one made.
            self._fill(codes[first : first + window], first_new - first, sampling, generator)
        filled: Codes = codes.numpy().T[:, num_history : num_history + coarse.shape[1]]
        return filled

    def fill_next(
        self,
        coarse: Codes,
        history: Codes | None,
        window_frames: int,
        sampling: SamplingConfig,
        generator: torch.Generator,
    ) -> Codes:
        """The next frames of a running stream, seen with as much history as the window has room for.

        Args:
            coarse: [num_coarse_codebooks, T], T at most window_frames.
            history: [num_codebooks, H], or None.
            window_frames: of history and new frames together; at most config.window_frames.
        Returns: [num_codebooks, T].
        """
        known = self._unfilled(coarse, history, window_frames - coarse.shape[1])
        codes = torch.from_numpy(known.T.copy())
        self._fill(codes, len(codes) - coarse.shape[1], sampling, generator)
        filled: Codes = codes.numpy().T[:, len(codes) - coarse.shape[1] :]
        return filled

    def _unfilled(self, coarse: Codes, history: Codes | None, max_history: int) -> Codes:
        """[num_codebooks, H + T]: history, then the coarse codes with the rest unknown."""
        num_unknown = self._config.fine.num_codebooks - len(coarse)
        new = np.pad(coarse, ((0, num_unknown), (0, 0)), constant_values=self._config.codebook_pad)
        if history is None or max_history <= 0:
            return new
        return np.hstack([history[:, -max_history:], new])

    @torch.inference_mode()
    def _fill(self, codes: Tensor, first_new: int, sampling: SamplingConfig, generator: torch.Generator) -> None:
        """Draw the codebooks above the coarse ones for frames `first_new` … of `codes` [T, K], lowest first."""
        size = self._config.codec.codebook_size
        for codebook in range(self._config.coarse.num_codebooks, self._config.fine.num_codebooks):
            logits = self._model(codebook, codes[None], num_codes=size, first_frame=first_new)[0]
            codes[first_new:, codebook] = draw(logits, sampling.fine_temperature, sampling, generator)
