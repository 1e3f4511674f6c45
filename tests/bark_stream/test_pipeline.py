"""Promises of `bark_stream.pipeline`: Suno's tokens under `reference()`, and streaming that takes nothing back."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import get_args

import numpy as np
import pytest
import torch
from suno_reference import coarse_codes, fine_codes, semantic_tokens

from bark_stream.checkpoint import Checkpoint, Models, build_models, random_checkpoint
from bark_stream.coarse import CoarseStage
from bark_stream.codec import Codec, CodecState
from bark_stream.config import Carry, ChunkPolicy, SamplingConfig
from bark_stream.events import Chunk, Event, GuardFired, SentenceDone
from bark_stream.fine import FineStage
from bark_stream.pipeline import WARM_UP_FRAMES, Pipeline
from bark_stream.semantic import SemanticStage
from bark_stream.sentence_run import SentenceRun
from bark_stream.state import SpeechState
from bark_stream.voice import Voice

CARRIES: tuple[Carry, ...] = get_args(Carry)
GREEDY = SamplingConfig.greedy()
REFERENCE = ChunkPolicy.reference()
REALTIME = ChunkPolicy(
    chunk_frames=(10, 16, 24),
    fine_history_frames=32,
    max_repeats=None,
    max_silence_s=None,
    trim_leading_silence=False,
    min_budget_s=1.5,
    max_s_per_character=0.005,
)
"""Streaming in small chunks, and sentences of at most 1.7 s, so that the tests are quick."""
UNBOUNDED = replace(REALTIME, max_s_per_character=None)


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    """A random model whose greedy sentences are long, with and without a voice, and some of which end by themselves."""
    return random_checkpoint("tiny", seed=6)


@pytest.fixture(scope="module")
def models(checkpoint: Checkpoint) -> Models:
    return build_models(checkpoint)


@pytest.fixture(scope="module")
def pipeline(checkpoint: Checkpoint, models: Models) -> Pipeline:
    config = checkpoint.config
    return Pipeline(
        config,
        SemanticStage(models.semantic, config.semantic, 4),
        CoarseStage(models.coarse, config, 4),
        FineStage(models.fine, config),
        Codec(config.codec, checkpoint.codec),
    )


@pytest.fixture(scope="module")
def voice(checkpoint: Checkpoint) -> Voice:
    return checkpoint.voices.get("en_speaker_0")


def text_tokens(pipeline: Pipeline, seed: int, num_tokens: int = 20) -> np.ndarray:
    config = pipeline.config.semantic
    tokens = np.full(config.max_text_tokens, config.text_pad_token, dtype=np.int64)
    tokens[:num_tokens] = np.random.default_rng(seed).integers(config.text_offset, config.text_pad_token, num_tokens)
    return tokens


def run_all(pipeline: Pipeline, runs: Sequence[SentenceRun], order: Sequence[int] = (0,)) -> list[list[Event]]:
    """Step runs to their ends; `order` says, turn by turn, which run leads (others join it in its stage)."""
    events: dict[int, list[Event]] = {id(run): [] for run in runs}
    turn = 0
    while live := [run for run in runs if not run.is_finished]:
        leader = live[order[turn % len(order)] % len(live)]
        stage = pipeline.next_stage(leader)
        assert stage is not None
        for run, event in pipeline.step(stage, [run for run in live if pipeline.next_stage(run) is stage]):
            events[id(run)].append(event)
        turn += 1
    return [events[id(run)] for run in runs]


def speak(
    pipeline: Pipeline,
    state: SpeechState,
    policy: ChunkPolicy,
    *,
    sampling: SamplingConfig = GREEDY,
    text_seed: int = 1,
    text: str = "x" * 40,
) -> tuple[SentenceRun, list[Event]]:
    run = pipeline.begin(0, text, text_tokens(pipeline, text_seed), state, policy, sampling)
    return run, run_all(pipeline, [run])[0]


def pcm_of(events: Sequence[Event]) -> np.ndarray:
    return np.concatenate([event.pcm for event in events if isinstance(event, Chunk)])


@pytest.mark.parametrize("with_voice", [False, True])
@pytest.mark.parametrize("text_seed", [1, 2])
def test_reference_tokens_equal_suno(
    pipeline: Pipeline, models: Models, voice: Voice, with_voice: bool, text_seed: int
) -> None:
    """Semantic, coarse and fine tokens are those of Suno's arithmetic, with and without a history prompt, in clips
    longer than one coarse window and one fine window."""
    history = voice if with_voice else None
    run, _ = speak(pipeline, SpeechState(voice=history), REFERENCE, text_seed=text_seed)
    tokens = text_tokens(pipeline, text_seed)
    semantic = semantic_tokens(models, pipeline.config, tokens, history)
    coarse = coarse_codes(models, pipeline.config, semantic, history)
    fine = fine_codes(models, pipeline.config, coarse, history)
    assert run.semantic.tokens == semantic
    assert len(set(semantic)) > 10
    assert np.array_equal(pipeline.coarse.codes(run.coarse), coarse)
    assert coarse.shape[1] * 2 > 3 * pipeline.config.coarse.sliding_window_len
    assert np.array_equal(run.codes, fine)


def test_reference_long_clip_crosses_fine_windows(pipeline: Pipeline, models: Models) -> None:
    """At least one of the greedy clips above needs a second fine window; this one is sure to."""
    coarse = np.random.default_rng(0).integers(0, 64, (2, 300))
    fine = pipeline.fine.finish(pipeline.fine.begin_whole(coarse, None, GREEDY, torch.Generator()))
    assert np.array_equal(fine, fine_codes(models, pipeline.config, coarse, None))
    assert fine.shape[1] > 2 * pipeline.config.fine.window_frames


def test_reference_samples_equal_one_shot_decode(pipeline: Pipeline, voice: Voice) -> None:
    """The audio of a sentence is the codec's one-shot decode of its codes."""
    run, events = speak(pipeline, SpeechState(voice=voice), REFERENCE)
    whole = pipeline.codec.decode_whole(torch.from_numpy(run.codes[None]))[0].numpy()
    np.testing.assert_allclose(pcm_of(events), whole, atol=1e-5)


