"""A whole server without sockets, threads or a clock: hub, sessions and an engine that speaks when it is told to."""

from __future__ import annotations

import itertools
import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from bark_server.frames import AudioFrame, unpack
from bark_server.hub import Hub
from bark_server.limits import Limits
from bark_server.notices import Notice
from bark_server.opus import OpusEncoder
from bark_server.outlog import Frame
from bark_server.prepared import PreparedStats
from bark_server.protocol import Session
from numpy.typing import NDArray

from bark_stream.config import ChunkPolicy, SamplingConfig
from bark_stream.errors import EngineError, UnknownVoice
from bark_stream.events import Chunk, Event, MouthShape, SentenceDone, SentenceFailed, Word
from bark_stream.provenance import VoiceOrigin
from bark_stream.sentences import Sentence

RATE_HZ = 24_000
CHUNK_SAMPLES = 5_120
"""16 codec frames: no whole number of packets."""
SAMPLES_PER_CHARACTER = 1_500
FAIL = "unspeakable"
"""A sentence that holds this word fails."""


@cache
def voice_like(num_samples: int, *, seed: int = 0) -> NDArray[np.float32]:
    """[T] float32: a buzz that wanders, loud enough for a codec to care."""
    time_s = np.arange(num_samples) / RATE_HZ
    pitch_hz = 130 + 30 * np.sin(2 * np.pi * (1.5 + 0.1 * seed) * time_s)
    phase = 2 * np.pi * np.cumsum(pitch_hz) / RATE_HZ
    tone = sum(np.sin(k * phase) / k for k in range(1, 12))
    return (0.15 * tone * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * time_s))).astype(np.float32)


@dataclass(eq=False)
class ScriptedStream:
    """One speaker; `step` makes its next event."""

    on_event: Callable[[Event], None]
    voice: str | None
    seed: int
    sampling: SamplingConfig | None
    policy: ChunkPolicy | None
    with_words: bool
    sentences: deque[Sentence] = field(default_factory=deque)
    made_samples: int = 0
    started_samples: int = 0
    played_samples: int = 0
    limit_samples: int | None = None
    is_closed: bool = False
    pcm: list[NDArray[np.float32]] = field(default_factory=list)

    @property
    def num_pending(self) -> int:
        return len(self.sentences)

    def say(self, sentence: Sentence) -> None:
        if self.is_closed:
            raise EngineError("the stream is closed")
        self.sentences.append(sentence)

    def report(self, *, played_samples: int | None = None, limit_samples: int | None = None) -> None:
        self.played_samples = played_samples if played_samples is not None else self.played_samples
        self.limit_samples = limit_samples if limit_samples is not None else self.limit_samples

    def cancel(self) -> None:
        self.sentences.clear()

    def close(self) -> None:
        self.cancel()
        self.is_closed = True

    def step(self) -> bool:
        """Make one chunk, and the sentence's end with its last. Returns whether there was anything to make."""
        if not self.sentences or (self.limit_samples is not None and self.made_samples >= self.limit_samples):
            return False
        sentence = self.sentences[0]
        if FAIL in sentence.text:
            self.sentences.popleft()
            self.on_event(SentenceFailed(sentence.index, EngineError("no")))
            return True
        total = max(1, len(sentence.text)) * SAMPLES_PER_CHARACTER
        made = self.made_samples - self.started_samples
        pcm = voice_like(total, seed=sentence.index)[made : made + CHUNK_SAMPLES]
        start, self.made_samples = self.made_samples, self.made_samples + len(pcm)
        self.pcm.append(pcm)
        words, shapes = self._timing(sentence, made / RATE_HZ, (made + len(pcm)) / RATE_HZ)
        self.on_event(Chunk(sentence.index, pcm, start, words, shapes))
        if made + len(pcm) == total and self.sentences:
            self.sentences.popleft()
            words = self._words(sentence) if self.with_words else None
            self.on_event(SentenceDone(sentence.index, self.started_samples, total, total / RATE_HZ / 4, words))
            self.started_samples = self.made_samples
        return True

    def _timing(
        self, sentence: Sentence, start_s: float, end_s: float
    ) -> tuple[tuple[Word, ...] | None, tuple[MouthShape, ...]]:
        """Words that begin, and a mouth that opens half-way through the chunk."""
        if not self.with_words:
            return None, ()
        middle_s = (start_s + end_s) / 2
        shapes = (MouthShape("sil", start_s, middle_s), MouthShape("aa", middle_s, end_s))
        return tuple(word for word in self._words(sentence) if start_s <= word.start_s < end_s), shapes

    def _words(self, sentence: Sentence) -> tuple[Word, ...]:
        s_per_character = SAMPLES_PER_CHARACTER / RATE_HZ
        words, position = [], 0
        for text in sentence.text.split():
            position = sentence.text.index(text, position)
            words.append(Word(text, position * s_per_character, (position + len(text)) * s_per_character))
            position += len(text)
        return tuple(words)


