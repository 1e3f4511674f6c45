"""Speakers made of one teacher: ten made by hand, and strangers."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("hibari", reason="the teacher (extra train) is not installed")

from bark_stream.training.prepare import Reader
from bark_stream.training.streams import STRANGERS_SHARE, Stream, shares
from bark_stream.training.voices import FIRST_STRANGER, SPEAKERS, USUAL_RMS, VOICES, speaker_of


def test_speakers_made_by_hand_come_first_and_strangers_differ() -> None:
    """A number always means the same speaker."""
    assert [speaker_of(n) for n in range(FIRST_STRANGER)] == list(SPEAKERS)
    assert speaker_of(FIRST_STRANGER + 5) == speaker_of(FIRST_STRANGER + 5)
    assert speaker_of(FIRST_STRANGER + 5).f0_scale != speaker_of(FIRST_STRANGER + 6).f0_scale


def test_strangers_say_the_same_tokens_at_the_usual_loudness() -> None:
    """Who speaks changes neither the alignment nor the length, however narrow the band or large the room."""
    reader = Reader()
    told = [reader.clip("Who goes there?", who, 1.0, np.random.default_rng(0)) for who in (0, 10, 17, 23)]
    for clip in told:
        assert clip is not None
        assert told[0] is not None
        assert clip.tokens.tolist() == told[0].tokens.tolist()
        assert len(clip.pcm) == len(told[0].pcm)
    for clip in told[1:]:
        assert clip is not None
        assert np.sqrt(np.mean((clip.pcm / 32767.0) ** 2)) == pytest.approx(USUAL_RMS, rel=0.1)


def test_narrow_band_leaves_nothing_above() -> None:
    """What lies an octave above the band is 40 dB below the rest."""
    number = next(n for n in range(FIRST_STRANGER, 200) if speaker_of(n).bandwidth_hz < 5_000.0)
    clip = Reader().clip("Six thick thistle sticks.", number, 1.0, np.random.default_rng(0))
    assert clip is not None
    power = np.abs(np.fft.rfft(clip.pcm)) ** 2
    above = power[int(len(power) * 2 * speaker_of(number).bandwidth_hz / 12_000.0) :].sum()
    assert above < 1e-4 * power.sum()


def test_strangers_together_are_heard_as_often_as_said() -> None:
    """Each voice alike, all others together by their share."""
    lengths = np.array([100.0, 300.0, 50.0, 10.0, 30.0])
    streams = [_stream(s) for s in (VOICES[0], VOICES[0], VOICES[3], FIRST_STRANGER, FIRST_STRANGER + 9)]
    drawn = shares(streams, lengths)
    assert drawn.sum() == pytest.approx(1.0)
    assert drawn[3:].sum() == pytest.approx(STRANGERS_SHARE)
    assert drawn[:2].sum() == pytest.approx(drawn[2])
    assert drawn[1] == pytest.approx(3 * drawn[0])
    assert shares(streams[:3], lengths[:3]).sum() == pytest.approx(1.0)


def _stream(speaker: int) -> Stream:
    return Stream(
        speaker=speaker,
        semantic=np.zeros(1, np.int16),
        codes=np.zeros((8, 1), np.int16),
        starts=np.zeros(1, np.int32),
    )
