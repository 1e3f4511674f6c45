"""One loaded Bark, for use from a program: `load`, then `generate` a clip or `stream` chunks.

Puts the pieces together (tokenizer, voices, pipeline) and keeps nothing between calls but weights; many speakers at
once are the engine's business.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from bark_stream.checkpoint import Checkpoint, build_models, load_checkpoint
from bark_stream.coarse import CoarseStage
from bark_stream.codec import Codec
from bark_stream.config import ChunkPolicy, ModelConfig, SamplingConfig
from bark_stream.device import resolve_device
from bark_stream.errors import EmptyText
from bark_stream.events import Chunk, Event
from bark_stream.fine import FineStage
from bark_stream.pipeline import Pipeline
from bark_stream.precision import Precision, resolve_precision
from bark_stream.provenance import VoiceOrigin
from bark_stream.semantic import SemanticStage
from bark_stream.sentence_run import SentenceRun, Stage, StageTime
from bark_stream.sentences import Sentence, SentencePolicy, SentenceStream
from bark_stream.state import SpeechState
from bark_stream.text import TextEncoder
from bark_stream.threads import num_threads_for
from bark_stream.voice import Voice, read_voice, voice_from_arrays
from bark_stream.voice_store import VoiceStore

VoiceLike: TypeAlias = "str | Path | Mapping[str, Any] | Voice | None"


@dataclass(slots=True)
class Speech:
    """A finished generation."""

    pcm: NDArray[np.float32]
    """[T] mono."""
    sample_rate_hz: int
    state: SpeechState
    prompt: Voice | None
    """Everything that was said, as a history prompt; None when nothing was."""
    events: list[Event] = field(default_factory=list)
    """All but the chunks."""
    ttfa_s: float | None = None
    """From the call to the first chunk; None without audio."""
    synth_s: float = 0.0
    times: dict[Stage, StageTime] = field(default_factory=dict)

    @property
    def audio_s(self) -> float:
        return len(self.pcm) / self.sample_rate_hz

    @property
    def rtf(self) -> float:
        """Compute time / audio time; below 1 is faster than real time."""
        return self.synth_s / self.audio_s if len(self.pcm) else float("inf")


def load(
    model: str | Path = "mini",
    *,
    num_slots: int = 1,
    voices: str | Path | None = None,
    precision: str = "auto",
    device: str = "cpu",
) -> Bark:
    """Read a model by name or folder (see `bark_stream.checkpoint`) and make it ready to speak.

    Args:
        num_slots: sentences that can be on their way at once.
        voices: a folder of voices of one's own, beside the model's; what comes into it later is known too.
        precision: float32 (the reference), bfloat16, int8, or auto (see `bark_stream.precision`).
        device: cpu, cuda, or auto (see `bark_stream.device`).
    Raises: UnknownModel, CheckpointError, UnsafeCheckpoint; ConfigError for a precision that cannot be had;
        DeviceUnavailable.
    """
    kind = resolve_device(device)
    return Bark(
        load_checkpoint(model),
        num_slots=num_slots,
        own_voices=None if voices is None else VoiceStore(voices),
        precision=resolve_precision(precision, kind),
        device=kind,
    )


class Bark:
    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        num_slots: int = 1,
        own_voices: VoiceStore | None = None,
        precision: Precision = "float32",
        device: torch.device | str = "cpu",
    ) -> None:
        models = build_models(checkpoint, precision, num_threads=num_threads_for(checkpoint.config), device=device)
        self.config: ModelConfig = checkpoint.config
        self.precision = precision
        self.device = torch.device(device)
        self.num_slots = num_slots
        self._encoder = TextEncoder(checkpoint.tokenizer, self.config.semantic)
        self._voices = checkpoint.voices if own_voices is None else checkpoint.voices.with_own(own_voices)
        self.pipeline = Pipeline(
            self.config,
            SemanticStage(models.semantic, self.config.semantic, num_slots),
            CoarseStage(models.coarse, self.config, num_slots),
            FineStage(models.fine, self.config),
            Codec(self.config.codec, checkpoint.codec, source=checkpoint.source, device=device),
            phones=checkpoint.phones,
        )

    @property
    def sample_rate_hz(self) -> int:
        return self.config.sample_rate_hz

    @property
    def voices(self) -> tuple[str, ...]:
        """Names of the presets, and of one's own."""
        return self._voices.names()

    def voice_origin(self, name: str) -> VoiceOrigin:
        """Where a voice comes from. Raises: UnknownVoice, BadVoice."""
        return self._voices.origin(name)

    def voice(self, voice: VoiceLike) -> Voice | None:
        """A preset's name, a `.npz` path, a mapping of arrays or a `Voice`, checked; None stays None: any voice.

        Raises: UnknownVoice, BadVoice.
        """
        if voice is None:
            return None
        if isinstance(voice, str) and not voice.endswith(".npz"):
            return self._voices.get(voice)
        if isinstance(voice, str | Path):
            voice = read_voice(voice)
        elif not isinstance(voice, Voice):
            voice = voice_from_arrays("dict", voice)
        return voice.check(self.config)

    def encode(self, text: str) -> list[int]:
        """[max_text_tokens] text tokens of one sentence, offset and padded. Raises: EmptyText, TextTooLong."""
        return self._encoder.encode_padded(text)

    def begin(self, voice: VoiceLike = None, *, seed: int = 0, policy: ChunkPolicy | None = None) -> SpeechState:
        """The state of a stream that has not spoken yet."""
        self.pipeline.check(policy or ChunkPolicy.realtime())
        return SpeechState(voice=self.voice(voice), seed=seed)

    def start(
        self, sentence: Sentence, state: SpeechState, *, policy: ChunkPolicy, sampling: SamplingConfig | None = None
    ) -> SentenceRun:
        """A run for one sentence, nothing computed yet. Raises: EmptyText, TextTooLong."""
        tokens = np.array(self.encode(sentence.text), dtype=np.int64)
        return self.pipeline.begin(
            sentence.index,
            sentence.text,
            tokens,
            state,
            policy,
            sampling or self.config.sampling,
            self._encoder.words(sentence.text),
        )

    def speak(
        self,
        sentence: Sentence,
        state: SpeechState,
        *,
        policy: ChunkPolicy | None = None,
        sampling: SamplingConfig | None = None,
    ) -> Generator[Event, None, SentenceRun]:
        """One sentence from its state: events as they come; the generator's value is the finished run.

        Closing the generator drops the work. The next state is `bark.pipeline.next_state(run)`.
        """
        run = self.start(sentence, state, policy=policy or ChunkPolicy.realtime(), sampling=sampling)
        yield from self.steps(run)
        return run

    def steps(self, run: SentenceRun) -> Iterator[Event]:
        """Events of a run until its sentence ends."""
        try:
            while (stage := self.pipeline.next_stage(run)) is not None:
                for _, event in self.pipeline.step(stage, [run]):
                    yield event
        finally:
            self.pipeline.end(run)

    def stream(
        self,
        text: str | Iterator[str],
        *,
        voice: VoiceLike = None,
        seed: int = 0,
        policy: ChunkPolicy | None = None,
        sampling: SamplingConfig | None = None,
    ) -> Iterator[Chunk]:
        """Chunks while the rest is still being generated, or even written: `text` may be an iterator of slices.

        Raises: EmptyText when nothing can be spoken, UnknownVoice, BadVoice, ConfigError.
        """
        speech = self._speech(voice, seed, policy)
        yield from (event for event in self._speak_all(text, speech, policy, sampling) if isinstance(event, Chunk))

    def generate(
        self,
        text: str | Iterator[str],
        *,
        voice: VoiceLike = None,
        seed: int = 0,
        policy: ChunkPolicy | None = None,
        sampling: SamplingConfig | None = None,
    ) -> NDArray[np.float32]:
        """The whole clip, [T] float32 mono. Raises as `stream`."""
        return self.synthesize(text, voice=voice, seed=seed, policy=policy, sampling=sampling).pcm

    def synthesize(
        self,
        text: str | Iterator[str],
        *,
        voice: VoiceLike = None,
        seed: int = 0,
        policy: ChunkPolicy | None = None,
        sampling: SamplingConfig | None = None,
        max_s: float | None = None,
        on_event: Callable[[Event], None] | None = None,
    ) -> Speech:
        """The whole clip with what is known about it.

        Args:
            max_s: stop, in mid-sentence if it must be, after so much audio.
            on_event: called with every event as it comes, chunks too.
        """
        speech = self._speech(voice, seed, policy)
        max_samples = None if max_s is None else round(max_s * self.sample_rate_hz)
        chunks: list[NDArray[np.float32]] = []
        with closing(self._speak_all(text, speech, policy, sampling)) as events:
            for event in events:
                if isinstance(event, Chunk):
                    if max_samples is not None:
                        event = dataclasses.replace(event, pcm=event.pcm[: max_samples - event.start_sample])
                    chunks.append(event.pcm)
                else:
                    speech.events.append(event)
                if on_event is not None:
                    on_event(event)
                if isinstance(event, Chunk) and max_samples is not None and event.end_sample >= max_samples:
                    break
        speech.pcm = np.concatenate(chunks) if chunks else speech.pcm
        return speech

    def _speech(self, voice: VoiceLike, seed: int, policy: ChunkPolicy | None) -> Speech:
        state = self.begin(voice, seed=seed, policy=policy)
        return Speech(np.zeros(0, dtype=np.float32), self.sample_rate_hz, state, None)

    def _speak_all(
        self, text: str | Iterator[str], speech: Speech, policy: ChunkPolicy | None, sampling: SamplingConfig | None
    ) -> Generator[Event, None, None]:
        """Every sentence in turn; `speech` is brought up to date as they pass."""
        started = time.perf_counter()
        policy = policy or ChunkPolicy.realtime()
        speech.times = {stage: StageTime() for stage in Stage}
        num_sentences = 0
        for sentence in self.sentences(text, policy):
            num_sentences += 1
            run = self.start(sentence, speech.state, policy=policy, sampling=sampling)
            try:
                for event in self.steps(run):
                    if isinstance(event, Chunk) and speech.ttfa_s is None:
                        speech.ttfa_s = time.perf_counter() - started
                    yield event
            finally:
                # Also when the listener has had enough in mid-sentence.
                self._add(speech, run)
                speech.synth_s = time.perf_counter() - started
        if not num_sentences:
            raise EmptyText

    def sentences(self, text: str | Iterator[str], policy: ChunkPolicy) -> Iterator[Sentence]:
        """A text, whole or in slices, as sentences that the model takes."""
        limits = SentencePolicy(eager=policy.eager, max_text_tokens=self.config.semantic.max_text_tokens)
        stream = SentenceStream(limits, num_tokens=self._encoder.num_tokens)
        for piece in [text] if isinstance(text, str) else text:
            yield from stream.push(piece)
        yield from stream.flush()

    def _add(self, speech: Speech, run: SentenceRun) -> None:
        speech.state = self.pipeline.next_state(run)
        spoken = self.pipeline.prompt(run)
        if spoken is not None:
            speech.prompt = spoken if speech.prompt is None else speech.prompt.followed_by(spoken)
        for stage, spent in run.times.items():
            total = speech.times[stage]
            total.num_tokens += spent.num_tokens
            total.compute_s += spent.compute_s
            total.num_steps += spent.num_steps
