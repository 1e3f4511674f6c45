"""How codes become flat coarse tokens, and where a window of the coarse stage begins in these and in semantic ones.

Suno's counting (generation.py, generate_coarse) takes both from the end, each rounded by itself and the history
without its last frame, so the coarse history begins up to three frames before the semantic slice; Suno's weights have
learned it. Models that say so (`CoarseConfig.is_aligned`) get both from the same moment. Whoever teaches the stage
must count as it will be asked. Knows no model.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bark_stream.config import ModelConfig


def history_spans(num_semantic: int, num_coarse: int, config: ModelConfig) -> tuple[slice, slice]:
    """What windows look back on of so many semantic tokens and flattened coarse tokens of the same seconds."""
    ratio, coarse = config.coarse_tokens_per_semantic, config.coarse
    longest = math.floor(coarse.max_history_tokens / ratio)
    if coarse.is_aligned:
        end = min(num_semantic, math.ceil(num_coarse / ratio))
        first = max(0, end - longest)
        return slice(first, end), slice(coarse_at(first, config), min(num_coarse, coarse_at(end, config)))
    kept = min(longest, num_semantic - num_semantic % 2, math.floor(num_coarse / ratio))
    first = num_coarse - round(kept * ratio)
    # Suno drops the last frame of the history: "hack for time alignment (sounds better)".
    return slice(num_semantic - kept, num_semantic), slice(first, max(first, num_coarse - coarse.num_codebooks))


def window_start(
    num_semantic_history: int, num_coarse_history: int, num_made: int, max_history: int, config: ModelConfig
) -> tuple[int, int]:
    """The first semantic and the first coarse token that a window sees, both counted from the start of the history.

    Args:
        num_made: coarse tokens of the sentence before the window.
        max_history: coarse tokens that the window looks back on.
    """
    ratio, num_coarse = config.coarse_tokens_per_semantic, num_coarse_history + num_made
    if not config.coarse.is_aligned:
        now = num_semantic_history + round(num_made / ratio)
        return max(0, now - math.floor(max_history / ratio)), max(0, num_coarse - max_history)
    # One more, because the moment is rounded to a whole frame.
    first = max(0, math.ceil((num_coarse - max_history + 1) / ratio))
    return first, coarse_at(first, config)


def coarse_at(num_semantic: int, config: ModelConfig) -> int:
    """Flattened coarse tokens, as whole frames, that the moment after so many semantic tokens is nearest to."""
    codebooks = config.coarse.num_codebooks
    return codebooks * round(num_semantic * config.coarse_tokens_per_semantic / codebooks)


def flat_codes(codes: NDArray[np.int64], config: ModelConfig) -> NDArray[np.int64]:
    """[..., K, T] codes -> [..., T · K] the coarse stage's tokens, frame by frame, each codebook in rows of its own."""
    starts = config.semantic.vocab_size + config.codec.codebook_size * np.arange(codes.shape[-2])
    flat: NDArray[np.int64] = (codes + starts[:, None]).swapaxes(-1, -2).reshape(*codes.shape[:-2], -1)
    return flat
