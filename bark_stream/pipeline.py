"""Sentences -> chunks of audio, stage by stage, many sentences side by side.

A `SentenceRun` is a sentence on its way. `next_stage` says, from its counters alone, what it needs next; `step` does
that for all runs of one stage at once. In a streaming policy the coarse stage starts before the semantic one has
finished, and each coarse window becomes a chunk: fine codes for its frames, samples from the codec whose state runs
through. Frames that were decoded are never taken back. Different runs may step in different threads at the same time.
Knows no schedule and no sockets.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from bark_stream.alignment import TextWord
from bark_stream.coarse import CoarseStage
from bark_stream.codec import Codec, CodecState
from bark_stream.config import ChunkPolicy, ModelConfig, SamplingConfig
from bark_stream.errors import ConfigError
from bark_stream.events import Chunk, Event, GuardFired, MouthShape, SentenceDone, Word
from bark_stream.fine import FineRun, FineStage
from bark_stream.guards import SilenceState, budget_s, cut_silence, find_loop
from bark_stream.semantic import SemanticStage
from bark_stream.sentence_run import SentenceRun, Stage
from bark_stream.state import SpeechState
from bark_stream.timing import SentenceTiming, TimingClock
from bark_stream.tone import Equaliser, equaliser
from bark_stream.voice import Voice

LOOP_CHECK_TOKENS = 16
"""Semantic tokens between two looks for a loop."""
MAX_CODEC_FRAMES = 30
"""Decoded in one step: 0.4 s, so that neither a cancel nor another stream waits for long."""
WARM_UP_FRAMES = 38
"""Half a second of the voice goes through the codec before a stream's first frame (`ChunkPolicy.warm_codec`)."""
MAX_WARM_VOICES = 64
"""Codec states kept for the next stream of the same voice, some 30 kB each."""
LAST_WINDOW_STRETCH = 1.5
"""A rest of at most so many chunks is made in one window rather than leaving a crumb."""


