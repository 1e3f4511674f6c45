"""Many speakers on one set of weights: streams in, events out, one or two worker threads that run the tensors.

A stream is the latest `SpeechState` and sentences not yet spoken. A worker asks the scheduler which of the streams that
no other worker is busy with go next, steps the pipeline and calls `on_event` of the streams it concerns, in its own
thread. Knows no sockets and no event loop.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from bark_stream.bark import Bark
from bark_stream.config import ChunkPolicy, SamplingConfig
from bark_stream.errors import BarkStreamError, EngineError
from bark_stream.events import Chunk, Event, SentenceDone, SentenceFailed
from bark_stream.provenance import VoiceOrigin
from bark_stream.scheduler import Candidate, choose
from bark_stream.sentence_run import SentenceRun, Stage, StageTime
from bark_stream.sentences import Sentence
from bark_stream.state import SpeechState
from bark_stream.threads import num_workers_for

OnEvent = Callable[[Event], None]

PATIENCE_S = 0.25
"""How long after its text a stream's first sound is due, beside others that must not run dry."""


@dataclass(slots=True)
class EngineStats:
    num_streams: int
    num_running: int
    """Sentences that have started and are not finished."""
    num_waiting: int
    stages: dict[str, StageTime]
    """Since the engine started; `num_tokens / num_steps` is the mean batch."""


@dataclass(slots=True, eq=False)
class SpeechStream:
    """One speaker's turn. Every method may be called from any thread, and none blocks for long."""

    _engine: Engine
    _on_event: OnEvent
    _state: SpeechState
    _policy: ChunkPolicy
    _sampling: SamplingConfig
    _number: int
    _pending: deque[tuple[float, Sentence]] = field(default_factory=deque)
    """With the time at which each was said."""
    _run: SentenceRun | None = None
    _said_s: float = 0.0
    """Of the running sentence."""
    _dry_s: float = -math.inf
    """When the listener will have heard, or has heard, all that was made."""
    _num_made_samples: int = 0
    _limit_samples: int | None = None
    _is_busy: bool = False
    """A worker steps its run, or tells the listener what came of it."""
    _drops: int = 0
    """Counts cancellations; work begun before the latest one is dropped."""
    _is_closed: bool = False

    @property
    def num_pending(self) -> int:
        """Sentences queued or running."""
        return len(self._pending) + (self._run is not None)

    def say(self, sentence: Sentence) -> None:
        """Queue a sentence. Raises: EngineError on a closed stream or engine."""
        self._engine._say(self, sentence)

    def report(self, *, played_samples: int | None = None, limit_samples: int | None = None) -> None:
        """Where the listener is, and the sample at or beyond which no sentence and no chunk may start (back-pressure);
        the sentence that is being spoken goes on all the same while others wait for its slot."""
        self._engine._report(self, played_samples, limit_samples)

    def cancel(self) -> None:
        """Drop what is queued and running, at the latest after the step in progress; the state stays where the last
        finished sentence left it."""
        self._engine._cancel(self)

    def close(self) -> None:
        """Cancel, and give everything back."""
        self._engine._close_stream(self)


