"""The semantic stage learns to spell first, and to speak beside it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from bark_stream.training.mini import mini_config
from bark_stream.training.semantic import SemanticTraining, SemanticTrainingConfig, init_semantic
from bark_stream.training.semantic_tokens import SemanticVocabulary
from bark_stream.training.shards import Clip
from bark_stream.transformer import CausalGPT

TRAINING = SemanticTrainingConfig(
    positions_per_step=256, spelling_steps=2, spelling_alone_positions=128, spelling_positions=128
)


def _clip(text: str, tokens: list[int], chars: list[float]) -> Clip:
    return Clip(
        text=text,
        speaker=-1,
        pcm=np.zeros(0, np.int16),
        tokens=np.array(tokens, np.int16),
        chars=np.array(chars, np.float16),
    )


@pytest.fixture(scope="module")
def model() -> CausalGPT:
    torch.set_num_threads(1)
    config = mini_config().semantic
    model = CausalGPT(config.transformer)
    init_semantic(model, config, seed=1)
    return model


@pytest.fixture(scope="module")
def clips() -> tuple[list[Clip], list[Clip]]:
    """One spoken word, and the same spelled: n-o, the second letter with a long vowel."""
    vocabulary = SemanticVocabulary()
    n, o = vocabulary.id_of("n", 0, 0), vocabulary.id_of("ˈO", 0, 3)
    spoken = _clip("no", [n] * 4 + [o] * 6, [0.0] * 4 + [1.0] * 6)
    return [spoken], [_clip("no", [n, o], [0, 1])]


def test_spelling_comes_first_and_goes_on_beside_speaking(
    model: CausalGPT, clips: tuple[list[Clip], list[Clip]]
) -> None:
    """Its steps have no other loss; later ones have all of them."""
    training = SemanticTraining(model, clips[0], mini_config().semantic, TRAINING, clips[1])
    assert set(training(0, np.random.default_rng(0))) == {"loss", "spelling"}
    later = training(TRAINING.spelling_steps, np.random.default_rng(0))
    assert set(later) == {"loss", "spelling", "entropy", "guide", "right"}
    expected = later["entropy"] + TRAINING.guide_weight * later["guide"] + TRAINING.spelling_weight * later["spelling"]
    torch.testing.assert_close(later["loss"], expected)


def test_a_model_that_can_spell_is_only_taught_to_speak(model: CausalGPT, clips: tuple[list[Clip], list[Clip]]) -> None:
    """Recordings for fine-tuning bring no spelled texts."""
    training = SemanticTraining(model, clips[0], mini_config().semantic, TRAINING)
    assert "spelling" not in training(0, np.random.default_rng(0))


def test_spelling_loss_falls_within_a_few_steps(model: CausalGPT, clips: tuple[list[Clip], list[Clip]]) -> None:
    """Two letters are learned at once."""
    training = SemanticTraining(model, clips[0], mini_config().semantic, TRAINING, clips[1])
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    for step in range(8):
        loss = training(0, np.random.default_rng(step))["spelling"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] - 0.1


def test_input_tokens_are_partly_wrong_and_targets_never(
    clips: tuple[list[Clip], list[Clip]], model: CausalGPT
) -> None:
    """A share between none and the largest one is wrong; what is to be said stays true."""
    wholly = dataclasses.replace(TRAINING, max_corrupted=1.0)
    training = SemanticTraining(model, clips[0], mini_config().semantic, wholly)
    rng, num_wrong, num_tokens = np.random.default_rng(0), 0, 0
    for _ in range(50):
        batch = training._lay(training._draw(rng), False, rng)
        (example,) = training._examples
        assert (batch.targets[:, :-1] == torch.from_numpy(example.tokens)).all()
        num_wrong += int((batch.tokens != batch.targets[:, :-1]).sum())
        num_tokens += batch.tokens.numel()
    # Half are hit on average; half of those take a moment near by, which is often the same token here.
    assert 0.25 < num_wrong / num_tokens < 0.5


def test_input_tokens_are_true_where_none_may_be_wrong(clips: tuple[list[Clip], list[Clip]], model: CausalGPT) -> None:
    """Without a share for them nothing is changed."""
    training = SemanticTraining(
        model, clips[0], mini_config().semantic, dataclasses.replace(TRAINING, max_corrupted=0.0)
    )
    rng = np.random.default_rng(0)
    batch = training._lay(training._draw(rng), False, rng)
    assert torch.equal(batch.tokens, batch.targets[:, :-1])
