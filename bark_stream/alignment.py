"""Attention over the text -> where in the text a sentence is, semantic token by semantic token.

Speech reads a text from left to right and rarely jumps, so the weights of a head that follows the text are evidence
for a walk: a forward filter over text tokens (stay, or go on a little) turns them into one that never goes back. Knows
no model and no sound.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

STEP_PROBABILITIES = np.array([0.62, 0.26, 0.07, 0.025, 0.012, 0.006, 0.004, 0.003])
"""Of going on by 0, 1, 2 … text tokens from one semantic token to the next."""
FLOOR = 1e-4
"""Evidence that a text token keeps when no head looks at it, so that one wrong look costs little."""


@dataclass(frozen=True, slots=True)
class TextWord:
    """A word of a sentence as the model reads it."""

    text: str
    first_token: int
    """Of the sentence's text tokens."""


@dataclass(slots=True)
class TextAlignment:
    """One sentence's walk through its text so far."""

    words: tuple[TextWord, ...]
    """In order; the first begins at text token 0."""
    num_text_tokens: int
    starts: list[int] = field(default_factory=list)
    """Semantic token with which each word that was reached begins."""
    _belief: NDArray[np.float64] | None = None
    _num_pushed: int = 0

    def push(self, weights: NDArray[np.float32]) -> None:
        """One more semantic token. Args: weights: [num_text_tokens] attention while it was drawn, at least 0."""
        if self._belief is None:
            belief = np.zeros(self.num_text_tokens)
            belief[0] = 1.0
        else:
            belief = np.convolve(self._belief, STEP_PROBABILITIES)[: self.num_text_tokens]
        belief = belief * (weights + FLOOR)
        total = belief.sum()
        self._belief = belief / total if total > 0 else self._belief
        if self._belief is not None:
            self._reach(int(self._belief.argmax()))
        self._num_pushed += 1

    def _reach(self, position: int) -> None:
        """Words up to text token `position` have begun; one that was entered is not left again."""
        while len(self.starts) < len(self.words) and self.words[len(self.starts)].first_token <= position:
            self.starts.append(self._num_pushed)
