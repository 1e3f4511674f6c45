"""Many speakers from one teacher: pitch, formants, breath and tilt are changed before sound is made.

The teacher's network predicts a spectrum per frame; a speaker is a fixed change of that spectrum and of the
pitch. So every speaker keeps the exact alignment of the sentence. Ten are made by hand; any number of strangers,
each heard for a few sentences only, teach the stages to follow whoever comes before. Knows no tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from hibari import dsp

from bark_stream.training.teacher import SAMPLE_RATE_HZ, FloatArray, Reading

NUM_BINS = 601
BIN_HZ = 20.0
MEDIAN_F0_HZ = 195.0
"""Median pitch of the teacher's own voice."""
UNVOICED_HZ = 40.0
EQUALISER_HZ = (150.0, 400.0, 1_000.0, 2_200.0, 4_000.0, 8_000.0)
BEND_HZ = 1_500.0
"""Where `upper_formant_scale` begins."""
USUAL_RMS = 0.08
MAX_GAIN = 8.0
SILENT_NEPERS = -12.0
DIRECT_SOUND_SHARE = 0.8


@dataclass(frozen=True, kw_only=True, slots=True)
class Speaker:
    """How one speaker differs from the teacher."""

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
    upper_formant_scale: float = 1.0
    """Factor on what lies above 1.5 kHz, besides `formant_scale`."""
    equaliser_db: tuple[float, ...] = ()
    """Added at EQUALISER_HZ, interpolated between them; none without."""
    bandwidth_hz: float = 12_000.0
    """Nothing is left above, as from a narrow microphone or an old synthesiser."""
    room_s: float = 0.0
    """Time in which a small room's sound dies away; 0 is no room."""
    gain: float = 2.0
    """Brings every speaker to about the same loudness (RMS 0.08); 0 does so sentence by sentence."""

    @property
    def is_plain(self) -> bool:
        return self == Speaker(gain=self.gain)


SPEAKERS = (
    Speaker(gain=1.8),
    Speaker(f0_scale=0.55, f0_spread=0.95, formant_scale=0.84, tilt_db=0.5, gain=2.5),
    Speaker(f0_scale=0.66, f0_spread=1.0, formant_scale=0.90, tilt_db=1.5, gain=2.4),
    Speaker(f0_scale=0.84, f0_spread=0.8, formant_scale=0.95, tilt_db=-2.0, breath_db=8.0, gain=2.2),
    Speaker(f0_scale=1.45, f0_spread=1.0, formant_scale=1.17, tilt_db=0.5, gain=2.2),
    Speaker(f0_scale=0.48, f0_spread=0.8, formant_scale=0.79, tilt_db=-1.0, gain=2.6),
    Speaker(f0_scale=1.18, f0_spread=1.25, formant_scale=1.07, tilt_db=1.0, gain=2.15),
    Speaker(f0_scale=0.60, f0_spread=1.3, formant_scale=0.93, tilt_db=-2.5, breath_db=6.0, gain=2.2),
    Speaker(f0_scale=0.76, f0_spread=0.6, formant_scale=0.88, tilt_db=-1.5, breath_db=10.0, gain=2.4),
    Speaker(f0_scale=1.0, f0_spread=0.5, formant_scale=1.13, tilt_db=-1.5, gain=2.0),
)


FIRST_STRANGER = len(SPEAKERS)
"""Numbers from here on are strangers."""
VOICES = (0, 116, 2422, 1825, 4, 2010, 811, 1726, 2532, 1919)
"""Speaker n of the list is the model's voice `en_speaker_n`; most are strangers, chosen by how well they are understood
and how little alike they are (EXPERIMENTS)."""