def test_realtime_first_chunk_before_semantic_ends(pipeline: Pipeline, voice: Voice) -> None:
    """Audio leaves while the semantic stage still has most of the sentence before it, and chunks grow."""
    run = pipeline.begin(0, "x" * 40, text_tokens(pipeline, 1), SpeechState(voice=voice), REALTIME, GREEDY)
    events: list[Event] = []
    while not any(isinstance(event, Chunk) for event in events):
        stage = pipeline.next_stage(run)
        assert stage is not None
        events += [event for _, event in pipeline.step(stage, [run])]
    assert not run.semantic.is_finished
    assert len(run.semantic.tokens) <= 35
    events += run_all(pipeline, [run])[0]
    lengths = [len(event.pcm) for event in events if isinstance(event, Chunk)]
    assert lengths[0] < lengths[1]


@pytest.mark.parametrize("lookahead", [0, 5])
def test_realtime_chunks_are_one_decode(pipeline: Pipeline, voice: Voice, lookahead: int) -> None:
    """Chunks are gapless, and together the one-shot decode of all codes: nothing decoded is taken back, no seam."""
    policy = replace(REALTIME, fine_lookahead_frames=lookahead, warm_codec=False)
    run, events = speak(pipeline, SpeechState(voice=voice), policy)
    chunks = [event for event in events if isinstance(event, Chunk)]
    assert all(a.end_sample == b.start_sample for a, b in pairwise(chunks))
    whole = pipeline.codec.decode_whole(torch.from_numpy(run.codes[None]))[0].numpy()
    np.testing.assert_allclose(pcm_of(events), whole, atol=1e-5)
    assert run.codes.shape[1] == pipeline.coarse.num_tokens(len(run.semantic.tokens)) // 2


def test_warm_codec_speaks_on_from_the_voice(pipeline: Pipeline, voice: Voice) -> None:
    """A warmed codec decodes as if the voice had just spoken: no wait for reflect padding, no onset from nothing."""
    run, events = speak(pipeline, SpeechState(voice=voice), replace(REALTIME, fine_lookahead_frames=0))
    state = CodecState()
    pipeline.codec.decode(torch.tensor(voice.fine[None, :, -WARM_UP_FRAMES:]), state)
    expected = pipeline.codec.decode(torch.from_numpy(run.codes[None]), state)[0].numpy()
    np.testing.assert_allclose(pcm_of(events), expected, atol=1e-5)
    assert len(next(event for event in events if isinstance(event, Chunk)).pcm) == 10 * 320


