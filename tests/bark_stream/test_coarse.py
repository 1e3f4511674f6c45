"""Promises of `bark_stream.coarse`: windows that go on in the one before, and prefixes laid in pieces."""

from __future__ import annotations

import pytest
import torch

from bark_stream.checkpoint import Checkpoint, build_models, random_checkpoint
from bark_stream.coarse import CoarseRun, CoarseStage
from bark_stream.config import SamplingConfig
from bark_stream.transformer import MAX_SPAN_POSITIONS
from bark_stream.voice import Voice


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return random_checkpoint("tiny", seed=6)


@pytest.fixture(scope="module")
def stage(checkpoint: Checkpoint) -> CoarseStage:
    return CoarseStage(build_models(checkpoint).coarse, checkpoint.config, 2)


@pytest.fixture(scope="module")
def voice(checkpoint: Checkpoint) -> Voice:
    return checkpoint.voices.get("en_speaker_0")


def begin(stage: CoarseStage, voice: Voice, num_semantic: int) -> CoarseRun:
    run = stage.begin(voice, sampling=SamplingConfig.greedy(), generator=torch.Generator())
    know(run, num_semantic)
    return run


def know(run: CoarseRun, num_semantic: int) -> None:
    known = len(run.semantic) - run.num_semantic_history
    run.semantic.extend((index * 37) % 100 for index in range(known, num_semantic))


def window(stage: CoarseStage, run: CoarseRun, num_tokens: int, *, reuse_prefix: bool) -> int:
    """Makes a window's tokens; returns the number of steps."""
    num_steps = 0
    stage.open_window(run, num_tokens, reuse_prefix=reuse_prefix)
    while run.is_window_open:
        stage.step([run])
        num_steps += 1
    return num_steps


def test_coarse_window_that_goes_on_equals_one_long_window(stage: CoarseStage, voice: Voice) -> None:
    """Where every semantic token was known from the start, nothing shifts: two windows make what one would."""
    twice, once = begin(stage, voice, 30), begin(stage, voice, 30)
    assert window(stage, twice, 20, reuse_prefix=True) > 20
    assert window(stage, twice, 20, reuse_prefix=True) == 20
    window(stage, once, 40, reuse_prefix=True)
    stage.end(twice)
    stage.end(once)
    assert twice.tokens == once.tokens


def test_coarse_window_that_goes_on_lays_new_semantic_tokens(stage: CoarseStage, voice: Voice) -> None:
    """Semantic tokens that became known take the place of padding, as if they had been there from the start."""
    late, early = begin(stage, voice, 8), begin(stage, voice, 30)
    for run in (late, early):
        window(stage, run, 10, reuse_prefix=True)
        know(run, 30)
        window(stage, run, 2, reuse_prefix=True)
    slots = [run.slot for run in (late, early)]
    num_semantic = min(len(late.semantic) - late.first_semantic, 48)
    keys = [stage.cache.keys[:, slot, :, :num_semantic] for slot in slots]
    stage.end(late)
    stage.end(early)
    torch.testing.assert_close(keys[0], keys[1])


def test_coarse_prefix_is_laid_anew_where_room_ends(stage: CoarseStage, voice: Voice) -> None:
    """However many windows follow each other, none leaves the context window or loses its semantic tokens."""
    run = begin(stage, voice, 150)
    laid = [window(stage, run, 20, reuse_prefix=True) - 20 for _ in range(12)]
    stage.end(run)
    assert len(run.tokens) == 240
    assert laid[0] > 0
    assert 0 < sum(num > 0 for num in laid[1:]) < 11


def test_coarse_prefix_in_pieces(stage: CoarseStage, voice: Voice) -> None:
    """A prefix takes as many steps as it has pieces, and the last of them draws the first token."""
    run = begin(stage, voice, 30)
    stage.open_window(run, 10)
    num_positions = sum(len(tokens) for _, tokens in run.unlaid)
    for _ in range(-(-num_positions // MAX_SPAN_POSITIONS)):
        assert not run.tokens
        stage.step([run])
    stage.end(run)
    assert len(run.tokens) == 1
