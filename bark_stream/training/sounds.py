"""Sounds that no text spells: laughter, sighs, gasps, a cleared throat, a few notes of music.

Vocal sounds are the teacher's own breath and voice with other durations, pitch and breathiness, so every
speaker makes them in that speaker's voice. Music is a plucked chord. Knows no model.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from bark_stream.training.semantic_tokens import SOUNDS, TOKEN_RATE_HZ
from bark_stream.training.teacher import SAMPLE_RATE_HZ, FloatArray, Reading, Teacher
from bark_stream.training.voices import Speaker, render

Numbers = npt.NDArray[np.floating]

_CHORD_HZ = (261.6, 329.6, 392.0, 523.3)


def num_samples(name: str) -> int:
    """Samples of a sound; its tokens fill them exactly."""
    return round(dict(SOUNDS)[name] / TOKEN_RATE_HZ * SAMPLE_RATE_HZ)


def render_sound(name: str, teacher: Teacher, speaker: Speaker, rng: np.random.Generator) -> FloatArray:
    """[num_samples(name)] float32 at 24 kHz, as one speaker makes it."""
    length = num_samples(name)
    audio = _music(length) if name == "music" else render(_vocal(name, teacher, rng), speaker, rng)
    audio = np.pad(audio, (0, max(0, length - len(audio))))[:length]
    ramp = np.minimum(1.0, np.arange(length) / 120.0)
    return (audio * ramp * ramp[::-1]).astype(np.float32)


def _vocal(name: str, teacher: Teacher, rng: np.random.Generator) -> Reading:
    match name:
        case "laughs":
            reading = teacher.say("hʌhʌhʌhʌh", (3, 5, 2, 5, 2, 5, 2, 5, 3))
            arc = np.linspace(1.35, 0.95, len(reading.f0_hz))
            return _changed(reading, f0=260.0 * arc * rng.uniform(0.95, 1.05), harmonic_db=0.0, noise_db=8.0)
        case "sighs":
            reading = teacher.say("hɑh", (7, 11, 6))
            fall = np.linspace(1.0, 0.0, len(reading.f0_hz)) ** 0.7
            return _changed(reading, f0=130.0 + 70.0 * fall, harmonic_db=-7.0 - 14.0 * (1 - fall), noise_db=16.0)
        case "gasps":
            reading = teacher.say("hɑ", (7, 9))
            rise = np.linspace(0.0, 1.0, len(reading.f0_hz))
            return _changed(reading, f0=np.zeros_like(reading.f0_hz), harmonic_db=-80.0, noise_db=26.0 + 16.0 * rise)
        case _:
            reading = teacher.say("ʌhəmhm", (4, 3, 5, 4, 2, 6))
            rough = 95.0 * rng.uniform(0.75, 1.3, len(reading.f0_hz))
            return _changed(reading, f0=rough, harmonic_db=0.0, noise_db=8.0)


def _changed(reading: Reading, *, f0: Numbers, harmonic_db: float | Numbers, noise_db: float | Numbers) -> Reading:
    """The reading with its own voicing but another pitch (where voiced), and louder or softer voice and breath."""
    nepers = np.log(10) / 20
    voiced = reading.f0_hz > 60.0
    return dataclasses.replace(
        reading,
        f0_hz=np.where(voiced, f0, 0.0).astype(np.float32),
        harmonic=(reading.harmonic + np.asarray(harmonic_db) * nepers).astype(np.float32),
        noise=(reading.noise + np.asarray(noise_db) * nepers).astype(np.float32),
        residual=(reading.residual - 3.0).astype(np.float32),
    )


def _music(length: int) -> FloatArray:
    """A broken chord, one note after another, each left to ring."""
    time_s = np.arange(length) / SAMPLE_RATE_HZ
    audio = np.zeros(length)
    for i, hz in enumerate(_CHORD_HZ):
        after = np.maximum(0.0, time_s - i * length / SAMPLE_RATE_HZ / len(_CHORD_HZ))
        for harmonic in range(1, 6):
            ring = np.exp(-after * (3.0 + 2.0 * harmonic)) * (after > 0)
            audio += 0.14 / harmonic * ring * np.sin(2 * np.pi * hz * harmonic * after)
    return audio.astype(np.float32)