def test_realtime_semantic_tokens_equal_reference(pipeline: Pipeline, voice: Voice) -> None:
    """Streaming changes nothing about what is said: the semantic tokens are the reference's."""
    realtime, _ = speak(pipeline, SpeechState(voice=voice), replace(UNBOUNDED, carry="voice"))
    reference, _ = speak(pipeline, SpeechState(voice=voice), REFERENCE)
    assert realtime.semantic.tokens == reference.semantic.tokens


def test_full_lookahead_coarse_equals_reference(pipeline: Pipeline, voice: Voice) -> None:
    """With the whole window in sight and Suno's window length, streaming coarse tokens are the reference's."""
    policy = replace(
        UNBOUNDED, chunk_frames=None, coarse_lookahead_tokens=None, carry="voice", reuse_coarse_prefix=False
    )
    realtime, _ = speak(pipeline, SpeechState(voice=voice), policy)
    reference, _ = speak(pipeline, SpeechState(voice=voice), REFERENCE)
    assert realtime.coarse.tokens == reference.coarse.tokens


def test_second_sentence_runs_the_codec_on(pipeline: Pipeline, voice: Voice) -> None:
    """Over two sentences the audio is one decode of all their codes: the codec's state runs through the seam."""
    policy = replace(REALTIME, warm_codec=False)
    first, events = speak(pipeline, SpeechState(voice=voice), policy)
    state = pipeline.next_state(first)
    second, more = speak(pipeline, state, policy, text_seed=2)
    codes = np.hstack([first.codes, second.codes])
    whole = pipeline.codec.decode_whole(torch.from_numpy(codes[None]))[0].numpy()
    np.testing.assert_allclose(pcm_of([*events, *more]), whole, atol=1e-5)
    assert state.num_samples == len(pcm_of(events))
    assert next(event for event in more if isinstance(event, Chunk)).start_sample == state.num_samples


def test_carry_decides_the_history(pipeline: Pipeline, voice: Voice) -> None:
    """`voice` starts each sentence from the preset, `last` from the sentence before; under `anchored` it sounds after
    the preset, and what is said follows both."""
    run, _ = speak(pipeline, SpeechState(voice=voice), REALTIME)
    state = pipeline.next_state(run)
    last = state.last
    assert last is not None
    assert state.history("voice") is voice
    assert state.history("last") is last
    assert state.history("anchored") is voice
    said = {carry: state.semantic_history(carry, pipeline.config) for carry in CARRIES}
    assert said["voice"] is voice.semantic
    assert said["last"] is last.semantic
    anchored = said["anchored"]
    assert anchored is not None
    num_tail = len(anchored) - len(voice.semantic)
    assert 0 < num_tail < pipeline.config.semantic.max_history_tokens
    assert np.array_equal(anchored, np.concatenate([voice.semantic, last.semantic[-num_tail:]]))


@pytest.mark.parametrize("carry", CARRIES)
def test_carry_without_a_preset_goes_on_from_what_was_said(pipeline: Pipeline, carry: Carry) -> None:
    """Nothing precedes a first sentence; `voice` never has a history then, the others have the last sentence."""
    first = SpeechState(voice=None)
    assert first.history(carry) is first.semantic_history(carry, pipeline.config) is None
    run, _ = speak(pipeline, first, REALTIME)
    state = pipeline.next_state(run)
    assert state.last is not None
    expected = None if carry == "voice" else state.last
    assert state.history(carry) is expected
    assert state.semantic_history(carry, pipeline.config) is (None if expected is None else expected.semantic)


def test_state_bytes_speak_the_same(pipeline: Pipeline, voice: Voice) -> None:
    """A state that went through bytes speaks the next sentence exactly as the original does."""
    run, _ = speak(pipeline, SpeechState(voice=voice, seed=5), REALTIME, sampling=SamplingConfig())
    state = pipeline.next_state(run)
    moved = SpeechState.from_bytes(state.to_bytes())
    assert moved == state
    assert len(state.to_bytes()) < 200_000
    first, second = (speak(pipeline, s, REALTIME, sampling=SamplingConfig(), text_seed=2) for s in (state, moved))
    assert np.array_equal(pcm_of(first[1]), pcm_of(second[1]))


