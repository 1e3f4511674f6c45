"""Semantic tokens of a recording whose words are known: what was heard and what the words let expect, in one search.

An encoder hears each moment for itself and is often wrong; the semantic stage knows how these words can sound, and not
how they did sound here. Both name tokens at the same rate, so a beam search adds the logarithms of their
probabilities (log-linear fusion, as a recogniser joins an acoustic and a language model). Knows no sound.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from bark_stream.checkpoint import Checkpoint
from bark_stream.cloning.encoder import Scores
from bark_stream.config import SemanticConfig
from bark_stream.kv_cache import KVCache
from bark_stream.text import TextEncoder
from bark_stream.transformer import CausalGPT, Span

NUM_HYPOTHESES = 8
"""Of the beam."""


@dataclass(frozen=True, slots=True)
class _Hypothesis:
    score: float
    tokens: tuple[int, ...]
    slot: int
    """Of the KV cache."""


class WordGuide:
    """A model's semantic stage as the one who knows how words sound."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._config: SemanticConfig = checkpoint.config.semantic
        self._text = TextEncoder(checkpoint.tokenizer, self._config)
        self._model = CausalGPT(self._config.transformer, slice(0, self._config.vocab_size)).eval()
        self._model.load_state_dict(dict(checkpoint.semantic))

    def tokens(self, scores: Scores, text: str) -> NDArray[np.int64]:
        """Args:
            scores: [N, V] log-probabilities of the tokens, from an encoder.
            text: what is said. The sound may break off before its end.
        Returns: [N] int64. What lies beyond the stage's `max_new_tokens` is as the encoder heard it.
        Raises: EmptyText, TextTooLong.
        """
        guided, rest = np.split(scores, [self._config.max_new_tokens])
        return np.append(self._search(guided, self._text.encode_padded(text)), rest.argmax(-1)).astype(np.int64)

    def _search(self, scores: Scores, text: list[int]) -> tuple[int, ...]:
        cache = KVCache(self._model.config, NUM_HYPOTHESES)
        slots = [cache.acquire() for _ in range(NUM_HYPOTHESES)]
        expected = self._begin(text, slots[0], cache)
        hypotheses = [_Hypothesis(0.0, (), slots[0])]
        for heard in scores:
            if hypotheses[0].tokens:
                expected = self._expected([h.tokens[-1] for h in hypotheses], [h.slot for h in hypotheses], cache)
            before = np.array([h.score for h in hypotheses])[:, None]
            joint = before + heard[None] + expected[:, : len(heard)]
            hypotheses = _extended(hypotheses, joint, slots, cache)
        return max(hypotheses, key=lambda h: h.score).tokens

    def _begin(self, text: list[int], slot: int, cache: KVCache) -> Scores:
        """Lay the prefix, without a history -> [1, V] what is expected first."""
        config = self._config
        tokens = [*text, config.infer_token]
        history = [(position, config.pad_token) for position in range(len(text))]
        return _log_softmax(self._model.decode(tokens, [Span(slot, len(tokens))], cache, summed=history))

    def _expected(self, latest: list[int], slots: list[int], cache: KVCache) -> Scores:
        """[H, V] log-probabilities of what follows each hypothesis."""
        return _log_softmax(self._model.decode(latest, [Span(slot, 1) for slot in slots], cache))


def _extended(
    hypotheses: list[_Hypothesis], joint: NDArray[np.float64], slots: list[int], cache: KVCache
) -> list[_Hypothesis]:
    """The best of all continuations [H, V]; what goes on in several ways is copied into slots of those dropped."""
    width = min(NUM_HYPOTHESES, joint.size)
    best = np.argpartition(-joint.ravel(), width - 1)[:width]
    parents, tokens = np.unravel_index(best, joint.shape)
    kept = {hypotheses[parent].slot for parent in parents}
    spare = [slot for slot in slots if slot not in kept]
    taken: set[int] = set()
    extended = []
    for parent, token in zip(parents.tolist(), tokens.tolist(), strict=True):
        slot = hypotheses[parent].slot
        if slot in taken:
            source, slot = slot, spare.pop()
            cache.copy(source, slot)
        taken.add(slot)
        extended.append(_Hypothesis(float(joint[parent, token]), (*hypotheses[parent].tokens, token), slot))
    return extended


def _log_softmax(logits: Scores) -> Scores:
    return np.asarray(torch.from_numpy(logits).log_softmax(-1).numpy())