class Pipeline:
    """The stages of one loaded model."""

    def __init__(
        self,
        config: ModelConfig,
        semantic: SemanticStage,
        coarse: CoarseStage,
        fine: FineStage,
        codec: Codec,
        *,
        phones: tuple[str, ...] = (),
    ) -> None:
        """Args: phones: what each semantic token stands for, where that is known."""
        self.config = config
        self.semantic = semantic
        self.coarse = coarse
        self.fine = fine
        self.codec = codec
        self._clock = TimingClock(
            rate_hz=config.semantic.rate_hz,
            block_s=config.codec.hop_samples / config.codec.sample_rate_hz,
            phones=phones,
        )
        self._warm_codecs: dict[Voice, CodecState] = {}
        self._warming = threading.Lock()

    def check(self, policy: ChunkPolicy) -> None:
        """Raises: ConfigError if no chunk of this policy fits this model's windows."""
        if self._max_window_tokens(policy) <= 0:
            raise ConfigError("fine_lookahead_frames", "leaves no room for new frames in this model's fine window")

    def begin(
        self,
        index: int,
        text: str,
        text_tokens: NDArray[np.int64],
        state: SpeechState,
        policy: ChunkPolicy,
        sampling: SamplingConfig,
        words: Sequence[TextWord] = (),
    ) -> SentenceRun:
        """A run for one sentence; nothing is computed yet.

        Args:
            text: as it is spoken, for the duration guard.
            text_tokens: [max_text_tokens], offset and padded.
            words: of the text, whose times are wanted.
        """
        config = self.config
        history = state.history(policy.carry)
        spoken = state.semantic_history(policy.carry, config)
        budget = budget_s(text, policy)
        semantic = self.semantic.begin(
            torch.from_numpy(text_tokens),
            None if spoken is None else torch.tensor(spoken),
            sampling=sampling,
            generator=state.generator("semantic"),
            max_tokens=None if budget is None else math.ceil(budget * config.semantic.rate_hz),
            words=words,
        )
        return SentenceRun(
            index=index,
            state=state,
            policy=policy,
            sampling=sampling,
            history=history,
            semantic=semantic,
            coarse=self.coarse.begin(history, sampling=sampling, generator=state.generator("coarse")),
            fine_generator=state.generator("fine"),
            codec=state.codec.clone(),
            equaliser=self._equaliser(state),
            silence=SilenceState(has_sounded=state.num_samples > 0),
            timing=SentenceTiming(self._clock),
            codes=np.zeros((config.fine.num_codebooks, 0), dtype=np.int64),
        )

    def next_stage(self, run: SentenceRun) -> Stage | None:
        """What the run needs next; None when it is finished."""
        if run.is_finished:
            return None
        if run.coarse.is_window_open:
            return Stage.COARSE
        if run.num_undecoded:
            return Stage.CODEC
        if run.fine is not None or self._num_frames_ready(run) > 0:
            return Stage.FINE
        if self._is_coarse_complete(run):
            return Stage.CODEC
        return Stage.COARSE if self._window_tokens(run) else Stage.SEMANTIC

    def is_laying(self, run: SentenceRun, stage: Stage) -> bool:
        """Whether the run's next step of this stage lays a piece of a prefix rather than drawing a token."""
        if stage is Stage.SEMANTIC:
            return run.semantic.num_laid < self.config.semantic.num_prefix_positions
        return stage is Stage.COARSE and (bool(run.coarse.unlaid) or not run.coarse.is_window_open)

    def step(self, stage: Stage, runs: Sequence[SentenceRun]) -> list[tuple[SentenceRun, Event]]:
        """One step of one stage for runs that all need it: a token each, or a chunk each."""
        started = time.perf_counter()
        match stage:
            case Stage.SEMANTIC:
                events = self._step_semantic(runs)
            case Stage.COARSE:
                events = self._step_coarse(runs)
            case Stage.FINE:
                events = self._step_fine(runs)
            case Stage.CODEC:
                events = [(run, event) for run in runs for event in self._step_codec(run)]
        share_s = (time.perf_counter() - started) / len(runs)
        for run in runs:
            run.times[stage].compute_s += share_s
            run.times[stage].num_steps += 1
        return [*events, *((run, self._done(run)) for run in runs if run.is_finished)]

    def end(self, run: SentenceRun) -> None:
        """Give back what the run holds, finished or not."""
        self.semantic.end(run.semantic)
        self.coarse.end(run.coarse)

    def prompt(self, run: SentenceRun) -> Voice | None:
        """What a run has made so far, as a history prompt; None before the first frame."""
        num_frames = run.num_frames
        num_semantic = min(len(run.semantic.tokens), round(num_frames / self.config.frames_per_semantic))
        if not num_semantic:
            return None
        codes = run.codes
        semantic = np.array(run.semantic.tokens[:num_semantic], dtype=np.int64)
        return Voice("last", semantic, codes[: self.config.coarse.num_codebooks].copy(), codes.copy())

    def next_state(self, run: SentenceRun) -> SpeechState:
        """The state after a finished run."""
        spoken = self.prompt(run)
        # The fine stage looks back furthest, and no stage further.
        longest = int(self.config.fine.max_history_frames / self.config.frames_per_semantic)
        return SpeechState(
            voice=run.state.voice,
            last=run.state.last if spoken is None else spoken.tail(longest, self.config),
            codec=run.codec,
            past=None if run.equaliser is None else run.equaliser.past,
            seed=run.state.seed,
            num_sentences=run.state.num_sentences + 1,
            num_samples=run.state.num_samples + run.num_samples,
        )

    def _num_coarse_frames(self, run: SentenceRun) -> int:
        return len(run.coarse.tokens) // self.config.coarse.num_codebooks

    def _num_coarse_left(self, run: SentenceRun) -> int:
        """Coarse tokens that the semantic tokens known so far still ask for."""
        return self.coarse.num_tokens(len(run.semantic.tokens)) - len(run.coarse.tokens)

    def _is_coarse_complete(self, run: SentenceRun) -> bool:
        return run.semantic.is_finished and self._num_coarse_left(run) <= 0

    def _num_frames_ready(self, run: SentenceRun) -> int:
        """Coarse frames that can be made sound now."""
        waiting = self._num_coarse_frames(run) - run.num_frames
        if self._is_coarse_complete(run):
            return waiting
        if run.policy.fine_history_frames is None:
            return 0
        return max(0, waiting - run.policy.fine_lookahead_frames)

    def _window_tokens(self, run: SentenceRun) -> int:
        """Length of the coarse window that can open now; 0 while more semantic tokens are needed."""
        left = self._num_coarse_left(run)
        size, longest = self._chunk_tokens(run), self._max_window_tokens(run.policy)
        if run.semantic.is_finished:
            return left if left <= min(size * LAST_WINDOW_STRETCH, longest) else min(size, left)
        needed = self.coarse.num_semantic_needed(run.coarse, size, run.policy.coarse_lookahead_tokens)
        return size if len(run.semantic.tokens) >= needed and left >= size else 0

    def _chunk_tokens(self, run: SentenceRun) -> int:
        """Coarse tokens of the run's next chunk, as the policy has it."""
        frames = run.policy.chunk_frames
        if frames is None:
            return self.config.coarse.sliding_window_len
        wanted = frames[min(run.num_windows, len(frames) - 1)] * self.config.coarse.num_codebooks
        return min(wanted, self._max_window_tokens(run.policy))

    def _max_window_tokens(self, policy: ChunkPolicy) -> int:
        """The longest coarse window: it leaves the history half its room, and its frames fit one fine pass."""
        coarse = self.config.coarse
        if policy.chunk_frames is None:
            return coarse.sliding_window_len
        room = coarse.transformer.block_size - coarse.num_prefix_positions - coarse.max_history_tokens // 2
        frames = room // coarse.num_codebooks
        if policy.fine_history_frames is not None:
            frames = min(frames, self.config.fine.window_frames - policy.fine_lookahead_frames)
        return frames * coarse.num_codebooks

    def _step_semantic(self, runs: Sequence[SentenceRun]) -> list[tuple[SentenceRun, Event]]:
        events: list[tuple[SentenceRun, Event]] = []
        self.semantic.step([run.semantic for run in runs])
        for run in runs:
            num_known = len(run.coarse.semantic) - run.coarse.num_semantic_history
            new = run.semantic.tokens[num_known:]
            run.coarse.semantic.extend(new)
            run.times[Stage.SEMANTIC].num_tokens += len(new)
            events.extend((run, event) for event in self._guard_tokens(run))
        return events

    def _guard_tokens(self, run: SentenceRun) -> list[Event]:
        tokens, max_repeats = run.semantic.tokens, run.policy.max_repeats
        if run.semantic.is_finished:
            is_cut = len(tokens) == run.semantic.max_tokens < self.config.semantic.max_new_tokens
            return [self._fire(run, "duration")] if is_cut else []
        if max_repeats is None or len(tokens) % LOOP_CHECK_TOKENS or find_loop(tokens, max_repeats) is None:
            return []
        self.semantic.finish(run.semantic)
        return [self._fire(run, "loop")]

    def _fire(self, run: SentenceRun, guard: str) -> GuardFired:
        run.guards.append(guard)
        return GuardFired(run.index, guard, len(run.semantic.tokens) / self.config.semantic.rate_hz)

    def _step_coarse(self, runs: Sequence[SentenceRun]) -> list[tuple[SentenceRun, Event]]:
        for run in runs:
            if not run.coarse.is_window_open:
                self.coarse.open_window(
                    run.coarse, self._window_tokens(run), reuse_prefix=run.policy.reuse_coarse_prefix
                )
                run.num_windows += 1
        num_before = [len(run.coarse.tokens) for run in runs]
        self.coarse.step([run.coarse for run in runs])
        for run, num in zip(runs, num_before, strict=True):
            run.times[Stage.COARSE].num_tokens += len(run.coarse.tokens) - num
            if self._is_coarse_complete(run):
                self.coarse.end(run.coarse)
        return []

    def _step_fine(self, runs: Sequence[SentenceRun]) -> list[tuple[SentenceRun, Event]]:
        for run in runs:
            if run.fine is None:
                run.num_filling = self._num_frames_ready(run)
                run.fine = self._begin_fine(run)
            self.fine.step(run.fine)
            if run.fine.is_finished:
                run.codes = np.hstack([run.codes, run.fine.new_codes[:, : run.num_filling]])
                run.times[Stage.FINE].num_tokens += run.num_filling
                run.num_undecoded, run.fine = run.num_filling, None
        return []

    def _begin_fine(self, run: SentenceRun) -> FineRun:
        """A fine run over the coarse frames after those already made sound."""
        coarse = self.coarse.codes(run.coarse, first_frame=run.num_frames)
        history = None if run.history is None else run.history.fine
        num_history = run.policy.fine_history_frames
        if num_history is None:
            return self.fine.begin_whole(coarse, history, run.sampling, run.fine_generator)
        spoken = run.codes if history is None else np.hstack([history, run.codes])
        return self.fine.begin_next(coarse, spoken, num_history, run.sampling, run.fine_generator)

    def _step_codec(self, run: SentenceRun) -> list[Event]:
        if not run.codec.layers and run.policy.warm_codec and run.state.voice is not None:
            run.codec = self._warm_codec(run.state.voice)
        first = run.num_frames - run.num_undecoded
        codes = run.codes[None, :, first : first + MAX_CODEC_FRAMES]
        pcm = self.codec.decode(torch.from_numpy(codes), run.codec)
        run.num_undecoded -= codes.shape[2]
        run.times[Stage.CODEC].num_tokens += codes.shape[2]
        run.is_finished = not run.num_undecoded and self._is_coarse_complete(run)
        if run.is_finished:
            pcm = torch.cat([pcm, self.codec.finish(run.codec)], -1)
        return self._hand_over(run, pcm[0].numpy())

    def _equaliser(self, state: SpeechState) -> Equaliser | None:
        if state.voice is None or state.voice.tone is None:
            return None
        return equaliser(state.voice.tone, self.config.codec.sample_rate_hz, state.past)

    def _warm_codec(self, voice: Voice) -> CodecState:
        """A codec state as if the voice had just spoken; made once for each of the last few voices."""
        with self._warming:
            if voice not in self._warm_codecs:
                state = CodecState()
                self.codec.decode(torch.tensor(voice.fine[None, :, -WARM_UP_FRAMES:]), state)
                self._warm_codecs[voice] = state
                if len(self._warm_codecs) > MAX_WARM_VOICES:
                    del self._warm_codecs[next(iter(self._warm_codecs))]
            return self._warm_codecs[voice].clone()

    def _hand_over(self, run: SentenceRun, pcm: NDArray[np.float32]) -> list[Event]:
        events: list[Event] = []
        config = self.config.codec
        pcm, guard = cut_silence(
            pcm, run.silence, run.policy, sample_rate_hz=config.sample_rate_hz, block_samples=config.hop_samples
        )
        if guard is not None and guard not in run.guards:
            run.guards.append(guard)
            decoded_s = (run.num_frames - run.num_undecoded) / config.frame_rate_hz
            events.append(GuardFired(run.index, guard, decoded_s))
        if run.equaliser is not None:
            pcm = run.equaliser(pcm)
        if len(pcm):
            start_sample = run.state.num_samples + run.num_samples
            run.num_samples += len(pcm)
            words, shapes = self._tell(run)
            events.append(Chunk(run.index, pcm, start_sample, words, shapes))
        return events

    def _tell(self, run: SentenceRun) -> tuple[tuple[Word, ...] | None, tuple[MouthShape, ...]]:
        """Words and mouth shapes of the audio up to here that were not told."""
        tokens, dropped = run.semantic.tokens, run.silence.dropped_blocks
        before_s = run.num_samples / self.config.codec.sample_rate_hz
        shapes = run.timing.tell_shapes(tokens, dropped, before_s=before_s)
        if run.semantic.alignment is None:
            return None, shapes
        words = run.timing.tell_words(
            run.semantic.alignment, tokens, dropped, before_s=before_s, is_last=run.is_finished
        )
        return words, shapes

    def _done(self, run: SentenceRun) -> SentenceDone:
        self.end(run)
        if run.semantic.alignment is not None:
            # A last chunk that was nothing but silence told nothing.
            self._tell(run)
        words = None if run.semantic.alignment is None else tuple(run.timing.words)
        return SentenceDone(run.index, run.state.num_samples, run.num_samples, run.compute_s, words)