def test_seed_decides_the_tokens(pipeline: Pipeline, voice: Voice) -> None:
    """The same seed says the same, another seed says it otherwise, and the next sentence draws anew."""
    sampling = SamplingConfig(text_temperature=1.0, waveform_temperature=1.0)
    runs = [speak(pipeline, SpeechState(voice=voice, seed=s), REALTIME, sampling=sampling)[0] for s in (1, 1, 2)]
    assert np.array_equal(runs[0].codes, runs[1].codes)
    assert not np.array_equal(runs[0].codes[:, :20], runs[2].codes[:, :20])


@pytest.mark.parametrize("order", [(0,), (1,), (2, 0, 1, 1), (0, 1, 2)])
def test_seed_same_tokens_whoever_else_is_served(pipeline: Pipeline, voice: Voice, order: tuple[int, ...]) -> None:
    """Sentences that share steps say what each says alone, in whatever order they are stepped."""
    sampling = SamplingConfig()
    states = [SpeechState(voice=voice, seed=1), SpeechState(voice=None, seed=2), SpeechState(voice=voice, seed=3)]

    def begin(index: int) -> SentenceRun:
        tokens = text_tokens(pipeline, index, num_tokens=10 + 9 * index)
        return pipeline.begin(index, "x" * 40, tokens, states[index], REALTIME, sampling)

    together = [begin(index) for index in range(3)]
    events = run_all(pipeline, together, order)
    for index, run in enumerate(together):
        alone = begin(index)
        alone_events = run_all(pipeline, [alone])[0]
        assert run.semantic.tokens == alone.semantic.tokens
        assert np.array_equal(run.codes, alone.codes)
        assert np.array_equal(pcm_of(events[index]), pcm_of(alone_events))


def test_duration_guard_bounds_the_sentence(pipeline: Pipeline, voice: Voice) -> None:
    """A sentence that does not end is ended by its text's length, and an event says so."""
    policy = replace(REALTIME, min_budget_s=0.5, max_s_per_character=0.01)
    run, events = speak(pipeline, SpeechState(voice=voice), policy, text="x" * 50)
    assert len(run.semantic.tokens) <= 50
    fired = [event for event in events if isinstance(event, GuardFired)]
    assert [event.guard for event in fired] == ["duration"]
    assert fired[0].at_s == pytest.approx(1.0, abs=0.05)


def test_loop_guard_ends_the_sentence(pipeline: Pipeline, voice: Voice, monkeypatch: pytest.MonkeyPatch) -> None:
    """A phrase said again and again ends the sentence where the loop is noticed, and an event says so."""
    phrase = itertools.cycle(range(20))
    monkeypatch.setattr("bark_stream.semantic.draw_semantic", lambda *_: next(phrase))
    run, events = speak(pipeline, SpeechState(voice=voice), replace(UNBOUNDED, max_repeats=3))
    assert [event.guard for event in events if isinstance(event, GuardFired)] == ["loop"]
    assert len(run.semantic.tokens) == 64
    assert isinstance(events[-1], SentenceDone)


def test_done_comes_last_and_counts(pipeline: Pipeline, voice: Voice) -> None:
    """After the last chunk one event says where the sentence lay and how long it was; every slot is free again."""
    _, events = speak(pipeline, SpeechState(voice=voice), REALTIME)
    done = events[-1]
    assert isinstance(done, SentenceDone)
    assert done.num_samples == len(pcm_of(events))
    assert sum(isinstance(event, SentenceDone) for event in events) == 1
    assert pipeline.semantic.cache.num_free == pipeline.coarse.cache.num_free == 4


def test_end_in_the_middle_frees_the_slots(pipeline: Pipeline, voice: Voice) -> None:
    """A run that is dropped at any point leaves no slot taken."""
    for num_steps in (0, 1, 5, 40, 80):
        run = pipeline.begin(0, "x" * 40, text_tokens(pipeline, 1), SpeechState(voice=voice), REALTIME, GREEDY)
        for _ in range(num_steps):
            stage = pipeline.next_stage(run)
            if stage is not None:
                pipeline.step(stage, [run])
        pipeline.end(run)
        pipeline.end(run)
        assert pipeline.semantic.cache.num_free == pipeline.coarse.cache.num_free == 4
