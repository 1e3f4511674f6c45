"""What was spoken and what was not."""

from __future__ import annotations

from bark_server.transcript import Transcript

from bark_stream.sentences import Sentence

RATE_HZ = 1000


def _transcript() -> Transcript:
    transcript = Transcript(rate_hz=RATE_HZ)
    for piece in ("One two. ", "Three", " four. ", "Fi"):
        transcript.add(piece)
    transcript.expect(Sentence(0, "One two.", "One two. ", 0))
    transcript.expect(Sentence(1, "Three four.", "Three four. ", 9))
    transcript.begin(0, 0).finish(900, ())
    transcript.begin(1, 900).made_samples = 500
    return transcript


def test_split_always_adds_up_to_the_text() -> None:
    """Spoken and unspoken are the text, wherever it is cut; more is spoken the later the cut."""
    transcript, lengths = _transcript(), []
    for samples in range(0, 2000, 50):
        spoken, unspoken = transcript.split(samples)
        assert spoken + unspoken == "One two. Three four. Fi"
        lengths.append(len(spoken))
    assert lengths == sorted(lengths)


def test_split_cuts_at_words() -> None:
    """Nothing heard, half of a sentence, a whole one."""
    transcript = _transcript()
    assert transcript.split(0)[0] == ""
    assert transcript.split(450)[0] == "One"
    assert transcript.split(900)[0] == "One two. "


def test_rate_is_learnt_from_sentences_that_are_done() -> None:
    """The context's own speed replaces the default once it has spoken a sentence."""
    assert _transcript().s_per_character == 0.1
    assert 0.04 < Transcript(rate_hz=RATE_HZ).s_per_character < 0.1
