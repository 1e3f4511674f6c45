"""Alignments become tokens, and every token knows what it means."""

from __future__ import annotations

import numpy as np

from bark_stream.training.semantic_tokens import (
    SOUNDS,
    SemanticVocabulary,
    band_of,
    num_tokens,
    tokens_of,
    vocabulary_table,
)


def test_vocabulary_is_small_and_unambiguous() -> None:
    """Fewer than 1,500 tokens, each with its own meaning, silence first."""
    meanings = SemanticVocabulary().meanings
    assert len(meanings) < 1500
    assert len(set(meanings)) == len(meanings)
    assert meanings[0].phone == "silence"


def test_tokens_of_an_alignment_name_phone_third_and_band() -> None:
    """A golden case: silence, a stressed vowel that falls, a voiceless consonant."""
    vocabulary = SemanticVocabulary()
    f0 = np.concatenate([np.zeros(8), np.full(6, 250.0), np.full(6, 160.0), np.zeros(8)]).astype(np.float32)
    tokens, chars = tokens_of(
        ("^", "ˈA", "t"), np.array([4, 6, 4]), f0, np.array([0.0, 0.0, 1.0], np.float32), vocabulary
    )
    meanings = [vocabulary.meanings[t] for t in tokens]
    assert len(tokens) == num_tokens(14 * 600) == 17
    assert [(m.phone, m.third, m.band) for m in meanings[:5]] == [
        ("silence", 0, 0),
        ("silence", 0, 0),
        ("silence", 1, 0),
        ("silence", 2, 0),
        ("silence", 2, 0),
    ]
    assert [(m.phone, m.third, m.band) for m in meanings[5:12]] == [
        ("ˈA", 0, 6),
        ("ˈA", 0, 6),
        ("ˈA", 1, 6),
        ("ˈA", 1, 6),
        ("ˈA", 1, 2),
        ("ˈA", 2, 2),
        ("ˈA", 2, 2),
    ]
    assert all(m.phone == "t" and m.band == 0 for m in meanings[12:])
    assert np.all(np.diff(chars) >= 0)


def test_symbols_the_vocabulary_lacks_become_near_ones() -> None:
    """Marks of punctuation are pauses, and unknown sounds have a stand-in."""
    vocabulary = SemanticVocabulary()
    assert vocabulary.phone_name(",") == "pause"
    assert vocabulary.phone_name(" ") == "gap"
    assert vocabulary.phone_name("^") == "silence"
    assert vocabulary.phone_name("ˈɾ") == "T"
    assert vocabulary.phone_name("ø") == "ə"


def test_band_of_pitch_rises_with_it() -> None:
    """Unvoiced is 0; voiced bands are 1 to 6."""
    assert [band_of(hz) for hz in (0, 100, 160, 180, 200, 220, 300)] == [0, 1, 2, 3, 4, 5, 6]


def test_sounds_have_runs_of_tokens_and_the_table_covers_all() -> None:
    """Every sound is as long as it says; the table has a row per token."""
    vocabulary = SemanticVocabulary()
    for name, length in SOUNDS:
        tokens = vocabulary.sound(name)
        assert len(tokens) == length
        assert {vocabulary.meanings[t].phone for t in tokens} == {f"[{name}]"}
    table = vocabulary_table(vocabulary)
    assert len(table["phone"]) == len(table["third"]) == len(table["band"]) == len(vocabulary)  # type: ignore[arg-type]
