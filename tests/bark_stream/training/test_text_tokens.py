"""Characters as tokens."""

from __future__ import annotations

from bark_stream.training.text_tokens import build_tokenizer


def test_tokenizer_keeps_case_and_takes_sounds_whole() -> None:
    """One token a character, one a sound; its offsets point into the text."""
    encoding = build_tokenizer().encode("Oh… [laughs] NO", add_special_tokens=False)
    assert encoding.tokens == ["O", "h", "…", " ", "[laughs]", " ", "N", "O"]
    assert encoding.offsets[4] == (4, 12)


def test_tokenizer_reads_what_people_type() -> None:
    """Curly quotes, three dots and other names of a sound are understood."""
    encoding = build_tokenizer().encode("it’s... [laughter]", add_special_tokens=False)
    assert encoding.tokens == ["i", "t", "'", "s", "…", " ", "[laughs]"]


def test_tokenizer_with_an_unknown_character_goes_on() -> None:
    """What has no token is one unknown token."""
    encoding = build_tokenizer().encode("a\u4e2db", add_special_tokens=False)
    assert encoding.ids[1] == 0
    assert len(encoding.ids) == 3
