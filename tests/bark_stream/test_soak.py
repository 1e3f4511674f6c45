"""The promise to servers: an engine that has spoken for days is as quick, as small and as exact as a new one."""

from __future__ import annotations

import gc
import resource
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from bark_stream.bark import Bark
from bark_stream.checkpoint import random_checkpoint
from bark_stream.config import ChunkPolicy
from bark_stream.engine import Engine
from bark_stream.events import Event, SentenceDone, SentenceFailed
from bark_stream.precision import Precision
from bark_stream.sentences import Sentence

NUM_SLOTS = 3
POLICY = ChunkPolicy(
    chunk_frames=(10, 20), min_budget_s=0.12, max_s_per_character=0.001, max_silence_s=None, max_repeats=None
)
"""Sentences of an eighth of a second, so that thousands of them are spoken in minutes."""
MAX_GROWTH_BYTES = 24 << 20
MAX_SLOWDOWN = 1.3


@pytest.fixture
def engine(precision: Precision) -> Iterator[Engine]:
    engine = Engine(Bark(random_checkpoint("tiny", seed=6), num_slots=NUM_SLOTS, precision=precision))
    yield engine
    engine.close()


def speak(engine: Engine, num_sentences: int, num_streams: int = 4) -> None:
    """Streams that come, say some sentences, and leave; every third is interrupted."""
    for first in range(0, num_sentences, num_streams * 5):
        left = threading.Semaphore(0)
        failures: list[Event] = []

        def hear(event: Event, left: threading.Semaphore = left, failures: list[Event] = failures) -> None:
            if isinstance(event, SentenceFailed):
                failures.append(event)
            if isinstance(event, SentenceDone | SentenceFailed):
                left.release()

        streams = [engine.open(on_event=hear, seed=first + number, policy=POLICY) for number in range(num_streams)]
        for stream in streams:
            for index in range(5):
                stream.say(Sentence(index=index, text="Short.", source="Short.", start=0))
        for _ in range(num_streams * 5):
            assert left.acquire(timeout=60)
        streams[0].say(Sentence(index=5, text="Cut off.", source="Cut off.", start=0))
        for stream in streams:
            stream.close()
        assert not failures


def resident_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


def assert_flat(engine: Engine, num_sentences: int, num_rounds: int = 1) -> list[float]:
    """The same sentences round after round, and nothing left behind. Returns: CPU seconds of each round."""
    speak(engine, 40)
    gc.collect()
    before, cpu_s = resident_bytes(), []
    for _ in range(num_rounds):
        started = time.process_time()
        speak(engine, num_sentences)
        cpu_s.append(time.process_time() - started)
    gc.collect()
    grown = resident_bytes() - before
    print(f"{num_rounds} x {num_sentences} sentences: {grown:+,} bytes; CPU s {[round(s, 1) for s in cpu_s]}")
    assert grown < MAX_GROWTH_BYTES
    stats = engine.stats()
    assert stats.num_streams == stats.num_running == stats.num_waiting == 0
    return cpu_s


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_engine_memory_is_flat_over_hundreds_of_sentences(engine: Engine) -> None:
    """Memory does not grow with what was said, and nothing of a stream that left stays."""
    assert_flat(engine, 60)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("precision", ["int8"])
def test_engine_is_flat_and_quick_after_ten_thousand_sentences(engine: Engine) -> None:
    """As above for as long as a server runs in a day, in the precision of servers; the last thousand sentences take no
    more of the processor than the first."""
    cpu_s = assert_flat(engine, 1_000, num_rounds=10)
    assert min(cpu_s[-3:]) < MAX_SLOWDOWN * min(cpu_s[:3])


def test_slot_that_was_poisoned_speaks_like_a_new_one() -> None:
    """Whatever a slot held, even what is not a number, nothing of it reaches the next sentence that takes it."""
    used, new = (Bark(random_checkpoint("tiny", seed=6)) for _ in range(2))
    used.generate("Something else before.", voice="en_speaker_0", policy=POLICY)
    for stage in (used.pipeline.semantic, used.pipeline.coarse):
        stage.cache.keys.fill_(float("nan"))
        stage.cache.values.fill_(float("inf"))
    expected = new.generate("Quite another thing.", seed=4, policy=POLICY)
    assert len(expected)
    np.testing.assert_array_equal(used.generate("Quite another thing.", seed=4, policy=POLICY), expected)
