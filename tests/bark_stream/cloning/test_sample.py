"""Samples: what is taken, what is refused and why, where it is cut."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bark_stream.audio_file import read_audio
from bark_stream.cloning.loudness import is_sounding, levels_db, loud_level_db
from bark_stream.cloning.sample import LEVEL_DB, MAX_PEAK, ending_in_a_pause, speech_of
from bark_stream.errors import (
    BadSample,
    SampleClipped,
    SampleNoisy,
    SampleSilent,
    SampleTooLong,
    SampleTooShort,
    SeveralSpeakers,
)

SAMPLES = Path(__file__).parents[2] / "samples"
Pcm = NDArray[np.float32]


def spoken(name: str) -> tuple[Pcm, int]:
    pcm, rate_hz = read_audio(SAMPLES / f"{name}.ogg")
    return pcm * np.float32(0.7 / np.abs(pcm).max()), rate_hz


@pytest.mark.parametrize("name", ["woman", "man"])
def test_speech_of_a_clean_sample_is_trimmed_and_levelled(name: str) -> None:
    """Seconds of silence around it go; the loud parts lie where models are trained, whatever they were."""
    pcm, rate_hz = spoken(name)
    silence = np.zeros(2 * rate_hz, np.float32)
    speech = speech_of(np.concatenate([silence, 0.2 * pcm, silence]), rate_hz, "sample")
    assert len(pcm) / rate_hz - 1.5 < len(speech) / rate_hz <= len(pcm) / rate_hz + 0.25
    peak = np.abs(speech).max()
    assert loud_level_db(levels_db(speech, rate_hz)) == pytest.approx(LEVEL_DB, abs=0.5) or peak >= 0.99 * MAX_PEAK


def faulty(fault: str) -> tuple[Pcm, int]:
    pcm, rate_hz = spoken("woman")
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 1, len(pcm)).astype(np.float32)
    match fault:
        case "short":
            return pcm[: 2 * rate_hz], rate_hz
        case "long":
            return np.concatenate([pcm, pcm, pcm]), rate_hz
        case "silent":
            return 0.001 * pcm, rate_hz
        case "clipped":
            return np.clip(4 * pcm, -1, 1), rate_hz
        case "noisy":
            return pcm + noise * np.float32(np.sqrt((pcm**2).mean()) / 10**0.5), rate_hz
        case _:
            other, _ = spoken("man")
            return np.concatenate([pcm, other]), rate_hz


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        ("short", SampleTooShort, "at least 3 s"),
        ("long", SampleTooLong, "at most 15 s"),
        ("silent", SampleSilent, "silent"),
        ("clipped", SampleClipped, "clipped"),
        ("noisy", SampleNoisy, "noisy"),
        ("two people", SeveralSpeakers, "more than one speaker"),
    ],
)
def test_speech_of_a_faulty_sample_names_the_fault(fault: str, error: type[BadSample], words: str) -> None:
    """One error a fault, with the facts, and a text that says what to do or what was found."""
    pcm, rate_hz = faulty(fault)
    with pytest.raises(error, match=words) as caught:
        speech_of(pcm, rate_hz, "me.wav")
    assert caught.type is error
    assert caught.value.source == "me.wav"


def test_several_speakers_says_where_the_other_begins() -> None:
    """Within a second."""
    pcm, rate_hz = faulty("two people")
    with pytest.raises(SeveralSpeakers) as caught:
        speech_of(pcm, rate_hz, "sample")
    assert caught.value.at_s == pytest.approx(len(spoken("woman")[0]) / rate_hz, abs=1.0)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_speech_of_no_sound_is_silent(value: float) -> None:
    """Nothing, and nothing that is a number, is refused like silence rather than with a warning of numpy's."""
    with pytest.raises((SampleSilent, SampleClipped)):
        speech_of(np.full(5 * 24_000, value, np.float32), 24_000, "sample")


def test_ending_in_a_pause_cuts_no_word() -> None:
    """A sample that breaks off in a word ends in the pause before it; one that ends in silence is left alone."""
    pcm, rate_hz = spoken("woman")
    levels = levels_db(pcm, rate_hz)
    frame = rate_hz // 50
    last_sound = int(np.flatnonzero(is_sounding(levels))[-1])
    broken = pcm[: last_sound * frame]
    cut = ending_in_a_pause(broken, rate_hz)
    assert 3 <= len(cut) / rate_hz < len(broken) / rate_hz
    assert np.abs(cut[-frame:]).max() < 0.05 * np.abs(broken).max()
    whole = np.concatenate([broken, np.zeros(rate_hz // 2, np.float32)])
    assert ending_in_a_pause(whole, rate_hz) is whole
