"""The walk through a text that a head's attention gives away."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bark_stream.alignment import TextAlignment, TextWord

WORDS = (TextWord("one", 0), TextWord("two", 4), TextWord("three", 8))


def looking_at(position: float, *, width: float = 1.0, num_text_tokens: int = 13) -> NDArray[np.float32]:
    """Attention around one text token."""
    away = (np.arange(num_text_tokens) - position) / width
    weights = np.exp(-0.5 * away**2)
    return (weights / weights.sum()).astype(np.float32)


def walked(positions: list[float], **options: float) -> TextAlignment:
    alignment = TextAlignment(WORDS, 13)
    for position in positions:
        alignment.push(looking_at(position, **options))
    return alignment


def test_alignment_of_steady_attention_finds_where_words_begin() -> None:
    """A head that walks a fifth of a letter per token is followed to within two tokens."""
    alignment = walked([token / 5 for token in range(65)])
    assert len(alignment.starts) == 3
    for start, expected in zip(alignment.starts, (0, 20, 40), strict=True):
        assert abs(start - expected) <= 2


def test_alignment_of_a_stray_look_stays_where_it_was() -> None:
    """One token that looks at the end of the text moves nothing."""
    positions = [token / 5 for token in range(30)]
    positions[10] = 12.0
    assert walked(positions).starts == walked([token / 5 for token in range(30)]).starts


def test_alignment_never_goes_back() -> None:
    """A head that returns to the first word does not begin it again."""
    alignment = walked([token / 5 for token in range(45)] + [1.0] * 20)
    assert alignment.starts == sorted(alignment.starts)
    assert len(alignment.starts) == 3


def test_alignment_without_any_attention_stands_still() -> None:
    """Weights of nothing give a walk without numbers that are none."""
    alignment = TextAlignment(WORDS, 13)
    for _ in range(5):
        alignment.push(np.zeros(13, np.float32))
    assert alignment.starts == [0]
