"""Promises of `bark_stream.engine`: many speakers, one worker or two, nobody disturbs another."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bark_stream.bark import Bark
from bark_stream.checkpoint import random_checkpoint
from bark_stream.config import ChunkPolicy, SamplingConfig
from bark_stream.engine import Engine, SpeechStream
from bark_stream.errors import ConfigError, EmptyText, EngineError, UnknownVoice
from bark_stream.events import Chunk, Event, SentenceDone, SentenceFailed
from bark_stream.sentences import Sentence

POLICY = ChunkPolicy(
    chunk_frames=(10, 20),
    min_budget_s=0.6,
    max_s_per_character=0.01,
    max_silence_s=None,
    trim_leading_silence=False,
    max_repeats=None,
)
WAIT_S = 60


@pytest.fixture(scope="module")
def bark() -> Bark:
    return Bark(random_checkpoint("tiny", seed=6), num_slots=3)


@pytest.fixture(scope="module")
def int8_bark() -> Bark:
    return Bark(random_checkpoint("tiny", seed=6), num_slots=3, precision="int8")


@pytest.fixture
def engine(bark: Bark) -> Iterator[Engine]:
    engine = Engine(bark, num_workers=2)
    yield engine
    engine.close()
    assert bark.pipeline.semantic.cache.num_free == bark.pipeline.coarse.cache.num_free == 3


class Gate:
    """In place of a part's method: the first call waits inside until it is let go."""

    def __init__(self, method: Callable[..., Any]) -> None:
        self._method = method
        self._is_first = threading.Semaphore(1)
        self.entered, self.opened = threading.Event(), threading.Event()

    def __call__(self, *arguments: Any) -> Any:
        if self._is_first.acquire(blocking=False):
            self.entered.set()
            assert self.opened.wait(WAIT_S)
        return self._method(*arguments)


class Listener:
    """Collects a stream's events; `until` waits for one of a kind."""

    def __init__(self, engine: Engine, **options: Any) -> None:
        self.events: list[Event] = []
        self._queue: queue.Queue[Event] = queue.Queue()
        self.stream: SpeechStream = engine.open(on_event=self._queue.put, **{"policy": POLICY, **options})

    def say(self, text: str, index: int = 0) -> None:
        self.stream.say(Sentence(index=index, text=text, source=text, start=0))

    def until(self, kind: type) -> Any:
        while True:
            event = self._queue.get(timeout=WAIT_S)
            self.events.append(event)
            assert kind is SentenceFailed or not isinstance(event, SentenceFailed), event
            if isinstance(event, kind):
                return event

    def pcm(self) -> np.ndarray:
        return np.concatenate([event.pcm for event in self.events if isinstance(event, Chunk)])


def test_engine_streams_equal_the_library(bark: Bark, engine: Engine) -> None:
    """Five speakers on three slots each say, sample for sample, what the library says alone."""
    voices = [None, "en_speaker_0", "en_speaker_0", None, "v2/en_speaker_0"]
    listeners = [Listener(engine, voice=voice, seed=seed) for seed, voice in enumerate(voices)]
    for number, listener in enumerate(listeners):
        listener.say(f"This is speaker {number}.")
    dones = [listener.until(SentenceDone) for listener in listeners]
    for seed, (listener, done) in enumerate(zip(listeners, dones, strict=True)):
        alone = bark.generate(f"This is speaker {seed}.", voice=voices[seed], seed=seed, policy=POLICY)
        assert done.num_samples == len(alone)
        np.testing.assert_allclose(listener.pcm(), alone, atol=1e-4)


@pytest.mark.parametrize("num_workers", [1, 2])
def test_engine_company_changes_no_bit(int8_bark: Bark, num_workers: int) -> None:
    """In 8 bits what a stream says is the same to the last bit alone and in company, and company shares steps."""
    engine = Engine(int8_bark, num_workers=num_workers)
    listeners = [Listener(engine, voice="en_speaker_0", seed=seed) for seed in range(4)]
    for number, listener in enumerate(listeners):
        listener.say(f"Speaker {number}.")
    for listener in listeners:
        listener.until(SentenceDone)
    stages = engine.stats().stages
    engine.close()
    for seed, listener in enumerate(listeners):
        alone = int8_bark.generate(f"Speaker {seed}.", voice="en_speaker_0", seed=seed, policy=POLICY)
        np.testing.assert_array_equal(listener.pcm(), alone)
    if num_workers == 1:
        assert stages["coarse"].num_tokens > stages["coarse"].num_steps


