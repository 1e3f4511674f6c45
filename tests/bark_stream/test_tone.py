"""Equalising to a voice's tone: what is measured, what is put right, and that a stream cannot tell where it was cut."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bark_stream.bark import Bark
from bark_stream.checkpoint import load_checkpoint
from bark_stream.config import ChunkPolicy
from bark_stream.errors import BadVoice
from bark_stream.events import Chunk
from bark_stream.state import SpeechState
from bark_stream.tone import MAX_GAIN_DB, NUM_BANDS, NUM_TAPS, equaliser, spectrum_db, tone_between
from bark_stream.voice import Voice, read_voice, save_voice

RATE_HZ = 24_000


def _noise(seed: int, seconds: float = 2.0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, 0.1, int(seconds * RATE_HZ)).astype(np.float32)


def _slope() -> NDArray[np.float32]:
    """From -9 to 9 dB, low to high."""
    return np.linspace(-9, 9, NUM_BANDS).astype(np.float32)


def test_equalised_sound_has_the_tone_asked_for() -> None:
    """What is measured after the equaliser is what it was given, within a decibel."""
    before, after = _noise(0), equaliser(_slope(), RATE_HZ)(_noise(0))
    found = tone_between(spectrum_db(before, RATE_HZ), spectrum_db(after, RATE_HZ))
    assert np.abs(found - _slope())[1:-1].max() < 1.0


def test_equaliser_of_the_opposite_tone_undoes_it() -> None:
    """What is left differs by less than a hundredth in energy, without any delay."""
    sound = _noise(1)
    back = equaliser(-_slope(), RATE_HZ)(equaliser(_slope(), RATE_HZ)(sound))
    assert np.mean((back - sound) ** 2) < 0.01 * np.mean(sound**2)


def test_equaliser_without_gains_changes_nothing() -> None:
    """0 dB is the sound itself."""
    sound = _noise(2)
    assert np.allclose(equaliser(np.zeros(NUM_BANDS, np.float32), RATE_HZ)(sound), sound, atol=1e-6)


def test_stream_in_pieces_is_the_stream_as_a_whole() -> None:
    """However it is cut, and if it goes on later with what was remembered."""
    sound = _noise(3)
    whole = equaliser(_slope(), RATE_HZ)(sound)
    first = equaliser(_slope(), RATE_HZ)
    pieces = [first(sound[:100]), first(sound[100:100]), first(sound[100:7000])]
    second = equaliser(_slope(), RATE_HZ, first.past)
    assert first.past.shape == (NUM_TAPS - 1,)
    pieces += [second(sound[7000:7001]), second(sound[7001:])]
    assert np.allclose(np.concatenate(pieces), whole, atol=1e-6)


def test_tone_is_no_loudness_and_has_a_limit() -> None:
    """Twice as loud is the same tone; what would need more than the largest gain gets that."""
    usual = spectrum_db(_noise(4), RATE_HZ)
    assert np.abs(tone_between(usual, spectrum_db(2 * _noise(4), RATE_HZ))).max() < 0.01
    assert np.abs(tone_between(usual, usual + 9 * _slope())).max() == MAX_GAIN_DB


def test_pauses_have_no_tone() -> None:
    """Sound between silences measures as it does alone."""
    silence = np.zeros(3 * RATE_HZ, np.float32)
    between = spectrum_db(np.concatenate([silence, _noise(5), silence]), RATE_HZ)
    assert np.abs(between - spectrum_db(_noise(5), RATE_HZ)).max() < 0.5


@pytest.fixture(scope="module")
def bark() -> Bark:
    return Bark(load_checkpoint("mini"))


@pytest.fixture
def toned() -> Voice:
    return replace(load_checkpoint("mini").voices.get("en_speaker_0"), tone=_slope())


def test_voice_with_a_tone_is_the_same_speech_equalised(bark: Bark, toned: Voice) -> None:
    """Over several sentences, as one stream: nothing else about it changes."""
    text = "The door is open. Come in, and sit down."
    plain = bark.synthesize(text, voice="en_speaker_0", seed=3).pcm
    spoken = bark.synthesize(text, voice=toned, seed=3).pcm
    assert np.allclose(spoken, equaliser(_slope(), bark.sample_rate_hz)(plain), atol=1e-5)
    assert np.abs(spoken - plain).max() > 0.01


def _said(bark: Bark, text: str, state: SpeechState) -> NDArray[np.float32]:
    (sentence,) = bark.sentences(text, ChunkPolicy.realtime())
    return np.concatenate([event.pcm for event in bark.speak(sentence, state) if isinstance(event, Chunk)])


def test_speech_goes_on_with_its_tone_from_a_state_in_bytes(bark: Bark, toned: Voice) -> None:
    """The second sentence from a packed state is what it is without."""
    state = bark.synthesize("The door is open.", voice=toned, seed=4).state
    packed = SpeechState.from_bytes(state.to_bytes())
    assert packed == state
    assert packed.voice is not None
    assert packed.voice.tone is not None
    assert np.array_equal(packed.voice.tone, _slope())
    on = _said(bark, "Come in.", state)
    assert np.array_equal(_said(bark, "Come in.", packed), on)
    assert packed.past is not None
    # Full of what was heard last, not of silence.
    forgotten = _said(bark, "Come in.", replace(packed, past=np.ones_like(packed.past)))
    assert not np.array_equal(forgotten, on)


def test_tone_travels_in_a_voice_file(toned: Voice, tmp_path: Path) -> None:
    """In hundredths of a decibel; a file without one has none."""
    save_voice(toned, tmp_path / "a.npz")
    tone = read_voice(tmp_path / "a.npz").tone
    assert tone is not None
    assert np.abs(tone - _slope()).max() <= 0.005 + 1e-6
    save_voice(replace(toned, tone=None), tmp_path / "b.npz")
    assert read_voice(tmp_path / "b.npz").tone is None


@pytest.mark.parametrize(
    ("tone", "problem"),
    [
        (np.zeros(NUM_BANDS), "not int16"),
        (np.zeros(NUM_BANDS + 1, np.int16), "not int16"),
        (np.full(NUM_BANDS, 2001, np.int16), "beyond 20 dB"),
        (np.full(NUM_BANDS, -32768, np.int16), "beyond 20 dB"),
    ],
)
def test_file_with_a_tone_that_is_none_is_refused(
    toned: Voice, tmp_path: Path, tone: NDArray[np.generic], problem: str
) -> None:
    """Wrong kind, wrong length, gains that would deafen."""
    path = tmp_path / "a.npz"
    np.savez(path, semantic_prompt=toned.semantic, coarse_prompt=toned.coarse, fine_prompt=toned.fine, tone=tone)
    with pytest.raises(BadVoice, match=problem):
        read_voice(path)
