"""Many speakers on one engine: does everybody's audio arrive before it must be played?"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

import numpy as np

from bark_stream.bark import Bark
from bark_stream.benchmark.playout import Playout
from bark_stream.benchmark.workload import TEXT, lasting
from bark_stream.config import ChunkPolicy, SamplingConfig
from bark_stream.engine import Engine, SpeechStream
from bark_stream.errors import EngineError
from bark_stream.events import Chunk, Event, SentenceDone, SentenceFailed
from bark_stream.sentences import Sentence


@dataclass(frozen=True, kw_only=True, slots=True)
class TogetherFigures:
    num_streams: int
    ttfa_p50_ms: float
    ttfa_p95_ms: float
    num_underruns: int
    """Waits that are heard: a listener who has run dry waits for the next chunk, and plays on."""
    num_late: int
    """Chunks that came after their time for a listener who never waits."""
    num_chunks: int
    num_streams_late: int
    """Streams with an underrun."""
    worst_underrun_ms: float
    """What the listener who waited longest waited in all."""
    audio_per_wall: float
    """Seconds of audio that all streams together gain in a second."""
    mean_batch: dict[str, float]
    """Streams in a step, by stage."""


@dataclass(slots=True)
class _Listener:
    """One stream's chunks and when they came; filled in the engine's thread."""

    asked_s: float = 0.0
    chunks: list[tuple[float, float, float]] = field(default_factory=list)
    """(came at, starts at on the stream's clock, lasts) in seconds."""
    left: int = 0
    error: str | None = None
    done: threading.Event = field(default_factory=threading.Event)

    def hear(self, event: Event, rate_hz: int) -> None:
        if isinstance(event, Chunk):
            self.chunks.append((time.perf_counter(), event.start_sample / rate_hz, len(event.pcm) / rate_hz))
        elif isinstance(event, SentenceFailed):
            self.error = str(event.error)
            self.done.set()
        elif isinstance(event, SentenceDone):
            self.left -= 1
            if not self.left:
                self.done.set()

    @property
    def ttfa_ms(self) -> float:
        return 1000 * (self.chunks[0][0] - self.asked_s)

    def playout(self) -> Playout:
        """How it was heard."""
        playout = Playout()
        for came_s, at_s, _ in self.chunks:
            playout.hear(came_s, at_s)
        return playout


def measure_together(
    bark: Bark, policy: ChunkPolicy, *, num_streams: int, seconds: float, num_sentences: int = 2, spread_s: float = 0.25
) -> TogetherFigures:
    """Streams that begin one after another, `spread_s` apart, each speaking some sentences of `seconds`.

    Raises: EngineError if a sentence fails.
    """
    engine = Engine(bark)
    try:
        listeners = [_Listener(left=num_sentences) for _ in range(num_streams)]
        streams = [_open(engine, listener, lasting(policy, seconds), seed) for seed, listener in enumerate(listeners)]
        started = time.perf_counter()
        for number, (listener, stream) in enumerate(zip(listeners, streams, strict=True)):
            time.sleep(max(0.0, started + number * spread_s - time.perf_counter()))
            listener.asked_s = time.perf_counter()
            for index in range(num_sentences):
                stream.say(Sentence(index=index, text=TEXT, source=TEXT, start=0))
        for listener in listeners:
            listener.done.wait()
            if listener.error is not None:
                raise EngineError(listener.error)
        wall_s = time.perf_counter() - started
        stages = engine.stats().stages
    finally:
        engine.close()
    return _figures(listeners, wall_s, {name: spent.num_tokens / spent.num_steps for name, spent in stages.items()})


def _open(engine: Engine, listener: _Listener, policy: ChunkPolicy, seed: int) -> SpeechStream:
    return engine.open(
        on_event=lambda event: listener.hear(event, engine.sample_rate_hz),
        voice=engine.default_voice or next(iter(engine.voices), None),
        seed=seed,
        policy=policy,
        sampling=SamplingConfig.greedy(),
    )


def _figures(listeners: list[_Listener], wall_s: float, mean_batch: dict[str, float]) -> TogetherFigures:
    playouts = [listener.playout() for listener in listeners]
    audio_s = sum(length for listener in listeners for _, _, length in listener.chunks)
    ttfa_ms = [listener.ttfa_ms for listener in listeners]
    return TogetherFigures(
        num_streams=len(listeners),
        ttfa_p50_ms=float(np.percentile(ttfa_ms, 50)),
        ttfa_p95_ms=float(np.percentile(ttfa_ms, 95)),
        num_underruns=sum(playout.num_underruns for playout in playouts),
        num_late=sum(playout.num_late for playout in playouts),
        num_chunks=sum(len(listener.chunks) for listener in listeners),
        num_streams_late=sum(playout.num_underruns > 0 for playout in playouts),
        worst_underrun_ms=1000 * max(playout.waited_s for playout in playouts),
        audio_per_wall=audio_s / wall_s,
        mean_batch={name: batch for name, batch in mean_batch.items() if name in ("semantic", "coarse")},
    )