def test_engine_sentences_in_order_and_gapless(engine: Engine) -> None:
    """A stream's sentences are spoken one after another on one gapless clock."""
    listener = Listener(engine, voice="en_speaker_0")
    for index in range(3):
        listener.say(f"Sentence number {index}.", index)
    dones = [listener.until(SentenceDone) for _ in range(3)]
    assert [done.sentence for done in dones] == [0, 1, 2]
    clock = 0
    for event in listener.events:
        if isinstance(event, Chunk):
            assert event.start_sample == clock
            clock = event.end_sample
    assert dones[2].start_sample + dones[2].num_samples == clock


def test_engine_cancel_stops_and_frees(engine: Engine, bark: Bark) -> None:
    """After a cancel no event comes, the slots are free for others, and the stream can speak again."""
    loud, other = Listener(engine, voice="en_speaker_0"), Listener(engine)
    for index in range(5):
        loud.say("A long story that is interrupted.", index)
    loud.until(Chunk)
    loud.stream.cancel()
    num_events = loud._queue.qsize()
    other.say("Next.")
    other.until(SentenceDone)
    assert loud._queue.qsize() <= num_events + 1
    assert loud.stream.num_pending == 0
    while not loud._queue.empty():
        loud._queue.get()
    loud.say("And on.", index=9)
    assert loud.until(SentenceDone).sentence == 9


def test_engine_limit_holds_generation_back(engine: Engine) -> None:
    """No chunk starts at or beyond the limit; raising it lets the sentence go on, and others are not held."""
    held, other = Listener(engine), Listener(engine)
    held.stream.report(limit_samples=1)
    held.say("Held back by a slow reader.")
    first = held.until(Chunk)
    other.say("Not held.")
    other.until(SentenceDone)
    assert held._queue.empty()
    held.stream.report(limit_samples=10**9, played_samples=first.end_sample)
    assert held.until(SentenceDone).num_samples > first.end_sample


def test_engine_limit_gives_slots_to_those_who_wait(engine: Engine) -> None:
    """Three slots are held by readers who take nothing. The fourth speaker is served once one of them has ended its
    sentence; and none of them begins another.
    """
    held = [Listener(engine) for _ in range(3)]
    for listener in held:
        listener.stream.report(limit_samples=1)
        listener.say("Held back by a slow reader.", 0)
        listener.say("Not even begun.", 1)
        listener.until(Chunk)
    assert engine.stats().num_running == 3
    late = Listener(engine)
    late.say("And I?")
    late.until(SentenceDone)
    assert [listener for listener in held if listener.stream.num_pending == 1]
    for listener in held:
        assert all(event.sentence == 0 for event in listener._queue.queue if isinstance(event, Chunk))
        listener.stream.report(limit_samples=10**9)
        assert [listener.until(SentenceDone).sentence for _ in range(2)] == [0, 1]


def test_engine_bad_sentence_fails_alone(engine: Engine) -> None:
    """A sentence that cannot be spoken gives an event with its error; the next one is spoken."""
    listener = Listener(engine)
    listener.say("…", 0)
    listener.say("Fine again.", 1)
    assert isinstance(listener.until(SentenceFailed).error, EmptyText)
    assert listener.until(SentenceDone).sentence == 1


