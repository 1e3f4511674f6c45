"""Semantic tokens -> two coarse codebooks (75 Hz each), window by window for many sentences.

Suno's arithmetic (generation.py, generate_coarse): a window lays [semantic slice, padded][infer][coarse history] anew
and then draws tokens frame by frame, each from its own codebook's rows. Windows may be longer than Suno's; the history
is then cut to what fits. A window may also go on in the one before (`reuse_prefix`): nothing is laid anew but the
semantic tokens that have become known meanwhile. Where windows begin is counted in `coarse_window`. Knows no sound and
no schedule: the caller opens windows and says which runs step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from bark_stream.coarse_window import flat_codes, history_spans, window_start
from bark_stream.config import ModelConfig, SamplingConfig
from bark_stream.errors import EngineError
from bark_stream.kv_cache import KVCache
from bark_stream.sampling import draw
from bark_stream.transformer import MAX_SPAN_POSITIONS, CausalGPT, Span
from bark_stream.voice import Voice

MIN_SEMANTIC_AHEAD = 12
"""Semantic tokens beyond its end that a window in a reused prefix must see, unless the sentence has no more."""


@dataclass(slots=True)
class CoarseRun:
    """One sentence on its way to coarse tokens."""

    semantic: list[int]
    """History, then the sentence so far; grows while the semantic stage runs."""
    num_semantic_history: int
    history: list[int]
    """Flattened coarse history, codebook offsets added."""
    sampling: SamplingConfig
    generator: torch.Generator
    tokens: list[int] = field(default_factory=list)
    """Flattened coarse tokens of the sentence, codebook offsets added."""
    window_end: int = 0
    """The open window ends before this token."""
    slot: int | None = None
    first_semantic: int = 0
    """The first of `semantic` that the slot holds."""
    num_semantic_laid: int = 0
    """So many of them were known when the slot's prefix was laid, or added since."""
    unlaid: list[tuple[int, list[int]]] = field(default_factory=list)
    """(position, tokens) of the pieces to be laid before the next token can be drawn."""

    @property
    def is_window_open(self) -> bool:
        return len(self.tokens) < self.window_end


