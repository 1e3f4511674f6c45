"""Promises of `bark_stream.sampling`: Suno's order, Hugging Face's order, and the end of a sentence."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers.generation.logits_process import (
    BarkEosPrioritizerLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from bark_stream.config import SamplingConfig
from bark_stream.errors import ConfigError
from bark_stream.sampling import draw, draw_semantic, probabilities

Floats = NDArray[np.float32]


def random_logits(seed: int, *shape: int) -> Floats:
    return 3 * np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def suno_probabilities(logits: Floats, temperature: float, top_k: int | None, top_p: float | None) -> Floats:
    """The order of generation.py, row by row in numpy: top-p, then top-k, then the temperature."""
    values = logits.copy()
    if top_p is not None:
        order = np.argsort(values)[::-1]
        total = np.cumsum(np.exp(values[order]) / np.exp(values).sum())
        num_kept = int(np.searchsorted(total, top_p, side="right")) + 1
        values[order[num_kept:]] = -np.inf
    if top_k is not None:
        values[values < np.sort(values)[-top_k]] = -np.inf
    softmax: Floats = torch.from_numpy(values / temperature).softmax(-1).numpy()
    return softmax


@pytest.mark.parametrize(("top_k", "top_p"), [(None, None), (5, None), (None, 0.6), (7, 0.8), (100, 1.0)])
def test_probabilities_suno_order(top_k: int | None, top_p: float | None) -> None:
    """Cuts look at unscaled logits; the temperature comes last."""
    config = SamplingConfig(top_k=top_k, top_p=top_p)
    for seed in range(20):
        logits = random_logits(seed, 40)
        top_p_or_none = None if top_p == 1.0 else top_p
        expected = suno_probabilities(logits, 0.7, min(top_k, 40) if top_k else None, top_p_or_none)
        np.testing.assert_allclose(probabilities(logits, 0.7, config), expected, atol=1e-6)


@pytest.mark.parametrize(("top_k", "top_p"), [(None, None), (5, None), (None, 0.6), (7, 0.8)])
def test_probabilities_hugging_face_order(top_k: int | None, top_p: float | None) -> None:
    """The other order is that of the transformers package's own processors."""
    config = SamplingConfig(top_k=top_k, top_p=top_p, order="hugging_face")
    for seed in range(20):
        logits = random_logits(seed, 1, 40)
        scores = TemperatureLogitsWarper(0.7)(torch.zeros(1, 1), torch.from_numpy(logits))
        scores = scores if top_k is None else TopKLogitsWarper(top_k)(torch.zeros(1, 1), scores)
        scores = scores if top_p is None else TopPLogitsWarper(top_p)(torch.zeros(1, 1), scores)
        expected = scores.softmax(-1).numpy()
        np.testing.assert_allclose(probabilities(logits, 0.7, config), expected, atol=1e-6)


def test_draw_temperature_zero_is_argmax() -> None:
    """Temperature 0 takes the likeliest token of each row and leaves the generator alone."""
    generator = torch.Generator().manual_seed(1)
    before = generator.get_state()
    logits = random_logits(0, 3, 9)
    assert np.array_equal(draw(logits, 0, SamplingConfig(), generator), logits.argmax(-1))
    assert torch.equal(generator.get_state(), before)


def test_draw_same_seed_same_tokens() -> None:
    """A row's token depends on its own generator and on nothing else."""
    logits = random_logits(0, 50, 30)
    first = draw(logits, 0.7, SamplingConfig(), torch.Generator().manual_seed(7))
    torch.rand(5)
    assert np.array_equal(first, draw(logits, 0.7, SamplingConfig(), torch.Generator().manual_seed(7)))
    assert not np.array_equal(first, draw(logits, 0.7, SamplingConfig(), torch.Generator().manual_seed(8)))


def test_draw_follows_the_probabilities() -> None:
    """Tokens come as often as they are likely, and one that was cut never does."""
    logits = np.tile(np.array([0.0, -np.inf, 1.0, 2.0, -np.inf], np.float32), (20_000, 1))
    tokens = draw(logits, 0.5, SamplingConfig(), torch.Generator().manual_seed(3))
    shares = np.bincount(tokens, minlength=5) / len(tokens)
    expected = np.exp(logits[0] / 0.5)
    np.testing.assert_allclose(shares, expected / expected.sum(), atol=0.01)
    assert shares[1] == shares[4] == 0


def test_draw_semantic_likely_end_ends() -> None:
    """Suno's rule: the sentence ends once its end is at least min_eos_p likely, whatever was drawn."""
    logits = np.array([2.0, 2.0, 1.5], np.float32)
    ends = SamplingConfig(text_temperature=1.0, min_eos_p=0.2)
    goes_on = SamplingConfig(text_temperature=1.0, min_eos_p=0.5)
    assert draw_semantic(logits, ends, torch.Generator().manual_seed(0)) is None
    drawn = {draw_semantic(logits, goes_on, torch.Generator().manual_seed(seed)) for seed in range(30)}
    assert drawn == {0, 1, None}


@pytest.mark.parametrize("end_logit", [0.0, 1.0, 3.0])
def test_draw_semantic_hugging_face_end(end_logit: float) -> None:
    """In the other order the end is forced where the transformers processor forces it, even at temperature 0."""
    logits = np.array([2.0, 2.5, end_logit], np.float32)
    forced = BarkEosPrioritizerLogitsProcessor(2, 0.2, device="cpu")(
        torch.zeros(1, 1), torch.from_numpy(logits[None].copy())
    )
    config = SamplingConfig(text_temperature=0, min_eos_p=0.2, order="hugging_face")
    token = draw_semantic(logits, config, torch.Generator())
    assert (2 if token is None else token) == int(forced.argmax())


@pytest.mark.parametrize(
    "bad",
    [{"text_temperature": -0.1}, {"fine_temperature": float("nan")}, {"top_k": 0}, {"top_p": 0}, {"min_eos_p": 2}],
)
def test_sampling_config_bad_value_is_named(bad: dict[str, float]) -> None:
    """A setting that cannot be right is refused by its name."""
    with pytest.raises(ConfigError, match=next(iter(bad))):
        SamplingConfig(**bad)  # type: ignore[arg-type]
