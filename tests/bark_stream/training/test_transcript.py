"""Hearing with the words known: the best joint path, and what it is worth on the built-in model."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from counting_ear import CountingEar
from numpy.typing import NDArray

from bark_stream.bark import load
from bark_stream.checkpoint import Checkpoint, load_checkpoint
from bark_stream.cloning.clone import encoder_of, most_likely
from bark_stream.errors import EmptyText
from bark_stream.text import TextEncoder
from bark_stream.training.transcript import WordGuide
from bark_stream.transformer import CausalGPT

TEXT = "Hello there."


def expected_by_the_stage(checkpoint: Checkpoint, tokens: tuple[int, ...]) -> NDArray[np.float32]:
    """[N, vocab_size] log-probabilities before each token, in one pass over the whole sequence."""
    config = checkpoint.config.semantic
    model = CausalGPT(config.transformer).eval()
    model.load_state_dict(dict(checkpoint.semantic))
    text = torch.tensor(TextEncoder(checkpoint.tokenizer, config).encode_padded(TEXT))
    with torch.inference_mode():
        summed = model.embed(text) + model.embed(torch.full_like(text, config.pad_token))
        rest = model.embed(torch.tensor([config.infer_token, *tokens[:-1]]))
        hidden = model(torch.cat([summed, rest])[None])[0, config.max_text_tokens :]
        return (hidden @ model.lm_head.weight[: config.vocab_size].T).log_softmax(-1).numpy()


def test_word_guide_finds_the_most_likely_path_of_ear_and_words_together(tiny_checkpoint: Checkpoint) -> None:
    """Where the beam holds every path it gives the one of the highest sum, found here by trying all of them."""
    heard = np.log(np.random.default_rng(0).dirichlet((1, 1), 4)).astype(np.float32)

    def joint(tokens: tuple[int, ...]) -> float:
        at = (np.arange(len(tokens)), np.array(tokens))
        return float(heard[at].sum() + expected_by_the_stage(tiny_checkpoint, tokens)[at].sum())

    best = max(itertools.product((0, 1), repeat=len(heard)), key=joint)
    found = WordGuide(tiny_checkpoint).tokens(heard, TEXT)
    assert tuple(found) == best
    assert tuple(found) != tuple(most_likely(heard))


def test_word_guide_believes_an_ear_that_is_sure(tiny_checkpoint: Checkpoint) -> None:
    """Words cannot put in what was not heard; and beyond the stage's window the ear is alone."""
    window = replace(tiny_checkpoint.config.semantic, max_new_tokens=10)
    short = replace(tiny_checkpoint, config=replace(tiny_checkpoint.config, semantic=window))
    scores = CountingEar().scores(np.zeros(12_000, np.float32), 24_000)
    assert WordGuide(short).tokens(scores, TEXT).tolist() == list(range(len(scores)))
    assert len(scores) > window.max_new_tokens


def test_word_guide_refuses_words_that_are_none(tiny_checkpoint: Checkpoint) -> None:
    """A text that nobody can say."""
    with pytest.raises(EmptyText):
        WordGuide(tiny_checkpoint).tokens(np.zeros((3, 5), np.float32), "…")


def test_word_guide_names_more_tokens_rightly_than_the_ear_alone() -> None:
    """The built-in model hears itself: with the words it names far more of the tokens that it spoke from."""
    torch.set_num_threads(1)
    checkpoint = load_checkpoint("mini")
    text = "My sister is coming to visit us next weekend."
    speech = load("mini").synthesize(text, seed=1)
    assert speech.prompt is not None
    scores = encoder_of(checkpoint).scores(speech.pcm, speech.sample_rate_hz)
    said = speech.prompt.semantic[: len(scores)]
    alone, guided = (
        float((tokens[: len(said)] == said).mean())
        for tokens in (most_likely(scores), WordGuide(checkpoint).tokens(scores, text))
    )
    assert guided > alone + 0.1
