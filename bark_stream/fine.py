"""Coarse codebooks -> all codebooks, by a model that looks both ways; one pass (a codebook of a window) at a time.

`begin_whole` is Suno's arithmetic (generation.py, generate_fine): fixed windows of 1,024 frames, 512 frames apart,
over a whole sentence, short ones padded. `begin_next` is the streaming one: one bounded window of history and new
frames, no padding. Knows no schedule, and keeps nothing of what was spoken: the history is passed in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bark_stream.config import ModelConfig, SamplingConfig
from bark_stream.sampling import draw
from bark_stream.transformer import FineGPT

Codes = NDArray[np.int64]


@dataclass(slots=True)
class FineRun:
    """Frames on their way to all codebooks."""

    codes: Tensor
    """[T, K] int64: history, new frames, padding; what is not known holds the pad code."""
    num_history: int
    num_new: int
    windows: list[tuple[int, int]]
    """(first frame, first frame to fill) of the windows not yet filled."""
    window_frames: int
    codebook: int
    """The next to be drawn in the first of the windows."""
    sampling: SamplingConfig
    generator: torch.Generator

    @property
    def is_finished(self) -> bool:
        return not self.windows

    @property
    def new_codes(self) -> Codes:
        """[num_codebooks, T] of the new frames, complete once the run is finished."""
        codes: Codes = self.codes.numpy().T[:, self.num_history : self.num_history + self.num_new]
        return codes


class FineStage:
    def __init__(self, model: FineGPT, config: ModelConfig) -> None:
        self._model = model
        self._config = config

    def begin_whole(
        self, coarse: Codes, history: Codes | None, sampling: SamplingConfig, generator: torch.Generator
    ) -> FineRun:
        """A whole sentence.

        Args:
            coarse: [num_coarse_codebooks, T].
            history: [num_codebooks, H] what was spoken before, or None; only the last max_history_frames count.
        """
        config = self._config.fine
        window, stride = config.window_frames, config.max_history_frames
        known = self._unfilled(coarse, history, config.max_history_frames)
        num_history = known.shape[1] - coarse.shape[1]
        num_padding = max(0, window - known.shape[1])
        known = np.pad(known, ((0, 0), (0, num_padding)), constant_values=self._config.codebook_pad)
        num_frames = known.shape[1]
        num_windows = max(0, math.ceil((coarse.shape[1] - (window - num_history)) / stride)) + 1
        windows = [
            (min(index * stride, num_frames - window), min(num_history + index * stride, num_frames - stride))
            for index in range(num_windows)
        ]
        return self._run(known, num_history, coarse.shape[1], windows, window, sampling, generator)

    def begin_next(
        self,
        coarse: Codes,
        history: Codes | None,
        num_history: int,
        sampling: SamplingConfig,
        generator: torch.Generator,
    ) -> FineRun:
        """The next frames of a running stream.

        Args:
            coarse: [num_coarse_codebooks, T], T at most config.window_frames.
            history: [num_codebooks, H], or None; what there is no room for in the window is not seen.
            num_history: frames of it to look back on.
        """
        room = self._config.fine.window_frames - coarse.shape[1]
        known = self._unfilled(coarse, history, min(num_history, room))
        num_seen = known.shape[1] - coarse.shape[1]
        return self._run(known, num_seen, coarse.shape[1], [(0, num_seen)], known.shape[1], sampling, generator)

    @torch.inference_mode()
    def step(self, run: FineRun) -> None:
        """Draw one codebook of one window, the lowest that is not known."""
        first, first_new = run.windows[0]
        # A view: the next window sees what this one made.
        window = run.codes[first : first + run.window_frames]
        codes = window[None].to(self._model.device)
        logits = self._model(
            run.codebook, codes, num_codes=self._config.codec.codebook_size, first_frame=first_new - first
        )[0]
        window[first_new - first :, run.codebook] = torch.from_numpy(
            draw(logits.cpu().numpy(), run.sampling.fine_temperature, run.sampling, run.generator)
        )
        run.codebook += 1
        if run.codebook == self._config.fine.num_codebooks:
            run.codebook = self._config.coarse.num_codebooks
            run.windows.pop(0)

    def finish(self, run: FineRun) -> Codes:
        """All passes that are left: [num_codebooks, T] of the new frames."""
        while not run.is_finished:
            self.step(run)
        return run.new_codes

    def _unfilled(self, coarse: Codes, history: Codes | None, max_history: int) -> Codes:
        """[num_codebooks, H + T]: history, then the coarse codes with the rest unknown."""
        num_unknown = self._config.fine.num_codebooks - len(coarse)
        new = np.pad(coarse, ((0, num_unknown), (0, 0)), constant_values=self._config.codebook_pad)
        if history is None or max_history <= 0:
            return new
        return np.hstack([history[:, -max_history:], new])

    def _run(
        self,
        known: Codes,
        num_history: int,
        num_new: int,
        windows: list[tuple[int, int]],
        window_frames: int,
        sampling: SamplingConfig,
        generator: torch.Generator,
    ) -> FineRun:
        return FineRun(
            codes=torch.from_numpy(known.T.copy()),
            num_history=num_history,
            num_new=num_new,
            windows=windows,
            window_frames=window_frames,
            codebook=self._config.coarse.num_codebooks,
            sampling=sampling,
            generator=generator,
        )
