"""Captions: cues that fit a screen, in both formats."""

from __future__ import annotations

import itertools

import pytest

from bark_stream.events import Word
from bark_stream.long_form.captions import MAX_CHARACTERS, MAX_CUE_S, Cue, cues, written

LONG = "It was a dark and stormy night, and the rain fell in torrents, except at occasional intervals, " * 2


def test_cues_follow_the_words_times() -> None:
    """A short sentence is one cue, from its first word to its last."""
    words = [Word("Hello", 0.5, 0.9), Word("there.", 1.0, 1.6)]
    assert list(cues("Hello there.", 10.0, 2.0, words, "Anna")) == [Cue(10.5, 11.6, "Hello there.", "Anna")]


@pytest.mark.parametrize("words", [None, ()])
def test_cues_of_a_model_that_cannot_tell_share_the_sentence(words: None) -> None:
    """Without word times the cues cover the sentence in order, each short enough, and nothing is lost."""
    made = list(cues(LONG, 1.0, 20.0, words))
    assert " ".join(cue.text for cue in made) == " ".join(LONG.split())
    assert made[0].start_s == 1.0
    assert made[-1].end_s == pytest.approx(21.0)
    assert all(cue.end_s == pytest.approx(after.start_s) for cue, after in itertools.pairwise(made))
    assert max(len(cue.text) for cue in made) <= MAX_CHARACTERS
    assert max(cue.end_s - cue.start_s for cue in made) <= MAX_CUE_S


def test_written_srt_and_vtt() -> None:
    """The clocks of each format; a name in front, or as WebVTT's voice; nothing that WebVTT would take for a tag."""
    shown = [Cue(0.0, 1.25, "Is 1 < 2 & so on?", "Anna"), Cue(3661.5, 3662.0, "Yes.")]
    assert "".join(written(shown, "srt")) == (
        "1\n00:00:00,000 --> 00:00:01,250\nAnna: Is 1 < 2 & so on?\n\n2\n01:01:01,500 --> 01:01:02,000\nYes.\n\n"
    )
    assert "".join(written(shown, "vtt")) == (
        "WEBVTT\n\n1\n00:00:00.000 --> 00:00:01.250\n<v Anna>Is 1 &lt; 2 &amp; so on?\n\n"
        "2\n01:01:01.500 --> 01:01:02.000\nYes.\n\n"
    )
