"""Ten speakers from one teacher: pitch, formants, breath and tilt are changed before sound is made.

The teacher's network predicts a spectrum per frame; a speaker is a fixed change of that spectrum and of the
pitch. So every speaker keeps the exact alignment of the sentence. Knows no tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from hibari import dsp

from bark_stream.training.teacher import FloatArray, Reading

NUM_BINS = 601
BIN_HZ = 20.0
MEDIAN_F0_HZ = 195.0
"""Median pitch of the teacher's own voice."""
UNVOICED_HZ = 40.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Speaker:
    """How one speaker differs from the teacher."""

    name: str
    f0_scale: float = 1.0
    """Factor on the median pitch."""
    f0_spread: float = 1.0
    """Factor on the distance from the median, in log pitch."""
    formant_scale: float = 1.0
    """Factor on the formant frequencies; below 1 is a longer throat."""
    tilt_db: float = 0.0
    """Added per octave above 500 Hz; below 0 is darker."""
    breath_db: float = 0.0
    """Added to the noise of voiced sounds."""
    gain: float = 2.0
    """Brings every speaker to about the same loudness (RMS 0.08)."""

    @property
    def is_plain(self) -> bool:
        return self == Speaker(name=self.name, gain=self.gain)


SPEAKERS = (
    Speaker(name="en_speaker_0", gain=1.8),
    Speaker(name="en_speaker_1", f0_scale=0.55, f0_spread=0.95, formant_scale=0.84, tilt_db=0.5, gain=2.5),
    Speaker(name="en_speaker_2", f0_scale=0.66, f0_spread=1.0, formant_scale=0.90, tilt_db=1.5, gain=2.4),
    Speaker(
        name="en_speaker_3", f0_scale=0.84, f0_spread=0.8, formant_scale=0.95, tilt_db=-2.0, breath_db=8.0, gain=2.2
    ),
    Speaker(name="en_speaker_4", f0_scale=1.45, f0_spread=1.0, formant_scale=1.17, tilt_db=0.5, gain=2.2),
    Speaker(name="en_speaker_5", f0_scale=0.48, f0_spread=0.8, formant_scale=0.79, tilt_db=-1.0, gain=2.6),
    Speaker(name="en_speaker_6", f0_scale=1.18, f0_spread=1.25, formant_scale=1.07, tilt_db=1.0, gain=2.15),
    Speaker(
        name="en_speaker_7", f0_scale=0.60, f0_spread=1.3, formant_scale=0.93, tilt_db=-2.5, breath_db=6.0, gain=2.2
    ),
    Speaker(
        name="en_speaker_8", f0_scale=0.76, f0_spread=0.6, formant_scale=0.88, tilt_db=-1.5, breath_db=10.0, gain=2.4
    ),
    Speaker(name="en_speaker_9", f0_scale=1.0, f0_spread=0.5, formant_scale=1.13, tilt_db=-1.5, gain=2.0),
)


def render(reading: Reading, speaker: Speaker, rng: np.random.Generator) -> FloatArray:
    """Make sound of a reading as one speaker would say it.

    Returns: [reading.num_samples] float32 at 24 kHz, -1..1.
    """
    f0 = change_pitch(reading.f0_hz, speaker)
    if speaker.is_plain:
        audio = dsp.synth(
            reading.harmonic, reading.phase, reading.noise, reading.residual, reading.residual_phase, f0, rng
        )
        return _as_floats(audio * speaker.gain)
    harmonic = warp(_smooth_bins(reading.harmonic, 11), speaker.formant_scale)
    phase = warp(reading.phase, speaker.formant_scale)
    noise = warp(reading.noise, speaker.formant_scale)
    residual = warp(reading.residual, speaker.formant_scale)
    tilt = _tilt(speaker.tilt_db)[:, None]
    voiced = (f0 > UNVOICED_HZ)[None, :]
    breath = np.where(voiced, np.float32(speaker.breath_db * np.log(10) / 20), np.float32(0.0))
    # The free-phase branch holds detail of the teacher's own pitch: under voice, another pitch must not carry it.
    residual = residual - np.where(voiced, np.float32(2.0), np.float32(0.0))
    density = np.float32(0.5 * np.log(speaker.f0_scale))
    audio = dsp.synth(
        (harmonic + tilt + density).astype(np.float32),
        phase,
        (noise + tilt + breath).astype(np.float32),
        (residual + tilt).astype(np.float32),
        reading.residual_phase,
        f0,
        rng,
    )
    return _as_floats(audio * speaker.gain)


def change_pitch(f0_hz: FloatArray, speaker: Speaker) -> FloatArray:
    """Scale and spread a pitch track around the median; unvoiced frames stay as they are."""
    voiced = f0_hz > UNVOICED_HZ
    ratio = np.maximum(f0_hz, UNVOICED_HZ) / MEDIAN_F0_HZ
    changed = MEDIAN_F0_HZ * speaker.f0_scale * ratio**speaker.f0_spread
    return np.where(voiced, np.maximum(changed, 1.5 * UNVOICED_HZ), f0_hz).astype(np.float32)


def warp(spectrum: FloatArray, scale: float) -> FloatArray:
    """Stretch a [601, F] log spectrum along frequency: what was at f is then at scale * f."""
    source = np.minimum(np.arange(NUM_BINS) / scale, NUM_BINS - 1.0)
    low = np.minimum(source.astype(np.int64), NUM_BINS - 2)
    part = (source - low).astype(np.float32)[:, None]
    return np.asarray(spectrum[low] * (1 - part) + spectrum[low + 1] * part, np.float32)


def _tilt(db_per_octave: float) -> FloatArray:
    hz = np.maximum(np.arange(NUM_BINS) * BIN_HZ, 250.0)
    return np.asarray(np.log2(hz / 500.0) * db_per_octave * np.log(10) / 20, np.float32)


def _smooth_bins(spectrum: FloatArray, width: int) -> FloatArray:
    """Moving average along frequency, so that no trace of the teacher's harmonics stays in the envelope."""
    padded = np.pad(spectrum, ((width // 2 + 1, width // 2), (0, 0)), mode="edge")
    total = np.cumsum(padded, axis=0, dtype=np.float64)
    return np.asarray((total[width:] - total[:-width]) / width, np.float32)


def _as_floats(audio: npt.NDArray[np.floating]) -> FloatArray:
    return np.asarray(np.clip(audio, -1.0, 1.0), np.float32)
