"""An engine that plays a prepared sound instead of speaking: real thread, real events, no model, no torch.

The cost of the doors is measured with it, and clients can be tried against it. A sentence lasts as long as its text
would; the sound is repeated as needed.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bark_server.speech import StageTotals
from bark_stream.config import ChunkPolicy, SamplingConfig
from bark_stream.errors import EngineError, UnknownVoice
from bark_stream.events import Chunk, Event, SentenceDone
from bark_stream.provenance import VoiceOrigin
from bark_stream.sentences import Sentence

S_PER_CHARACTER = 0.065
MIN_SENTENCE_S = 0.2


@dataclass(frozen=True, slots=True)
class PreparedStats:
    num_streams: int
    num_running: int
    num_waiting: int
    stages: Mapping[str, StageTotals] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class PreparedStream:
    """One speaker."""

    _engine: PreparedEngine
    _on_event: Callable[[Event], None]
    _sentences: deque[Sentence] = field(default_factory=deque)
    _made_samples: int = 0
    _sentence_start_samples: int = 0
    _limit_samples: int | None = None
    _is_scheduled: bool = False
    _is_closed: bool = False

    @property
    def num_pending(self) -> int:
        return len(self._sentences)

    def say(self, sentence: Sentence) -> None:
        """Raises: EngineError on a closed stream or engine."""
        self._engine._say(self, sentence)

    def report(self, *, played_samples: int | None = None, limit_samples: int | None = None) -> None:
        self._engine._report(self, limit_samples)

    def cancel(self) -> None:
        self._engine._cancel(self)

    def close(self) -> None:
        self._engine._cancel(self)
        self._is_closed = True


class PreparedEngine:
    """`speed`: seconds of audio made per second for each stream; None: at once."""

    model_name = "prepared"
    default_voice = "prepared"
    default_sampling = SamplingConfig()
    num_slots = 1_000_000

    def __init__(
        self,
        pcm: NDArray[np.float32],
        *,
        sample_rate_hz: int = 24_000,
        chunk_s: float = 0.4,
        speed: float | None = None,
        voices: tuple[str, ...] = ("prepared", "other"),
    ) -> None:
        self.sample_rate_hz = sample_rate_hz
        self.voices = voices
        self._chunk_samples = round(chunk_s * sample_rate_hz)
        self._period_samples = len(pcm)
        # One chunk more than the sound, so that every chunk is a view.
        self._pcm = np.resize(pcm.astype(np.float32), len(pcm) + self._chunk_samples)
        self._speed = speed
        self._work = threading.Condition()
        self._due: list[tuple[float, int, PreparedStream]] = []
        self._num_scheduled = 0
        self._streams: set[PreparedStream] = set()
        self._is_closed = False
        self._worker = threading.Thread(target=self._loop, name="prepared-engine", daemon=True)
        self._worker.start()

    def open(
        self,
        *,
        on_event: Callable[[Event], None],
        voice: str | None = None,
        seed: int = 0,
        sampling: SamplingConfig | None = None,
        policy: ChunkPolicy | None = None,
    ) -> PreparedStream:
        """Raises: UnknownVoice, EngineError."""
        if voice is not None and voice not in self.voices:
            raise UnknownVoice(voice, self.voices)
        with self._work:
            self._refuse_if_closed()
            stream = PreparedStream(self, on_event)
            self._streams.add(stream)
        return stream

    def voice_origin(self, voice: str) -> VoiceOrigin:
        """It brings its voices along."""
        return "preset"

    def stats(self) -> PreparedStats:
        with self._work:
            counts = [len(stream._sentences) for stream in self._streams]
        return PreparedStats(len(counts), sum(count > 0 for count in counts), sum(max(0, c - 1) for c in counts))

    def close(self) -> None:
        with self._work:
            self._is_closed = True
            self._work.notify()
        if threading.current_thread() is not self._worker:
            self._worker.join()

    def _refuse_if_closed(self) -> None:
        if self._is_closed:
            raise EngineError("the engine is closed")

    def _say(self, stream: PreparedStream, sentence: Sentence) -> None:
        with self._work:
            self._refuse_if_closed()
            if stream._is_closed:
                raise EngineError("the stream is closed")
            stream._sentences.append(sentence)
            self._schedule(stream, time.monotonic())

    def _report(self, stream: PreparedStream, limit_samples: int | None) -> None:
        if limit_samples is not None:
            with self._work:
                stream._limit_samples = limit_samples
                self._schedule(stream, time.monotonic())

    def _cancel(self, stream: PreparedStream) -> None:
        with self._work:
            stream._sentences.clear()
            self._streams.discard(stream)

    def _schedule(self, stream: PreparedStream, due_s: float) -> None:
        is_limited = stream._limit_samples is not None and stream._made_samples >= stream._limit_samples
        if stream._sentences and not stream._is_scheduled and not is_limited:
            stream._is_scheduled = True
            self._num_scheduled += 1
            heapq.heappush(self._due, (due_s, self._num_scheduled, stream))
            self._work.notify()

    def _loop(self) -> None:
        while True:
            with self._work:
                if self._is_closed:
                    return
                wait_s = self._due[0][0] - time.monotonic() if self._due else None
                if wait_s is None or wait_s > 0:
                    self._work.wait(wait_s)
                    continue
                due_s, _, stream = heapq.heappop(self._due)
                stream._is_scheduled = False
                events = self._make(stream)
                pause_s = self._chunk_samples / self.sample_rate_hz / self._speed if self._speed else 0.0
                self._schedule(stream, due_s + pause_s)
            for event in events:
                stream._on_event(event)

    def _make(self, stream: PreparedStream) -> list[Event]:
        """The next chunk of the stream's sentence; and its end, when that is it."""
        if not stream._sentences:
            return []
        sentence = stream._sentences[0]
        length_samples = int(max(MIN_SENTENCE_S, len(sentence.text) * S_PER_CHARACTER) * self.sample_rate_hz)
        made = stream._made_samples - stream._sentence_start_samples
        num_samples = min(self._chunk_samples, length_samples - made)
        first = stream._made_samples % self._period_samples
        events: list[Event] = [Chunk(sentence.index, self._pcm[first : first + num_samples], stream._made_samples)]
        stream._made_samples += num_samples
        if made + num_samples >= length_samples:
            start = stream._sentence_start_samples
            events.append(SentenceDone(sentence.index, start, length_samples, compute_s=0.0))
            stream._sentences.popleft()
            stream._sentence_start_samples = stream._made_samples
        return events
