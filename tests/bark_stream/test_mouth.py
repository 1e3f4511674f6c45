"""Mouth shapes of phones."""

from __future__ import annotations

from bark_stream.mouth import SHAPES, shape_of
from bark_stream.training.semantic_tokens import SemanticVocabulary


def test_mouth_shape_of_every_phone_of_mini_is_known() -> None:
    """Only silence closes the mouth."""
    closed = {m.phone for m in SemanticVocabulary().meanings if shape_of(m.phone) == "sil"}
    assert closed == {"silence", "pause", "gap"}


def test_mouth_shape_of_a_stressed_vowel_is_the_vowel_s() -> None:
    """Stress changes loudness, not the mouth."""
    assert shape_of("ˈu") == shape_of("u") == "ou"


def test_mouth_shapes_are_the_fifteen_that_engines_share() -> None:
    """Oculus Lipsync's set, no more and no fewer."""
    assert len(SHAPES) == 15