def test_engine_fault_in_a_step_ends_only_its_sentences(
    engine: Engine, bark: Bark, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even a fault of our own ends as an event, and the worker goes on."""
    real, calls = bark.pipeline.codec.decode, threading.Semaphore(1)

    def fail_once(*arguments: Any) -> Any:
        if calls.acquire(blocking=False):
            raise RuntimeError("no memory")
        return real(*arguments)

    listener = Listener(engine)
    monkeypatch.setattr(bark.pipeline.codec, "decode", fail_once)
    listener.say("First.", 0)
    listener.say("Second.", 1)
    failed = listener.until(SentenceFailed)
    assert failed.sentence == 0
    assert isinstance(failed.error, EngineError)
    assert listener.until(SentenceDone).sentence == 1


def test_engine_open_refuses_what_cannot_be(engine: Engine) -> None:
    """An unknown voice or an impossible policy is refused before anything starts."""
    with pytest.raises(UnknownVoice):
        engine.open(on_event=print, voice="nobody")
    with pytest.raises(ConfigError):
        engine.open(on_event=print, policy=replace(POLICY, fine_lookahead_frames=200))
    assert engine.stats().num_streams == 0


def test_engine_closed_refuses(bark: Bark) -> None:
    """A closed engine, and a closed stream, say so."""
    engine = Engine(bark)
    stream = engine.open(on_event=print)
    stream.close()
    with pytest.raises(EngineError, match="stream is closed"):
        stream.say(Sentence(index=0, text="a", source="a", start=0))
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="engine is closed"):
        engine.open(on_event=print)


def test_engine_own_sampling(engine: Engine, bark: Bark) -> None:
    """A stream's sampling is its own: greedy beside sampled."""
    listener = Listener(engine, sampling=SamplingConfig.greedy())
    listener.say("Greedy.")
    listener.until(SentenceDone)
    alone = bark.generate("Greedy.", policy=POLICY, sampling=SamplingConfig.greedy())
    np.testing.assert_allclose(listener.pcm(), alone, atol=1e-4)


@pytest.mark.parametrize("part", ["fine.step", "codec.decode"])
def test_engine_cancel_during_a_step_disturbs_nobody(bark: Bark, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    """While one worker makes a stream's sound, that stream is cancelled: others begin and end their sentences, on the
    slots that are left; when the step ends, no event of it comes, its slots are free, and the stream can speak again.
    """
    owner, _, method = part.partition(".")
    gate = Gate(getattr(getattr(bark.pipeline, owner), method))
    monkeypatch.setattr(getattr(bark.pipeline, owner), method, gate)
    engine = Engine(bark, num_workers=2)
    cancelled, others = Listener(engine), [Listener(engine) for _ in range(3)]
    cancelled.say("Not heard.")
    assert gate.entered.wait(WAIT_S)
    cancelled.stream.cancel()
    cancelled.say("Heard after all.", 1)
    for other in others:
        other.say("Not disturbed.")
        other.until(SentenceDone)
    assert cancelled._queue.empty()
    gate.opened.set()
    assert cancelled.until(SentenceDone).sentence == 1
    assert all(event.sentence == 1 for event in cancelled.events)
    engine.close()
    assert bark.pipeline.semantic.cache.num_free == bark.pipeline.coarse.cache.num_free == 3


def test_engine_fault_beside_another_worker_ends_only_its_sentence(bark: Bark, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault in one worker's step reaches its own stream while the other worker is in the middle of a step; nobody
    else hears of it.
    """
    decode = bark.pipeline.codec.decode
    gate = Gate(decode)
    monkeypatch.setattr(bark.pipeline.codec, "decode", gate)
    engine = Engine(bark, num_workers=2)
    steady, failing = Listener(engine, voice="en_speaker_0"), Listener(engine)
    steady.say("Steady.")
    assert gate.entered.wait(WAIT_S)

    def fail_once(*arguments: Any) -> Any:
        monkeypatch.setattr(bark.pipeline.codec, "decode", decode)
        raise RuntimeError("no memory")

    monkeypatch.setattr(bark.pipeline.codec, "decode", fail_once)
    failing.say("First.", 0)
    failing.say("Second.", 1)
    assert failing.until(SentenceFailed).sentence == 0
    assert failing.until(SentenceDone).sentence == 1
    gate.opened.set()
    assert steady.until(SentenceDone).sentence == 0
    engine.close()
    np.testing.assert_allclose(steady.pcm(), bark.generate("Steady.", voice="en_speaker_0", policy=POLICY), atol=1e-4)


def test_engine_closed_in_mid_step_joins_both_workers(bark: Bark, monkeypatch: pytest.MonkeyPatch) -> None:
    """`close` waits for the step in progress, and no worker is left behind."""
    gate = Gate(bark.pipeline.fine.step)
    monkeypatch.setattr(bark.pipeline.fine, "step", gate)
    engine = Engine(bark, num_workers=2)
    listener = Listener(engine)
    listener.say("Cut off.")
    assert gate.entered.wait(WAIT_S)
    listener.stream.close()
    closing = threading.Thread(target=engine.close)
    closing.start()
    gate.opened.set()
    closing.join(WAIT_S)
    assert not any(worker.is_alive() for worker in engine._workers)
    assert bark.pipeline.semantic.cache.num_free == bark.pipeline.coarse.cache.num_free == 3
