"""The engine without a model: real thread, gapless events."""

from __future__ import annotations

import queue

import numpy as np
import pytest
from bark_server.prepared import S_PER_CHARACTER, PreparedEngine
from harness import RATE_HZ, voice_like

from bark_stream.errors import EngineError, UnknownVoice
from bark_stream.events import Chunk, Event, SentenceDone
from bark_stream.sentences import Sentence


def _sentence(index: int, text: str) -> Sentence:
    return Sentence(index, text, text, 0)


def _collect(events: queue.Queue[Event], num_sentences: int) -> list[Event]:
    collected: list[Event] = []
    while sum(isinstance(event, SentenceDone) for event in collected) < num_sentences:
        collected.append(events.get(timeout=10))
    return collected


@pytest.fixture
def engine() -> PreparedEngine:
    return PreparedEngine(voice_like(RATE_HZ))


def test_prepared_engine_speaks_gaplessly(engine: PreparedEngine) -> None:
    """Chunks follow each other over sentences; a sentence lasts as its text would; the sound is the prepared one."""
    events: queue.Queue[Event] = queue.Queue()
    stream = engine.open(on_event=events.put)
    stream.say(_sentence(0, "x" * 30))
    stream.say(_sentence(1, "x" * 10))
    collected = _collect(events, 2)
    engine.close()
    chunks = [event for event in collected if isinstance(event, Chunk)]
    assert [chunk.start_sample for chunk in chunks[1:]] == [chunk.end_sample for chunk in chunks[:-1]]
    assert chunks[-1].end_sample == round(40 * S_PER_CHARACTER * RATE_HZ)
    pcm = np.concatenate([chunk.pcm for chunk in chunks])
    assert np.array_equal(pcm, np.resize(voice_like(RATE_HZ), len(pcm)))


def test_prepared_engine_respects_the_limit(engine: PreparedEngine) -> None:
    """No chunk starts at or beyond the limit; when it moves, speaking goes on."""
    events: queue.Queue[Event] = queue.Queue()
    stream = engine.open(on_event=events.put)
    stream.report(limit_samples=12_000)
    stream.say(_sentence(0, "x" * 60))
    chunks = [events.get(timeout=10) for _ in range(2)]
    assert [chunk.start_sample for chunk in chunks if isinstance(chunk, Chunk)] == [0, 9_600]
    assert stream.num_pending == 1
    stream.report(limit_samples=10**9)
    assert isinstance(_collect(events, 1)[-1], SentenceDone)
    engine.close()


def test_prepared_engine_can_be_closed_with_work_left(engine: PreparedEngine) -> None:
    """Closing joins the thread; afterwards nothing can be asked."""
    stream = engine.open(on_event=lambda event: None)
    engine.close()
    with pytest.raises(EngineError):
        stream.say(_sentence(0, "x"))
    with pytest.raises(EngineError):
        engine.open(on_event=lambda event: None)


def test_prepared_engine_knows_its_voices(engine: PreparedEngine) -> None:
    """A voice that is not there is refused as by a real engine."""
    with pytest.raises(UnknownVoice):
        engine.open(on_event=lambda event: None, voice="nobody")
    engine.close()
