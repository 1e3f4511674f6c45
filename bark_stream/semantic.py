"""Text tokens -> semantic tokens (49.9 Hz in Bark), one decode step at a time for many sentences.

Suno's arithmetic (generation.py, generate_text_semantic): the embeddings of 256 text tokens are summed with those of
256 history tokens, the infer token follows, then tokens are drawn until the end is likely. Knows no text, no sound
and no schedule: the caller says which runs step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bark_stream.alignment import TextAlignment, TextWord
from bark_stream.config import SamplingConfig, SemanticConfig
from bark_stream.kv_cache import KVCache
from bark_stream.sampling import draw_semantic
from bark_stream.transformer import MAX_SPAN_POSITIONS, CausalGPT, Gaze, Span


@dataclass(slots=True)
class SemanticRun:
    """One sentence on its way to semantic tokens."""

    text_tokens: Tensor
    """[max_text_tokens] int64, offset and padded."""
    history: Tensor
    """[max_history_tokens] int64, padded on the right."""
    max_tokens: int
    sampling: SamplingConfig
    generator: torch.Generator
    tokens: list[int] = field(default_factory=list)
    alignment: TextAlignment | None = None
    """Where in its text it is; None for a model without heads that tell."""
    slot: int | None = None
    num_laid: int = 0
    """Positions of the prefix that the slot holds."""
    is_finished: bool = False


class SemanticStage:
    """The semantic model with its KV cache; `num_slots` sentences at once."""

    def __init__(self, model: CausalGPT, config: SemanticConfig, num_slots: int) -> None:
        self._model = model
        self._config = config
        self.cache = KVCache(model.config, num_slots, device=model.device, dtype=model.dtype)

    def begin(
        self,
        text_tokens: Tensor,
        history: Tensor | None,
        *,
        sampling: SamplingConfig,
        generator: torch.Generator,
        max_tokens: int | None = None,
        words: Sequence[TextWord] = (),
    ) -> SemanticRun:
        """Args:
        text_tokens: [max_text_tokens] int64, offset and padded.
        words: of the text, whose times are wanted.
        history: [N] int64 semantic tokens spoken before, or None; only the last max_history_tokens count.
        max_tokens: at most config.max_new_tokens, which it is without it.
        """
        config = self._config
        padded = torch.full((config.max_history_tokens,), config.pad_token, dtype=torch.int64)
        if history is not None:
            recent = history[-config.max_history_tokens :]
            padded[: len(recent)] = recent
        limit = config.max_new_tokens if max_tokens is None else min(max_tokens, config.max_new_tokens)
        alignment = None
        if config.alignment_heads and words:
            alignment = TextAlignment(tuple(words), int((text_tokens != config.text_pad_token).sum()))
        return SemanticRun(text_tokens, padded, limit, sampling, generator, alignment=alignment)

    def step(self, runs: Sequence[SemanticRun]) -> None:
        """Each run gains a token or is finished; one whose prefix is not laid yet takes a slot and gains a piece of it
        first, and no token before the last piece."""
        tokens: list[int] = []
        summed: list[tuple[int, int]] = []
        spans: list[Span] = []
        for run in runs:
            if run.slot is None:
                run.slot = self.cache.acquire()
            new, history = self._next_positions(run)
            summed.extend(enumerate(history, len(tokens)))
            tokens.extend(new)
            spans.append(Span(run.slot, len(new)))
        drawing = [row for row, run in enumerate(runs) if run.num_laid == self._config.num_prefix_positions]
        gaze = self._gaze([runs[row] for row in drawing])
        logits = self._model.decode(tokens, spans, self.cache, gaze, summed=summed)
        for row in drawing:
            run = runs[row]
            if gaze is not None and run.alignment is not None and run.slot in gaze.weights:
                run.alignment.push(gaze.weights[run.slot].cpu().numpy())
            self._extend(run, logits[row])

    def finish(self, run: SemanticRun) -> None:
        """No more tokens for this run: its sentence ends here."""
        run.is_finished = True
        self.end(run)

    def end(self, run: SemanticRun) -> None:
        """Give the run's slot back; safe to call twice."""
        if run.slot is not None:
            self.cache.release(run.slot)
            run.slot = None

    def _gaze(self, runs: Sequence[SemanticRun]) -> Gaze | None:
        """Watches the text of the runs that have an alignment, if there are any."""
        watched = {
            run.slot: run.alignment.num_text_tokens
            for run in runs
            if run.alignment is not None and run.slot is not None
        }
        return Gaze(self._config.alignment_heads, watched) if watched else None

    def _next_positions(self, run: SemanticRun) -> tuple[list[int], list[int]]:
        """The latest token; or the next piece of the text, with the infer token behind its end, and the history that is
        summed with it."""
        if run.tokens:
            return run.tokens[-1:], []
        piece = slice(run.num_laid, run.num_laid + MAX_SPAN_POSITIONS)
        text, history = run.text_tokens[piece].tolist(), run.history[piece].tolist()
        if piece.stop >= self._config.max_text_tokens:
            text.append(self._config.infer_token)
        run.num_laid += len(text)
        return text, history

    def _extend(self, run: SemanticRun, logits: NDArray[np.float32]) -> None:
        """logits: [pad_token + 1]; the end is the last, and what lies between it and the semantic tokens nothing."""
        if self._config.pad_token > self._config.vocab_size:
            logits = np.append(logits[: self._config.vocab_size], logits[-1:])
        token = draw_semantic(logits, run.sampling, run.generator)
        if token is not None:
            run.tokens.append(token)
        if token is None or len(run.tokens) >= run.max_tokens:
            self.finish(run)
