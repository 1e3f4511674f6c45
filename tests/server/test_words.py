"""Word times: the model's, or interpolated."""

from __future__ import annotations

import pytest
from bark_server.words import SpokenSentence

from bark_stream.events import MouthShape, Word

RATE_HZ = 1000


def _sentence(source: str) -> SpokenSentence:
    return SpokenSentence(index=0, source=source, offset=0, start_samples=0, rate_hz=RATE_HZ)


def test_tell_interpolates_a_finished_sentence_over_its_length() -> None:
    """Without times from the model, words share the sentence's duration by their length."""
    sentence = _sentence("One three. ")
    sentence.finish(1000, None)
    words = sentence.tell(0.1)
    assert [word.text for word in words] == ["One", "three."]
    assert words[0].end_s == pytest.approx(4 / 11)
    assert words[-1].end_s == pytest.approx(1.0)
    assert sentence.is_estimated


def test_tell_gives_the_models_times() -> None:
    """Times from the model are passed on and are not called estimated."""
    sentence = _sentence("Oh no.")
    sentence.finish(1000, (Word("Oh", 0.1, 0.3), Word("no.", 0.5, 0.9)))
    assert [(word.text, word.start_s) for word in sentence.tell(0.1)] == [("Oh", 0.1), ("no.", 0.5)]
    assert not sentence.is_estimated


def test_tell_before_the_end_covers_the_audio_made() -> None:
    """While a sentence is being made, only words that start in its audio are told, each once."""
    sentence = _sentence("aaaa bbbb cccc dddd")
    sentence.made_samples = 800
    assert [word.text for word in sentence.tell(0.1)] == ["aaaa", "bbbb"]
    sentence.finish(1600, None)
    assert [word.text for word in sentence.tell(0.1)] == ["cccc", "dddd"]
    assert not sentence.has_untold_words


def test_tell_passes_on_what_comes_with_the_audio() -> None:
    """Words that the model tells chunk by chunk are told chunk by chunk, each once, and are not called estimated."""
    sentence = _sentence("aaaa bbbb cccc")
    sentence.made_samples = 500
    sentence.learn((Word("aaaa", 0.0, 0.4),))
    assert sentence.needs_telling(20)
    assert [word.text for word in sentence.tell(0.1)] == ["aaaa"]
    assert not sentence.needs_telling(500)
    sentence.learn((Word("bbbb", 0.6, 0.8),))
    assert not sentence.needs_telling(600)
    assert sentence.needs_telling(601)
    sentence.finish(1200, (Word("aaaa", 0.0, 0.4), Word("bbbb", 0.6, 0.8), Word("cccc", 1.2, 1.2)))
    assert [word.text for word in sentence.tell(0.1)] == ["bbbb", "cccc"]
    assert not sentence.is_estimated
    assert not sentence.has_untold_words


def test_tell_shapes_tells_each_once() -> None:
    """Mouth shapes are handed on as they came."""
    sentence = _sentence("ma")
    sentence.learn(None, (MouthShape("PP", 0.0, 0.1), MouthShape("aa", 0.1, 0.2)))
    assert [shape.shape for shape in sentence.tell_shapes()] == ["PP", "aa"]
    assert sentence.tell_shapes() == ()


def test_heard_offset_counts_whole_words() -> None:
    """A word counts when it has ended; the end of the audio counts the whole source, trailing space and all."""
    sentence = _sentence("Oh no. ")
    sentence.finish(1000, (Word("Oh", 0.1, 0.3), Word("no.", 0.5, 0.9)))
    sentence.tell(0.1)
    assert [sentence.heard_offset(at_s, 0.1) for at_s in (0.0, 0.29, 0.3, 0.89, 0.9, 1.0)] == [0, 0, 2, 2, 6, 7]


def test_heard_offset_of_a_sentence_still_being_made() -> None:
    """Before the length is known, the speaking rate so far decides."""
    sentence = _sentence("aaaa bbbb cccc")
    sentence.made_samples = 800
    assert sentence.heard_offset(0.5, 0.1) == 4
    assert sentence.heard_offset(0.1, 0.1) == 0


def test_words_of_chinese_are_its_characters() -> None:
    """Where there are no spaces, each character is a word, with its punctuation."""
    sentence = _sentence("你好，世界。")
    sentence.finish(1000, None)
    assert [word.text for word in sentence.tell(0.1)] == ["你", "好，", "世", "界。"]


def test_words_the_model_spells_otherwise_keep_their_times() -> None:
    """A word that is not in the source is passed on and moves nothing."""
    sentence = _sentence("It is 5.")
    sentence.finish(900, (Word("It", 0, 0.3), Word("is", 0.3, 0.6), Word("five", 0.6, 0.9)))
    assert [word.end_offset for word in sentence.tell(0.1)] == [2, 5, 5]