class ScriptedEngine:
    """Has the shape of an engine. Nothing happens until `step`."""

    model_name = "scripted"
    sample_rate_hz = RATE_HZ
    voices = ("alice", "bob")
    default_voice = "alice"
    default_sampling = SamplingConfig()
    num_slots = 4

    def __init__(self, *, with_words: bool = False) -> None:
        self.streams: list[ScriptedStream] = []
        self._with_words = with_words

    def open(
        self,
        *,
        on_event: Callable[[Event], None],
        voice: str | None = None,
        seed: int = 0,
        sampling: SamplingConfig | None = None,
        policy: ChunkPolicy | None = None,
    ) -> ScriptedStream:
        if voice is not None and voice not in self.voices:
            raise UnknownVoice(voice, self.voices)
        stream = ScriptedStream(on_event, voice, seed, sampling, policy, self._with_words)
        self.streams.append(stream)
        return stream

    def voice_origin(self, voice: str) -> VoiceOrigin:
        """Bob was cloned."""
        return "cloned" if voice == "bob" else "preset"

    def step(self) -> bool:
        """One event for every stream that can have one."""
        return sum(stream.step() for stream in self.streams) > 0

    def stats(self) -> PreparedStats:
        return PreparedStats(len(self.streams), 0, 0)

    def close(self) -> None:
        """Nothing to join."""


class Client:
    """The other end of one link: sends messages, keeps what comes, acknowledges it."""

    def __init__(self, hub: Hub, clock: Callable[[], float]) -> None:
        self._hub = hub
        self._clock = clock
        self.is_taken_over = False
        self.acknowledges = True
        self.messages: list[dict[str, Any]] = []
        self.audio: list[AudioFrame] = []
        self.frames: list[dict[str, Any] | AudioFrame] = []
        self.session: Session = hub.connect(self)

    def wake(self) -> None:
        """Frames are collected by `pump`."""

    def taken_over(self) -> None:
        self.is_taken_over = True

    def send(self, kind: str, **fields: Any) -> None:
        self.send_raw(json.dumps({"type": kind, **fields}))

    def send_raw(self, data: str | bytes) -> None:
        self.session = self._hub.receive(self.session, data, self)

    def pump(self) -> int:
        """Take everything that is due now. Returns how many frames came."""
        num_frames = 0
        while True:
            now = self._clock()
            self.session.tick(now)
            frames = self.session.take(now, 32)
            position = self.session.ping_position(now)
            if position is not None and self.acknowledges:
                self.session.acknowledge(position, now)
            if not frames:
                return num_frames
            num_frames += len(frames)
            for frame in frames:
                self._keep(frame)

    def drop(self) -> None:
        """The socket breaks."""
        self._hub.disconnect(self.session, self, is_final=False)

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["type"] == kind]

    @property
    def last(self) -> dict[str, Any]:
        return self.messages[-1]

    def _keep(self, frame: Frame) -> None:
        if isinstance(frame, bytes):
            self.audio.append(unpack(frame))
            self.frames.append(self.audio[-1])
        else:
            self.messages.append(json.loads(frame))
            self.frames.append(self.messages[-1])


class Stage:
    """Everything together, with a clock that stands until it is moved."""

    def __init__(self, *, with_words: bool = False, **limits: int) -> None:
        self.now = 100.0
        self.notices: list[Notice] = []
        self.limits = Limits(**limits)
        self.engine = ScriptedEngine(with_words=with_words)
        ids = itertools.count(1)
        self.hub = Hub(
            engine=self.engine,
            limits=self.limits,
            observe=lambda label, notice: self.notices.append(notice),
            clock=lambda: self.now,
            post=lambda deliver: deliver(),
            new_id=lambda: f"id{next(ids)}",
        )

    def connect(self) -> Client:
        return Client(self.hub, lambda: self.now)

    def run(self, client: Client, *, seconds: float = 60.0, step_s: float = 0.05) -> None:
        """Let engine, time and client go on until nothing has happened for a while, or for `seconds` at most."""
        quiet = 0
        end = self.now + seconds
        while quiet < 3 / step_s and self.now < end:
            is_busy = self.engine.step()
            is_busy = client.pump() > 0 or is_busy
            quiet = 0 if is_busy else quiet + 1
            self.now += step_s

    def notices_of(self, kind: type[Any]) -> list[Any]:
        return [notice for notice in self.notices if isinstance(notice, kind)]


def decode_opus(payloads: list[bytes], pre_skip: int) -> NDArray[np.float32]:
    """[T] float32 at 24 kHz: what a decoder gives back, without the encoder's delay."""
    OpusEncoder(rate_hz=RATE_HZ, bitrate=32_000)  # finds the library for opuslib
    import opuslib

    decoder = opuslib.Decoder(RATE_HZ, 1)
    parts = [np.frombuffer(decoder.decode_float(payload, 480), dtype=np.float32) for payload in payloads]
    return np.concatenate(parts)[pre_skip:]


def decode_pcm(payloads: list[bytes]) -> NDArray[np.float32]:
    """[T] float32 of 16-bit packets."""
    return np.asarray(np.frombuffer(b"".join(payloads), dtype="<i2") / 32767, dtype=np.float32)