class Engine:
    """Serves one loaded model, which from then on speaks for nobody else."""

    def __init__(
        self, bark: Bark, *, num_workers: int | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Args: num_workers: threads that step, each other streams; without it what the model is worth here."""
        self._bark = bark
        self._pipeline = bark.pipeline
        self._clock = clock
        self._streams: dict[int, SpeechStream] = {}
        self._work = threading.Condition()
        self._num_opened = 0
        self._num_idle = 0
        self._is_closed = False
        self._abandoned: list[tuple[SpeechStream, SentenceRun]] = []
        self._totals = {stage: StageTime() for stage in Stage}
        self._workers = [
            threading.Thread(target=self._loop, name=f"bark-engine-{number}", daemon=True)
            for number in range(num_workers or num_workers_for(bark.config))
        ]
        for worker in self._workers:
            worker.start()

    @property
    def model_name(self) -> str:
        return self._bark.config.name

    @property
    def sample_rate_hz(self) -> int:
        return self._bark.sample_rate_hz

    @property
    def voices(self) -> tuple[str, ...]:
        return self._bark.voices

    def voice_origin(self, voice: str) -> VoiceOrigin:
        """Where a voice comes from. Raises: UnknownVoice, BadVoice."""
        return self._bark.voice_origin(voice)

    @property
    def default_voice(self) -> str | None:
        return self._bark.config.default_voice

    @property
    def default_sampling(self) -> SamplingConfig:
        """What the checkpoint's makers suggest."""
        return self._bark.config.sampling

    @property
    def num_slots(self) -> int:
        return self._bark.num_slots

    def open(
        self,
        *,
        on_event: OnEvent,
        voice: str | None = None,
        seed: int = 0,
        sampling: SamplingConfig | None = None,
        policy: ChunkPolicy | None = None,
    ) -> SpeechStream:
        """A new speaker. Raises: UnknownVoice, BadVoice, ConfigError."""
        policy = policy or ChunkPolicy.realtime()
        self._pipeline.check(policy)
        state = self._bark.begin(voice, seed=seed, policy=policy)
        with self._work:
            self._refuse_if_closed()
            self._num_opened += 1
            stream = SpeechStream(
                self, on_event, state, policy, sampling or self._bark.config.sampling, self._num_opened
            )
            self._streams[stream._number] = stream
        return stream

    def stats(self) -> EngineStats:
        with self._work:
            streams = list(self._streams.values())
            return EngineStats(
                num_streams=len(streams),
                num_running=sum(stream._run is not None for stream in streams),
                num_waiting=sum(len(stream._pending) for stream in streams),
                stages={
                    stage.value: StageTime(total.num_tokens, total.compute_s, total.num_steps)
                    for stage, total in self._totals.items()
                },
            )

    def close(self) -> None:
        """Stop after the steps in progress and join the workers."""
        with self._work:
            self._is_closed = True
            self._work.notify_all()
        if threading.current_thread() not in self._workers:
            for worker in self._workers:
                worker.join()

    def _refuse_if_closed(self) -> None:
        if self._is_closed:
            raise EngineError("the engine is closed")

    # What streams ask for, in any thread.

    def _say(self, stream: SpeechStream, sentence: Sentence) -> None:
        with self._work:
            self._refuse_if_closed()
            if stream._is_closed:
                raise EngineError("the stream is closed")
            stream._pending.append((self._clock(), sentence))
            self._work.notify()

    def _report(self, stream: SpeechStream, played_samples: int | None, limit_samples: int | None) -> None:
        with self._work:
            if played_samples is not None:
                left_s = (stream._num_made_samples - played_samples) / self.sample_rate_hz
                stream._dry_s = min(stream._dry_s, self._clock() + left_s)
            if limit_samples is not None:
                stream._limit_samples = limit_samples
            self._work.notify()

    def _cancel(self, stream: SpeechStream) -> None:
        with self._work:
            stream._pending.clear()
            stream._drops += 1
            if stream._run is not None:
                self._abandoned.append((stream, stream._run))
                stream._run = None
            self._work.notify()

    def _close_stream(self, stream: SpeechStream) -> None:
        self._cancel(stream)
        with self._work:
            stream._is_closed = True
            self._streams.pop(stream._number, None)

    # What a worker does.

    def _loop(self) -> None:
        while True:
            with self._work:
                self._release_abandoned()
                if self._is_closed:
                    return
                failures = self._begin_sentences()
                plan = self._plan()
                if plan is None and not failures:
                    self._num_idle += 1
                    self._work.wait()
                    self._num_idle -= 1
                    continue
            for stream, failure in failures:
                stream._on_event(failure)
            self._set_free([stream for stream, _ in failures])
            if plan is not None:
                self._step(*plan)
                self._set_free([stream for stream, _, _ in plan[1]])

    def _set_free(self, streams: list[SpeechStream]) -> None:
        with self._work:
            for stream in streams:
                stream._is_busy = False

    def _release_abandoned(self) -> None:
        """Give back what dropped runs hold, but for those that another worker is still stepping."""
        for stream, run in self._abandoned:
            if not stream._is_busy:
                self._pipeline.end(run)
        self._abandoned = [(stream, run) for stream, run in self._abandoned if stream._is_busy]

    def _begin_sentences(self) -> list[tuple[SpeechStream, SentenceFailed]]:
        """Start waiting sentences, oldest first, while there are slots."""
        num_taken = sum(stream._run is not None for stream in self._streams.values()) + len(self._abandoned)
        failures = []
        for stream in sorted(self._waiting(), key=lambda s: s._pending[0][0])[: self.num_slots - num_taken]:
            said_s, sentence = stream._pending.popleft()
            try:
                stream._run = self._bark.start(
                    sentence, stream._state, policy=stream._policy, sampling=stream._sampling
                )
                stream._said_s = said_s
            except BarkStreamError as error:
                stream._is_busy = True
                failures.append((stream, SentenceFailed(sentence.index, error)))
        return failures

    def _waiting(self) -> list[SpeechStream]:
        """Streams with a sentence to begin. Whoever is far ahead needs none yet."""
        return [
            stream
            for stream in self._streams.values()
            if stream._run is None and stream._pending and not stream._is_busy and not self._is_far_ahead(stream)
        ]

    def _plan(self) -> tuple[Stage, list[tuple[SpeechStream, SentenceRun, int]]] | None:
        """What to step now; its streams are busy from then on."""
        # Who is far ahead pauses; but while others wait for a slot, it goes on to the end of its sentence and frees it.
        are_others_waiting = bool(self._waiting())
        candidates = []
        for stream in self._streams.values():
            if stream._run is None or stream._is_busy or (self._is_far_ahead(stream) and not are_others_waiting):
                continue
            candidate = self._candidate(stream, stream._run)
            if candidate is not None:
                candidates.append(candidate)
        if not candidates:
            return None
        stage, numbers = choose(candidates, num_idle_workers=self._num_idle)
        if len(numbers) < len(candidates):
            self._work.notify()
        chosen = []
        for stream in (self._streams[number] for number in numbers):
            if stream._run is not None:
                stream._is_busy = True
                chosen.append((stream, stream._run, stream._drops))
        return stage, chosen

    def _candidate(self, stream: SpeechStream, run: SentenceRun) -> Candidate | None:
        stage = self._pipeline.next_stage(run)
        if stage is None:
            return None
        slot = {Stage.SEMANTIC: run.semantic.slot, Stage.COARSE: run.coarse.slot}.get(stage)
        is_laying = self._pipeline.is_laying(run, stage)
        return Candidate(stream._number, stage, self._slack_s(stream), slot, is_laying=is_laying)

    def _slack_s(self, stream: SpeechStream) -> float:
        """Until the stream's next sound is to be heard; endless for who may pause."""
        if self._is_far_ahead(stream):
            return math.inf
        return max(stream._dry_s, stream._said_s + PATIENCE_S) - self._clock()

    def _is_far_ahead(self, stream: SpeechStream) -> bool:
        return stream._limit_samples is not None and stream._num_made_samples >= stream._limit_samples

    def _step(self, stage: Stage, chosen: list[tuple[SpeechStream, SentenceRun, int]]) -> None:
        runs = [run for _, run, _ in chosen]
        started, before = time.perf_counter(), sum(run.times[stage].num_tokens for run in runs)
        try:
            events = self._pipeline.step(stage, runs)
        except Exception as error:
            # Whatever went wrong, the sentences of this step end and every stream lives on.
            failure = error if isinstance(error, BarkStreamError) else EngineError(f"{type(error).__name__}: {error}")
            for stream, run, drops in chosen:
                self._pipeline.end(run)
                self._drop_run(stream, run)
                self._deliver(stream, drops, SentenceFailed(run.index, failure))
            return
        with self._work:
            total = self._totals[stage]
            total.num_steps += 1
            total.compute_s += time.perf_counter() - started
            total.num_tokens += sum(run.times[stage].num_tokens for run in runs) - before
        owners = {id(run): (stream, drops) for stream, run, drops in chosen}
        for run, event in events:
            stream, drops = owners[id(run)]
            self._apply(stream, run, drops, event)

    def _apply(self, stream: SpeechStream, run: SentenceRun, drops: int, event: Event) -> None:
        with self._work:
            if stream._drops != drops:
                return
            if isinstance(event, Chunk):
                stream._num_made_samples = event.end_sample
                # A listener who ran dry plays on as soon as there is more.
                stream._dry_s = max(stream._dry_s, self._clock()) + len(event.pcm) / self.sample_rate_hz
            if isinstance(event, SentenceDone):
                stream._state = self._pipeline.next_state(run)
                stream._run = None
        self._deliver(stream, drops, event)

    def _drop_run(self, stream: SpeechStream, run: SentenceRun) -> None:
        with self._work:
            if stream._run is run:
                stream._run = None

    def _deliver(self, stream: SpeechStream, drops: int, event: Event) -> None:
        if stream._drops == drops:
            stream._on_event(event)
