"""The promise that the rest stands on: greedy tokens equal those of the transformers package, stage by stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hugging_face_reference import bark_model, save_bark

from bark_stream.bark import Bark
from bark_stream.checkpoint import load_checkpoint, random_checkpoint
from bark_stream.config import ChunkPolicy, ModelConfig, SamplingConfig
from bark_stream.sentence_run import SentenceRun
from bark_stream.sentences import Sentence
from bark_stream.state import SpeechState
from bark_stream.voice import Voice

TEXT = "Every token of this sentence is the same in both."
Tokens = tuple[list[int], np.ndarray, np.ndarray]


def hugging_face_model(config: ModelConfig, seed: int = 0) -> Any:
    """A BarkModel that draws only codes.

    transformers bounds the second codebook's tokens from below alone, so that random weights could draw the special
    tokens above them, which no trained model does. Here those rows repeat the last code's, which wins every tie.
    """
    model = bark_model(config, seed)
    num_rows = config.semantic.vocab_size + config.coarse.num_codebooks * config.codec.codebook_size
    head = model.coarse_acoustics.lm_head.weight.data
    head[num_rows:] = head[num_rows - 1]
    return model


def theirs(model: Any, bark: Bark, voice: Voice | None, **semantic_options: Any) -> Tokens:
    """Semantic tokens, coarse codes [2, T] and fine codes [8, T] of transformers' BarkModel."""
    config, use = bark.config, model.generation_config
    history = None
    if voice is not None:
        parts = {"semantic": voice.semantic, "coarse": voice.coarse, "fine": voice.fine}
        history = {f"{part}_prompt": torch.tensor(array) for part, array in parts.items()}
    ids = torch.tensor([bark.encode(TEXT)]) - config.semantic.text_offset
    with torch.no_grad():
        semantic = model.semantic.generate(ids, use.semantic_config, history_prompt=history, **semantic_options)
        tokens = [int(token) for token in semantic[0] if token < config.semantic.vocab_size]
        coarse = model.coarse_acoustics.generate(
            semantic,
            use.semantic_config,
            use.coarse_acoustics_config,
            codebook_size=config.codec.codebook_size,
            history_prompt=history,
        )
        fine = model.fine_acoustics.generate(
            coarse,
            use.semantic_config,
            use.coarse_acoustics_config,
            use.fine_acoustics_config,
            codebook_size=config.codec.codebook_size,
            history_prompt=history,
            temperature=None,
        )
    codes = coarse[0].numpy().reshape(-1, 2).T - config.semantic.vocab_size
    return tokens, codes - np.array([[0], [config.codec.codebook_size]]), fine[0].numpy()


def ours(bark: Bark, voice: Voice | None, sampling: SamplingConfig) -> SentenceRun:
    sentence = Sentence(index=0, text=TEXT, source=TEXT, start=0)
    speaking = bark.speak(sentence, SpeechState(voice=voice), policy=ChunkPolicy.reference(), sampling=sampling)
    while True:
        try:
            next(speaking)
        except StopIteration as stop:
            run: SentenceRun = stop.value
            return run


def assert_equal(run: SentenceRun, expected: Tokens) -> None:
    tokens, coarse, fine = expected
    assert run.semantic.tokens == tokens
    assert np.array_equal(run.codes[:2], coarse)
    assert np.array_equal(run.codes, fine)


@pytest.fixture(scope="module", params=[0, 1])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Bark]:
    """transformers' model, and ours read from what it saved."""
    checkpoint = random_checkpoint("tiny")
    model = hugging_face_model(checkpoint.config, seed=request.param)
    folder = tmp_path_factory.mktemp("bark")
    save_bark(model, folder, checkpoint.tokenizer)
    return model, Bark(load_checkpoint(folder))


@pytest.mark.parametrize("with_voice", [False, True])
def test_greedy_tokens_equal_transformers(pair: tuple[Any, Bark], with_voice: bool) -> None:
    """All three stages, with and without a history prompt, over several coarse and fine windows."""
    model, bark = pair
    voice = random_checkpoint("tiny").voices.get("en_speaker_0") if with_voice else None
    assert_equal(ours(bark, voice, SamplingConfig.greedy()), theirs(model, bark, voice))


@pytest.mark.parametrize("min_eos_p", [0.001, 0.05])
def test_greedy_end_equals_transformers(pair: tuple[Any, Bark], min_eos_p: float) -> None:
    """In Hugging Face's order the sentence ends where transformers ends it for the same min_eos_p."""
    model, bark = pair
    sampling = SamplingConfig(
        text_temperature=0, waveform_temperature=0, fine_temperature=0, min_eos_p=min_eos_p, order="hugging_face"
    )
    expected = theirs(model, bark, None, min_eos_p=min_eos_p)
    if expected[0]:
        assert_equal(ours(bark, None, sampling), expected)
    else:
        assert ours(bark, None, sampling).semantic.tokens == []


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_greedy_tokens_equal_transformers_at_bark_small_shape(tmp_path: Path) -> None:
    """The same at the shape of suno/bark-small, with a history prompt."""
    checkpoint = random_checkpoint("small")
    model = hugging_face_model(checkpoint.config)
    model.generation_config.semantic_config.max_new_tokens = 100
    save_bark(model, tmp_path, checkpoint.tokenizer)
    bark = Bark(load_checkpoint(tmp_path))
    voice = checkpoint.voices.get("en_speaker_0")
    expected = theirs(model, bark, voice)
    assert len(expected[0]) == 100
    assert_equal(ours(bark, voice, SamplingConfig.greedy()), expected)