def speaker_of(number: int) -> Speaker:
    """One of SPEAKERS, or the stranger of that number: who it is depends on the number alone."""
    if number < FIRST_STRANGER:
        return SPEAKERS[number]
    rng = np.random.default_rng([number])
    f0_scale = float(np.exp(rng.uniform(np.log(0.42), np.log(1.6))))
    return Speaker(
        f0_scale=f0_scale,
        f0_spread=float(rng.uniform(0.15, 1.5)),
        # Low voices have long throats, more or less.
        formant_scale=float(np.clip(f0_scale**0.3 * np.exp(rng.normal(0.0, 0.07)), 0.76, 1.25)),
        upper_formant_scale=float(np.exp(rng.normal(0.0, 0.05))),
        tilt_db=float(rng.uniform(-4.0, 2.0)),
        breath_db=float(rng.uniform(0.0, 12.0)) if rng.random() < 0.4 else 0.0,
        equaliser_db=tuple(rng.normal(0.0, 3.0, len(EQUALISER_HZ)).tolist()),
        bandwidth_hz=float(rng.uniform(3_400.0, 11_000.0)) if rng.random() < 0.5 else 12_000.0,
        room_s=float(rng.uniform(0.05, 0.3)) if rng.random() < 0.3 else 0.0,
        gain=0.0,
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
    harmonic = _warped(_smooth_bins(reading.harmonic, 11), speaker)
    phase = _warped(reading.phase, speaker)
    noise = _warped(reading.noise, speaker)
    residual = _warped(reading.residual, speaker)
    colour = _colour(speaker)[:, None]
    voiced = (f0 > UNVOICED_HZ)[None, :]
    breath = np.where(voiced, np.float32(speaker.breath_db * np.log(10) / 20), np.float32(0.0))
    # The free-phase branch holds detail of the teacher's own pitch: under voice, another pitch must not carry it.
    residual = residual - np.where(voiced, np.float32(2.0), np.float32(0.0))
    density = np.float32(0.5 * np.log(speaker.f0_scale))
    audio = dsp.synth(
        (harmonic + colour + density).astype(np.float32),
        phase,
        (noise + colour + breath).astype(np.float32),
        (residual + colour).astype(np.float32),
        reading.residual_phase,
        f0,
        rng,
    )
    return _as_floats(_levelled(_in_room(audio, speaker), speaker))


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


def _warped(spectrum: FloatArray, speaker: Speaker) -> FloatArray:
    spectrum = warp(spectrum, speaker.formant_scale)
    if speaker.upper_formant_scale == 1.0:
        return spectrum
    low = round(BEND_HZ / BIN_HZ)
    upper = np.maximum(low, (np.arange(NUM_BINS) - low) / speaker.upper_formant_scale + low)
    source = np.where(np.arange(NUM_BINS) < low, np.arange(NUM_BINS), np.minimum(upper, NUM_BINS - 1))
    return np.asarray(spectrum[np.round(source).astype(np.int64)], np.float32)


def _colour(speaker: Speaker) -> FloatArray:
    """[601] log magnitude that the speaker adds to the teacher's spectrum."""
    bins_hz = np.arange(NUM_BINS) * BIN_HZ
    db = np.log2(np.maximum(bins_hz, 250.0) / 500.0) * speaker.tilt_db
    if speaker.equaliser_db:
        db += np.interp(np.log(np.maximum(bins_hz, BIN_HZ)), np.log(EQUALISER_HZ), speaker.equaliser_db)
    nepers = db * np.log(10) / 20
    return np.asarray(np.where(bins_hz > speaker.bandwidth_hz, SILENT_NEPERS, nepers), np.float32)


def _in_room(audio: npt.NDArray[np.floating], speaker: Speaker) -> npt.NDArray[np.floating]:
    """With a tail of noise that dies away by 60 dB in `room_s`, the same for all sentences of a speaker."""
    if speaker.room_s == 0.0:
        return audio
    length = round(speaker.room_s * SAMPLE_RATE_HZ)
    tail = np.random.default_rng(length).normal(0.0, 1.0, length) * 10.0 ** (-3.0 * np.arange(length) / length)
    tail *= np.sqrt(1.0 - DIRECT_SOUND_SHARE) / np.sqrt(np.sum(tail**2))
    tail[0] = np.sqrt(DIRECT_SOUND_SHARE)
    size = 1 << (len(audio) + length - 1).bit_length()
    spread = np.fft.irfft(np.fft.rfft(audio, size) * np.fft.rfft(tail, size), size)
    return np.asarray(spread[: len(audio)])


def _levelled(audio: npt.NDArray[np.floating], speaker: Speaker) -> npt.NDArray[np.floating]:
    if speaker.gain:
        return audio * speaker.gain
    return audio * min(MAX_GAIN, USUAL_RMS / max(1e-6, float(np.sqrt(np.mean(audio**2)))))


def _smooth_bins(spectrum: FloatArray, width: int) -> FloatArray:
    """Moving average along frequency, so that no trace of the teacher's harmonics stays in the envelope."""
    padded = np.pad(spectrum, ((width // 2 + 1, width // 2), (0, 0)), mode="edge")
    total = np.cumsum(padded, axis=0, dtype=np.float64)
    return np.asarray((total[width:] - total[:-width]) / width, np.float32)


def _as_floats(audio: npt.NDArray[np.floating]) -> FloatArray:
    return np.asarray(np.clip(audio, -1.0, 1.0), np.float32)
