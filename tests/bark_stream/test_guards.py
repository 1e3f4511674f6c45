"""Promises of `bark_stream.guards`: what bounds a sentence."""

from __future__ import annotations

import numpy as np

from bark_stream.config import ChunkPolicy
from bark_stream.guards import PRE_ROLL_BLOCKS, SilenceState, budget_s, cut_silence, find_loop

BLOCK = 320
POLICY = ChunkPolicy(max_silence_s=1.0)


def pcm_of(pattern: str) -> np.ndarray:
    """`s` is a loud block, `.` a silent one."""
    loud = np.full(BLOCK, 0.1, dtype=np.float32)
    return np.concatenate([loud if mark == "s" else np.zeros(BLOCK, dtype=np.float32) for mark in pattern])


def cut(pattern: str, state: SilenceState, policy: ChunkPolicy = POLICY) -> tuple[int, str | None]:
    pcm, guard = cut_silence(pcm_of(pattern), state, policy, sample_rate_hz=24000, block_samples=BLOCK)
    return len(pcm) // BLOCK, guard


def test_budget_grows_with_the_text() -> None:
    """A longer text may last longer; without the guard there is no bound."""
    policy = ChunkPolicy(max_s_per_character=0.2, min_budget_s=2.0)
    assert budget_s("a" * 10, policy) == 4.0
    assert budget_s("a" * 10, ChunkPolicy(max_s_per_character=None)) is None


def test_find_loop_repeated_phrase() -> None:
    """A phrase said again and again is found; the same phrase said fewer times is not."""
    phrase = list(range(20))
    assert find_loop([7, 7, *phrase * 4], 4) == 20
    assert find_loop([7, 7, *phrase * 3], 4) is None


def test_find_loop_held_sound_is_none() -> None:
    """One token held for long, as silence and vowels are, is no loop."""
    assert find_loop([3] * 200, 4) is None


def test_cut_silence_before_first_sound() -> None:
    """Silence before a stream's first sound goes, but for a short pre-roll."""
    state = SilenceState(has_sounded=False)
    assert cut(".....", state) == (0, "leading_silence")
    assert cut("....s.s", state) == (3 + PRE_ROLL_BLOCKS, "leading_silence")
    assert state.has_sounded


def test_cut_silence_long_pause_over_chunks() -> None:
    """A pause is cut to the limit though it spans chunks; what follows is whole."""
    state = SilenceState(has_sounded=True)
    assert cut("s" + "." * 50, state) == (51, None)
    assert cut("." * 50, state) == (25, "silence")
    assert cut("ss.s", state) == (4, None)


def test_cut_silence_guards_off_changes_nothing() -> None:
    """With both guards off every sample passes."""
    off = ChunkPolicy(max_silence_s=None, trim_leading_silence=False)
    assert cut("." * 300 + "s", SilenceState(has_sounded=False), off) == (301, None)
