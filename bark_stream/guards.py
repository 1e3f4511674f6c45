"""Bark babbles, loops and stalls; these are the limits. Pure: tokens, samples and text in, a decision out.

Each guard is a field of `ChunkPolicy`; the pipeline reports one that fired as an event.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bark_stream.config import ChunkPolicy

SILENCE_RMS = 0.004
"""Below -48 dBFS in a block counts as silence."""
PRE_ROLL_BLOCKS = 2
"""Kept before a stream's first sound."""
MIN_LOOP_TOKENS = 10
"""A shorter phrase that repeats is a held sound, not a loop."""
MAX_LOOP_TOKENS = 150
MIN_LOOP_DISTINCT = 4
"""A loop that says something has at least so many different tokens."""


def budget_s(text: str, policy: ChunkPolicy) -> float | None:
    """The longest that this sentence may last, in seconds; None: no bound but the model's."""
    if policy.max_s_per_character is None:
        return None
    return policy.min_budget_s + policy.max_s_per_character * len(text)


def find_loop(tokens: Sequence[int], max_repeats: int) -> int | None:
    """Length of the phrase that ends `tokens` `max_repeats` times in a row, or None."""
    longest = min(MAX_LOOP_TOKENS, len(tokens) // max_repeats)
    for length in range(MIN_LOOP_TOKENS, longest + 1):
        tail = tokens[-length * max_repeats :]
        if tail[:-length] == tail[length:] and len(set(tail)) >= MIN_LOOP_DISTINCT:
            return length
    return None


@dataclass(slots=True)
class SilenceState:
    has_sounded: bool
    """False: still before the stream's first sound."""
    num_silent_blocks: int = 0
    num_blocks: int = 0
    """Seen so far."""
    dropped_blocks: list[int] = field(default_factory=list)
    """Those of them that are not heard."""


def cut_silence(
    pcm: NDArray[np.float32], state: SilenceState, policy: ChunkPolicy, *, sample_rate_hz: int, block_samples: int
) -> tuple[NDArray[np.float32], str | None]:
    """Drop what is too much of silence: before the first sound, and inside a pause beyond the policy's length.

    Args:
        pcm: [T] whole blocks.
        state: carried from chunk to chunk of a sentence, updated in place.
    Returns: what is left, and the name of the guard that dropped something.
    """
    blocks = pcm.reshape(-1, block_samples)
    loud = np.sqrt(np.mean(np.square(blocks), axis=1)) >= SILENCE_RMS
    max_blocks = math.inf if policy.max_silence_s is None else policy.max_silence_s * sample_rate_hz / block_samples
    keep = np.ones(len(blocks), dtype=bool)
    guard = None
    for index, is_loud in enumerate(loud):
        if is_loud:
            if not state.has_sounded:
                keep[max(0, index - PRE_ROLL_BLOCKS) : index] = True
            state.has_sounded, state.num_silent_blocks = True, 0
            continue
        state.num_silent_blocks += 1
        if not state.has_sounded and policy.trim_leading_silence:
            keep[index], guard = False, guard or "leading_silence"
        elif state.num_silent_blocks > max_blocks:
            keep[index], guard = False, "silence"
    state.dropped_blocks += [state.num_blocks + index for index in np.flatnonzero(~keep).tolist()]
    state.num_blocks += len(blocks)
    return blocks[keep].reshape(-1), guard
