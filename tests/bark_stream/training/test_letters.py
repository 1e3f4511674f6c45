"""Phones find the letters that they are written with."""

from __future__ import annotations

import pytest

from bark_stream.training.letters import letters_of_phones


@pytest.mark.parametrize(
    ("word", "phones", "letters"),
    [
        ("through", "θɹu", "tru"),
        ("strawberry", "stɹˈɔbˌɛɹi", "straabeery"),
        ("knight", "nˈIt", "kiit"),
        ("boxes", "bˈɑksᵻz", "booxxes"),
        ("little", "lˈɪTᵊl", "liitll"),
        ("LITTLE", "lˈɪTᵊl", "LIITLL"),
        ("don't", "dˈOnt", "doont"),
    ],
)
def test_phones_of_a_word_begin_at_their_letters(word: str, phones: str, letters: str) -> None:
    """Silent letters are passed over, shared ones shared, and a stress mark goes with its vowel."""
    assert "".join(word[i] for i in letters_of_phones(word, phones)) == letters


def test_phones_of_a_number_are_spread_evenly() -> None:
    """Digits spell nothing, so their phones are read at a steady pace."""
    assert letters_of_phones("42", "fˈɔɹTi tˈu") == (0, 0, 0, 0, 0, 1, 1, 1, 1, 1)


def test_phones_never_go_back() -> None:
    """Whatever the word, the letters are in order and inside it."""
    for word, phones in (("eye", "ˈI"), ("w", "dˈʌbᵊljˌu"), ("", ""), ("queue", "kjˈu"), ("zzz", "mˈɑ")):
        letters = letters_of_phones(word, phones)
        assert list(letters) == sorted(letters)
        assert len(letters) == len(phones)
        assert all(0 <= i < max(1, len(word)) for i in letters)