class CoarseStage:
    """The coarse model with its KV cache; `num_slots` sentences at once."""

    def __init__(self, model: CausalGPT, config: ModelConfig, num_slots: int) -> None:
        self._model = model
        self._config = config
        self.cache = KVCache(model.config, num_slots, device=model.device, dtype=model.dtype)

    def begin(self, history: Voice | None, *, sampling: SamplingConfig, generator: torch.Generator) -> CoarseRun:
        """Args: history: what was spoken before; cut here to what the windows look back on."""
        if history is None:
            return CoarseRun([], 0, [], sampling, generator)
        flat = flat_codes(history.coarse, self._config)
        semantic_span, coarse_span = history_spans(len(history.semantic), len(flat), self._config)
        semantic, coarse = history.semantic[semantic_span].tolist(), flat[coarse_span].tolist()
        return CoarseRun(semantic, len(semantic), coarse, sampling, generator)

    def num_tokens(self, num_semantic_tokens: int) -> int:
        """Coarse tokens that so many semantic tokens of a sentence become (whole frames)."""
        codebooks = self._config.coarse.num_codebooks
        return math.floor(num_semantic_tokens * self._config.coarse_tokens_per_semantic / codebooks) * codebooks

    def num_semantic_needed(self, run: CoarseRun, num_tokens: int, lookahead: int | None) -> int:
        """Semantic tokens of the sentence that must be known before a window of `num_tokens` opens.

        Args: lookahead: tokens beyond the window's end; None: all that the window can see.
        """
        if lookahead is None:
            first, _ = self._window_start(run, num_tokens)
            return first + self._config.coarse.max_semantic_tokens - run.num_semantic_history
        return math.ceil((len(run.tokens) + num_tokens) / self._config.coarse_tokens_per_semantic) + lookahead

    def open_window(self, run: CoarseRun, num_tokens: int, *, reuse_prefix: bool = False) -> None:
        """The next `num_tokens` tokens are made from the semantic tokens known now.

        Args: reuse_prefix: keep what the slot holds while there is room, and else lay a prefix that leaves some.
        Raises: EngineError if a window is open, or this one does not fit the context window.
        """
        if run.is_window_open:
            raise EngineError("a coarse window is still open")
        if self._max_history(num_tokens) <= 0:
            raise EngineError(f"a coarse window of {num_tokens} tokens does not fit the context window")
        if reuse_prefix and self._has_room(run, num_tokens):
            self._lay_new_semantic(run)
        else:
            self._lay_prefix(run, self._room_for_more(num_tokens) if reuse_prefix else num_tokens)
        run.window_end = len(run.tokens) + num_tokens

    def step(self, runs: Sequence[CoarseRun]) -> None:
        """Each run, its window open, gains a token, or a piece of what must be laid before."""
        tokens: list[int] = []
        spans: list[Span] = []
        drawing: list[tuple[CoarseRun, int]] = []
        for run in runs:
            for span, laid in self._next_positions(run):
                spans.append(span)
                tokens.extend(laid)
            if not run.unlaid:
                drawing.append((run, len(spans) - 1))
        logits = self._model.decode(tokens, spans, self.cache)
        for run, row in drawing:
            self._extend(run, logits[row])

    def end(self, run: CoarseRun) -> None:
        """Give the run's slot back; safe to call twice."""
        if run.slot is not None:
            self.cache.release(run.slot)
            run.slot = None

    def codes(self, run: CoarseRun, first_frame: int = 0) -> NDArray[np.int64]:
        """[num_codebooks, T] whole frames made so far, from `first_frame` on, without offsets."""
        codebooks, size = self._config.coarse.num_codebooks, self._config.codec.codebook_size
        num_frames = len(run.tokens) // codebooks
        flat = np.array(run.tokens[first_frame * codebooks : num_frames * codebooks], dtype=np.int64)
        frames = flat.reshape(-1, codebooks).T - self._config.semantic.vocab_size
        codes: NDArray[np.int64] = frames - size * np.arange(codebooks)[:, None]
        return codes

    def _max_history(self, num_tokens: int) -> int:
        coarse = self._config.coarse
        return min(coarse.max_history_tokens, coarse.transformer.block_size - coarse.num_prefix_positions - num_tokens)

    def _window_start(self, run: CoarseRun, num_tokens: int) -> tuple[int, int]:
        """The first semantic and the first coarse token of the next window, counted from the start of the history."""
        longest = self._max_history(num_tokens)
        return window_start(run.num_semantic_history, len(run.history), len(run.tokens), longest, self._config)

    def _room_for_more(self, num_tokens: int) -> int:
        """Tokens that a prefix leaves room for where it will be reused: its history keeps half of its length."""
        config = self._config.coarse
        room = config.transformer.block_size - config.num_prefix_positions - config.max_history_tokens // 2
        return max(num_tokens, room)

    def _has_room(self, run: CoarseRun, num_tokens: int) -> bool:
        """Whether another window fits the slot, and the semantic tokens that it needs."""
        if run.slot is None or not run.tokens:
            return False
        config = self._config.coarse
        end = math.ceil((len(run.tokens) + num_tokens) / self._config.coarse_tokens_per_semantic)
        needed = min(run.num_semantic_history + end + MIN_SEMANTIC_AHEAD, len(run.semantic))
        return (
            self.cache.lengths[run.slot] + num_tokens <= config.transformer.block_size
            and needed - run.first_semantic <= config.max_semantic_tokens
        )

    def _lay_new_semantic(self, run: CoarseRun) -> None:
        """What has become known takes the place of padding."""
        known = run.semantic[run.first_semantic : run.first_semantic + self._config.coarse.max_semantic_tokens]
        run.unlaid = _pieces(known[run.num_semantic_laid :], run.num_semantic_laid)
        run.num_semantic_laid = len(known)

    def _lay_prefix(self, run: CoarseRun, num_tokens: int) -> None:
        """Everything anew, with room for `num_tokens`."""
        config = self._config.coarse
        if run.slot is None:
            run.slot = self.cache.acquire()
        self.cache.reset(run.slot)
        run.first_semantic, first_coarse = self._window_start(run, num_tokens)
        semantic = run.semantic[run.first_semantic : run.first_semantic + config.max_semantic_tokens]
        run.num_semantic_laid = len(semantic)
        padding = [config.semantic_pad_token] * (config.max_semantic_tokens - len(semantic))
        history = (run.history + run.tokens)[first_coarse:]
        run.unlaid = _pieces([*semantic, *padding, config.infer_token, *history])

    def _next_positions(self, run: CoarseRun) -> list[tuple[Span, list[int]]]:
        """A piece of what is not laid yet; with the last of new semantic tokens, or without any, the latest token."""
        assert run.slot is not None
        spans: list[tuple[Span, list[int]]] = []
        if run.unlaid:
            start, tokens = run.unlaid.pop(0)
            spans.append((Span(run.slot, len(tokens), start), tokens))
            if run.unlaid or start + len(tokens) > self._config.coarse.max_semantic_tokens:
                return spans
        return [*spans, (Span(run.slot, 1), run.tokens[-1:])]

    def _extend(self, run: CoarseRun, logits: NDArray[np.float32]) -> None:
        """Draw the next token; logits: [num_codebooks · codebook_size]."""
        size = self._config.codec.codebook_size
        first = len(run.tokens) % self._config.coarse.num_codebooks * size
        token = draw(logits[first : first + size], run.sampling.waveform_temperature, run.sampling, run.generator)
        run.tokens.append(self._config.semantic.vocab_size + first + int(token))


def _pieces(tokens: list[int], start: int = 0) -> list[tuple[int, list[int]]]:
    """(position, tokens) of the steps in which they are laid."""
    size = MAX_SPAN_POSITIONS
    return [(start + first, tokens[first : first + size]) for first in range(0, len(tokens), size)]
