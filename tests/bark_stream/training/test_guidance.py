"""What a guide says, who learns it, and what a stage without semantic tokens is shown."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from bark_stream.config import ModelConfig
from bark_stream.training.coarse import CoarseTraining, CoarseTrainingConfig, coarse_hidden, codebook_rows, redrawn
from bark_stream.training.gpt import init_gpt
from bark_stream.training.guidance import CoarseGuide, GuidedCoarseTraining
from bark_stream.training.mini import NUM_SEMANTIC
from bark_stream.training.streams import Stream
from bark_stream.training.voices import VOICES
from bark_stream.transformer import CausalGPT


@pytest.fixture(scope="module")
def streams() -> list[Stream]:
    """Random tokens and codes of all voices."""
    rng = np.random.default_rng(0)
    return [
        Stream(
            speaker=speaker,
            semantic=rng.integers(0, NUM_SEMANTIC, 200).astype(np.int16),
            codes=rng.integers(0, 1024, (8, 300)).astype(np.int16),
            starts=np.array([0, 120], np.int32),
        )
        for speaker in VOICES
    ]


def _model(config: ModelConfig, seed: int) -> CausalGPT:
    model = CausalGPT(config.coarse.transformer)
    init_gpt(model, torch.Generator().manual_seed(seed))
    with torch.no_grad():
        # Sure enough of something that two models differ.
        model.lm_head.weight.mul_(20.0)
    return model


def _windows(
    model: CausalGPT, config: ModelConfig, streams: list[Stream], training: CoarseTrainingConfig
) -> CoarseTraining:
    return CoarseTraining(model, streams, config, training, torch.randn(8, 1024, 128))


def test_guide_moves_away_from_what_is_said_without_semantic_tokens(config: ModelConfig) -> None:
    """Weight 1 is the model itself; 3 adds twice what the semantic tokens made of it."""
    conditional, unconditional = _model(config, 1), _model(config, 2)
    rows = codebook_rows(config, 1)
    hidden = (torch.randn(5, 32), torch.randn(5, 32))
    said = conditional.logits(hidden[0], rows).log_softmax(-1).detach()
    unsaid = unconditional.logits(hidden[1], rows).log_softmax(-1).detach()
    assert torch.allclose(CoarseGuide(conditional, unconditional, 1.0).log_probs(hidden, rows), said, atol=1e-5)
    guided = CoarseGuide(conditional, unconditional, 3.0).log_probs(hidden, rows)
    assert torch.allclose(guided.exp().sum(-1), torch.ones(5), atol=1e-5)
    wanted = said + 2 * (said - unsaid)
    assert torch.allclose(guided - guided[:, :1], wanted - wanted[:, :1], atol=1e-4)


def test_unconditional_stage_is_shown_no_semantic_tokens(config: ModelConfig, streams: list[Stream]) -> None:
    """Padding alone, some of it or all; codes and what is to be learned are there as ever."""
    training = CoarseTrainingConfig(is_unconditional=True, batch_size=2)
    windows = _windows(_model(config, 1), config, streams, training)
    lengths = set()
    for seed in range(12):
        batch = windows.batch(np.random.default_rng(seed))
        assert (batch.semantic == config.coarse.semantic_pad_token).all()
        assert (batch.targets >= 0).any()
        lengths.add(len(batch.slots))
    assert max(lengths) == config.coarse.max_semantic_tokens
    assert 1 <= min(lengths) <= 8


def test_guide_without_semantic_tokens_hears_the_same_whatever_is_said(
    config: ModelConfig, streams: list[Stream]
) -> None:
    """Other semantic tokens move what is said with them, and nothing else."""
    guide = CoarseGuide(_model(config, 1), _model(config, 2))
    windows = _windows(guide.conditional, config, streams, CoarseTrainingConfig(batch_size=2))
    batch = windows.batch(np.random.default_rng(3))
    other = batch._replace(semantic=(batch.semantic + 1) % NUM_SEMANTIC)
    said, unsaid = guide.hidden(batch, config, np.random.default_rng(4))
    others_said, others_unsaid = guide.hidden(other, config, np.random.default_rng(4))
    assert not torch.allclose(said, others_said, atol=1e-3)
    assert torch.equal(unsaid, others_unsaid)


def test_guided_stage_learns_what_its_guide_says(config: ModelConfig, streams: list[Stream]) -> None:
    """Away from a model that knows nothing means twice as sure: logits twice as large. The guide stays as it is."""
    guide = CoarseGuide(_model(config, 1), _model(config, 2))
    torch.nn.init.zeros_(guide.unconditional.lm_head.weight)
    before = [parameter.clone() for parameter in guide.conditional.parameters()]
    student = _model(config, 1)
    windows = _windows(student, config, streams, CoarseTrainingConfig(batch_size=2, min_frames=20, max_frames=40))
    training = GuidedCoarseTraining(student, guide, windows, config)
    gain = student.get_parameter("transformer.ln_f.weight")
    optimiser = torch.optim.Adam([gain], 0.05)
    for step in range(60):
        losses = training(step, np.random.default_rng(step))
        optimiser.zero_grad()
        losses["loss"].backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert gain.detach().mean().item() == pytest.approx(2.0, abs=0.1)
    assert losses["loss"].item() < 0.02
    assert all(torch.equal(a, b) for a, b in zip(before, guide.conditional.parameters(), strict=True))


def test_guide_of_the_same_models_says_what_the_stage_says(config: ModelConfig, streams: list[Stream]) -> None:
    """With weight 1 the beginner is already there: the distance is nothing, whatever codes it is shown."""
    model = _model(config, 1)
    windows = _windows(model, config, streams, CoarseTrainingConfig(batch_size=2))
    training = GuidedCoarseTraining(model, CoarseGuide(model, _model(config, 2), 1.0), windows, config)
    losses = training(0, np.random.default_rng(5))
    assert abs(losses["loss"].item()) < 1e-5
    assert losses.keys() == {"loss", "codebook_0", "codebook_1"}


def test_own_codes_are_drawn_after_those_before_them(config: ModelConfig, streams: list[Stream]) -> None:
    """In the places asked for and no others; the second code after the first one that was just drawn."""
    sampling = dataclasses.replace(config.sampling, waveform_temperature=1e-6)
    sure = dataclasses.replace(config, sampling=sampling)
    model = _model(config, 1)
    windows = _windows(model, config, streams, CoarseTrainingConfig(batch_size=2, own_share=0.0))
    batch = windows.batch(np.random.default_rng(6))
    where = torch.zeros(2, batch.inputs.shape[1] // 2, dtype=torch.bool)
    assert torch.equal(redrawn(model, sure, batch.semantic, batch.slots, batch.inputs, where), batch.inputs)
    where[1, 30] = True
    made = redrawn(model, sure, batch.semantic, batch.slots, batch.inputs, where)
    changed = (made != batch.inputs).nonzero().tolist()
    assert changed == [[1, 60], [1, 61]]
    for codebook in (0, 1):
        hidden = coarse_hidden(model, config, batch.semantic, batch.slots, made)
        rows = codebook_rows(config, codebook)
        likeliest = int(model.logits(hidden, rows)[1, 60 + codebook].argmax())
        assert int(made[1, 60 + codebook]) == rows.start + likeliest
