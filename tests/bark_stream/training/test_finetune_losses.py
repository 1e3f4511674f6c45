"""What the stages are taught is what inference will ask."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from bark_stream.checkpoint import Checkpoint, build_models
from bark_stream.coarse import CoarseStage
from bark_stream.config import ModelConfig, SamplingConfig
from bark_stream.training.finetune_losses import FinetuneBatch, FinetuneLosses, Heard
from bark_stream.transformer import CausalGPT
from bark_stream.voice import voice_from_codes


def heard(num_semantic: int, config: ModelConfig, seed: int) -> Heard:
    """A recording of so many semantic tokens, made up."""
    rng = np.random.default_rng(seed)
    num_frames = int(num_semantic * config.frames_per_semantic)
    return Heard(
        text=np.zeros(config.semantic.max_text_tokens, np.int64),
        semantic=rng.integers(0, config.semantic.vocab_size, num_semantic),
        codes=rng.integers(0, config.codec.codebook_size, (config.fine.num_codebooks, num_frames)),
    )


def laid_prefixes(recording: Heard, before: Heard, checkpoint: Checkpoint) -> Iterator[list[int]]:
    """Prefixes of all windows in which inference would make the recording's codes, were it said after the other."""
    config, coarse = checkpoint.config, checkpoint.config.coarse
    stage = CoarseStage(build_models(checkpoint).coarse, config, 1)
    offsets = config.semantic.vocab_size + config.codec.codebook_size * np.arange(coarse.num_codebooks)
    codes = np.append(before.codes, recording.codes, axis=1)[: coarse.num_codebooks]
    flat = (codes + offsets[:, None]).T.reshape(-1).tolist()
    voice = voice_from_codes("before", before.semantic, before.codes, config)
    for num_made in range(0, coarse.num_codebooks * recording.codes.shape[1], coarse.sliding_window_len):
        run = stage.begin(voice, sampling=SamplingConfig.greedy(), generator=torch.Generator())
        run.semantic.extend(recording.semantic.tolist())
        spoken = coarse.num_codebooks * before.codes.shape[1]
        # The frame that Suno drops is made once more.
        first = spoken if coarse.is_aligned else spoken - coarse.num_codebooks
        run.tokens.extend(flat[first : first + num_made])
        stage.open_window(run, coarse.sliding_window_len)
        yield [token for _, tokens in run.unlaid for token in tokens]
        stage.end(run)


@pytest.mark.parametrize("is_aligned", [False, True])
def test_finetuned_coarse_windows_are_those_of_inference(
    tiny_checkpoint: Checkpoint, is_aligned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Suno's models are taught as Suno counts, ours as we do: each window's beginning is a prefix that will be laid."""
    config = tiny_checkpoint.config
    config = replace(config, coarse=replace(config.coarse, is_aligned=is_aligned))
    checkpoint = replace(tiny_checkpoint, config=config)
    recording = heard(61, config, seed=0)
    taught: list[Tensor] = []
    embed = CausalGPT.embed

    def watched(model: CausalGPT, tokens: Tensor) -> Tensor:
        taught.append(tokens)
        return embed(model, tokens)

    monkeypatch.setattr(CausalGPT, "embed", watched)
    losses = FinetuneLosses([recording], config, torch.device("cpu"), FinetuneBatch(num_rows=8, alone_share=0.0))
    losses.coarse(build_models(checkpoint).coarse, np.random.default_rng(0))
    prefixes = list(laid_prefixes(recording, recording, checkpoint))
    assert len(prefixes) > 3
    met = [[row[: len(prefix)] == prefix for prefix in prefixes] for row in taught[0].tolist()]
    assert all(any(row) for row in met)
    assert sum(map(any, zip(*met, strict=True))) > 2
