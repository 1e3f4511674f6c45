"""Where windows begin: as Suno counts, or both parts at the same moment."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bark_stream.coarse_window import coarse_at, history_spans, window_start
from bark_stream.config import ModelConfig
from bark_stream.training.mini import mini_config

STEP_TOKENS = 2
LENGTHS_TOKENS = range(1, 320, 7)


@pytest.fixture(scope="module")
def aligned() -> ModelConfig:
    """As `mini` is asked."""
    return mini_config()


@pytest.fixture(scope="module")
def suno(aligned: ModelConfig) -> ModelConfig:
    """The same sizes, counted as Suno's models are asked."""
    return replace(aligned, coarse=replace(aligned.coarse, is_aligned=False))


def lags_frames(config: ModelConfig, max_history: int) -> list[float]:
    """By how much the semantic slice begins after the coarse history, in many windows after histories of any length."""
    ratio, codebooks = config.coarse_tokens_per_semantic, config.coarse.num_codebooks
    lags = []
    for num_semantic in LENGTHS_TOKENS:
        num_coarse = codebooks * int(num_semantic * ratio / codebooks)
        semantic, coarse = history_spans(num_semantic, num_coarse, config)
        lengths = semantic.stop - semantic.start, coarse.stop - coarse.start
        for num_made in range(0, 600, STEP_TOKENS):
            first_semantic, first_coarse = window_start(*lengths, num_made, max_history, config)
            assert 0 <= lengths[1] + num_made - first_coarse <= max_history
            assert first_coarse % codebooks == 0 or not config.coarse.is_aligned
            lags.append(((semantic.start + first_semantic) * ratio - coarse.start - first_coarse) / codebooks)
    return lags


@pytest.mark.parametrize("max_history", [300, 150])
def test_aligned_windows_begin_at_the_same_moment(aligned: ModelConfig, max_history: int) -> None:
    """Within half a frame for the history and half a frame for the window, whatever the lengths."""
    assert max(map(abs, lags_frames(aligned, max_history))) <= 1.0


def test_suno_counts_another_way(suno: ModelConfig) -> None:
    """The coarse history begins up to three frames before the semantic slice, and hardly ever after it."""
    lags = lags_frames(suno, 300)
    assert 2.5 < max(lags) < 4.0
    assert sum(lags) / len(lags) > 1.5


def test_aligned_history_ends_with_its_last_frame(aligned: ModelConfig, suno: ModelConfig) -> None:
    """Nothing of a voice is dropped where no frame has to make up for the counting; Suno drops the last one."""
    num_coarse = coarse_at(200, aligned)
    assert history_spans(200, num_coarse, aligned)[1].stop == num_coarse
    assert history_spans(200, num_coarse, suno)[1].stop == num_coarse - 2


def test_short_history_is_seen_whole(aligned: ModelConfig) -> None:
    """What fits is looked back on from its first moment."""
    assert history_spans(40, coarse_at(40, aligned), aligned) == (slice(0, 40), slice(0, coarse_at(40, aligned)))
    assert window_start(40, coarse_at(40, aligned), 60, 300, aligned) == (0, 0)
