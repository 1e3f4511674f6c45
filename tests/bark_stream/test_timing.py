"""When words and mouth shapes are heard."""

from __future__ import annotations

import itertools

import pytest

from bark_stream.alignment import TextAlignment, TextWord
from bark_stream.timing import SentenceTiming, TimingClock

CLOCK = TimingClock(rate_hz=50.0, block_s=0.01, phones=("silence", "m", "ˈɑ", "s"))
WORDS = (TextWord("mam", 0), TextWord("as", 4))
TOKENS = [0, 0, 1, 1, 2, 2, 1, 0, 2, 3, 0]
"""Two of silence, m m a a m, a gap, a s, one of silence; 20 ms each."""


def aligned(*starts: int) -> TextAlignment:
    return TextAlignment(WORDS, 6, starts=list(starts))


def test_timing_of_words_leaves_out_the_silence_around_them() -> None:
    """A word lasts from its first sounding token to its last."""
    first, second = SentenceTiming(CLOCK).tell_words(aligned(0, 7), TOKENS, [], before_s=1.0, is_last=True)
    assert (first.text, first.start_s, first.end_s) == ("mam", pytest.approx(0.04), pytest.approx(0.14))
    assert (second.text, second.start_s, second.end_s) == ("as", pytest.approx(0.16), pytest.approx(0.20))


def test_timing_tells_a_word_with_the_audio_it_begins_in_and_once() -> None:
    """What begins later waits; what was told is not told again."""
    timing = SentenceTiming(CLOCK)
    told = timing.tell_words(aligned(0, 7), TOKENS, [], before_s=0.10, is_last=False)
    assert [word.text for word in told] == ["mam"]
    told = timing.tell_words(aligned(0, 7), TOKENS, [], before_s=0.22, is_last=True)
    assert [word.text for word in told] == ["as"]
    assert [word.text for word in timing.words] == ["mam", "as"]


def test_timing_of_cut_silence_moves_everything_after_it() -> None:
    """Blocks that are not heard take no time."""
    (first,) = SentenceTiming(CLOCK).tell_words(aligned(0), TOKENS, [0, 1, 2], before_s=0.1, is_last=False)
    assert first.start_s == pytest.approx(0.01)


def test_timing_at_the_end_tells_words_that_were_never_reached() -> None:
    """Every word of the sentence is told, within its audio."""
    told = SentenceTiming(CLOCK).tell_words(aligned(0), TOKENS, [], before_s=0.22, is_last=True)
    assert [word.text for word in told] == ["mam", "as"]
    assert all(0 <= word.start_s <= word.end_s <= 0.22 for word in told)


def test_timing_of_mouth_shapes_covers_the_audio_without_gaps() -> None:
    """Shapes follow one another, equal neighbours as one, from chunk to chunk."""
    timing = SentenceTiming(CLOCK)
    shapes = [
        *timing.tell_shapes(TOKENS, [], before_s=0.09),
        *timing.tell_shapes(TOKENS, [], before_s=0.22),
    ]
    assert [shape.shape for shape in shapes] == ["sil", "PP", "aa", "aa", "PP", "sil", "aa", "SS", "sil"]
    assert shapes[0].start_s == 0.0
    assert all(a.end_s <= b.start_s + 1e-9 for a, b in itertools.pairwise(shapes))


def test_timing_of_tokens_without_phones_has_no_shapes() -> None:
    """Suno's tokens do not say how a mouth stands."""
    timing = SentenceTiming(TimingClock(rate_hz=50.0, block_s=0.01))
    assert timing.tell_shapes(TOKENS, [], before_s=1.0) == ()
