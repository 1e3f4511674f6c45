"""Sounds that are heard while they grow, read back by the library that plays them elsewhere."""

from __future__ import annotations

import io

import av
import numpy as np
import pytest
from bark_server.sound import AAC, ALAW, FLAC, MP3, OGG_OPUS, PCM, ULAW, WAV, SoundFormat, SoundStream
from harness import RATE_HZ, voice_like
from numpy.typing import NDArray

from bark_stream.audio_file import read_audio

PIECE = 7_680


def _pcm(seconds: float) -> NDArray[np.int16]:
    return np.asarray(np.rint(voice_like(round(seconds * RATE_HZ)) * 32767), dtype=np.int16)


def _written(sound: SoundFormat, pcm: NDArray[np.int16], *, speed: float = 1.0) -> list[bytes]:
    stream = SoundStream(sound, rate_hz=RATE_HZ, speed=speed)
    return [*(stream.push(pcm[at : at + PIECE]) for at in range(0, len(pcm), PIECE)), stream.end()]


def _pitch_hz(pcm: NDArray[np.float32], rate_hz: int) -> float:
    spectrum = np.abs(np.fft.rfft(pcm * np.hanning(len(pcm))))
    return float(np.argmax(spectrum) * rate_hz / len(pcm))


@pytest.mark.parametrize("sound", [MP3, OGG_OPUS, AAC, FLAC, WAV], ids=lambda sound: sound.container)
def test_sound_of_every_container_is_readable_and_as_long(sound: SoundFormat) -> None:
    """Another reader finds the whole sound in it."""
    data = b"".join(_written(sound, _pcm(3.0)))
    pcm, rate_hz = read_audio(io.BytesIO(data))
    assert len(pcm) / rate_hz == pytest.approx(3.0, abs=0.12)
    assert np.sqrt(np.mean(pcm**2)) == pytest.approx(float(np.sqrt(np.mean(voice_like(72_000) ** 2))), rel=0.1)


@pytest.mark.parametrize("sound", [MP3, OGG_OPUS, AAC, FLAC, WAV, PCM, ULAW, ALAW], ids=lambda sound: sound.container)
def test_sound_leaves_as_it_is_made(sound: SoundFormat) -> None:
    """A third of a second in brings bytes out, from the first to the last."""
    pieces = _written(sound, _pcm(3.0))
    assert all(pieces[:-1])


@pytest.mark.parametrize("sound", [FLAC, WAV, PCM], ids=lambda sound: sound.container)
def test_sound_without_loss_is_exact(sound: SoundFormat) -> None:
    """Not a sample is changed."""
    pcm = _pcm(1.0)
    data = b"".join(_written(sound, pcm))
    if sound is PCM:
        assert data == pcm.tobytes()
        return
    with av.open(io.BytesIO(data)) as container:
        read = np.concatenate([frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)])
    assert np.array_equal(read, pcm)


def test_sound_wav_header_promises_no_length() -> None:
    """Players of a stream read on to its end."""
    header = b"".join(_written(WAV, _pcm(0.5)))[:44]
    assert header[4:8] == header[40:44] == b"\xff\xff\xff\xff"


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 22_050, 44_100, 48_000])
def test_sound_at_another_rate_lasts_as_long(rate_hz: int) -> None:
    """The resampler loses nothing of the end."""
    data = b"".join(_written(PCM.at(rate_hz), _pcm(1.0)))
    assert len(data) // 2 == pytest.approx(rate_hz, abs=rate_hz * 0.005)


@pytest.mark.parametrize("speed", [0.25, 0.4, 0.8, 1.5, 4.0])
def test_sound_with_speed_is_shorter_or_longer_and_as_high(speed: float) -> None:
    """Time is stretched, pitch is kept."""
    time_s = np.arange(3 * RATE_HZ) / RATE_HZ
    pcm = np.asarray(8_000 * np.sin(2 * np.pi * 220 * time_s), dtype=np.int16)
    heard = np.frombuffer(b"".join(_written(PCM, pcm, speed=speed)), dtype="<i2").astype(np.float32)
    assert len(heard) / RATE_HZ == pytest.approx(3.0 / speed, rel=0.06)
    assert _pitch_hz(heard, RATE_HZ) == pytest.approx(220, abs=5)


@pytest.mark.parametrize("sound", [MP3, OGG_OPUS, AAC, FLAC, WAV, PCM], ids=lambda sound: sound.container)
def test_sound_of_nothing_ends(sound: SoundFormat) -> None:
    """No samples: no crash, hardly a byte."""
    assert len(SoundStream(sound, rate_hz=RATE_HZ).end()) < 10_000


@pytest.mark.parametrize("sound", [MP3, OGG_OPUS, AAC, FLAC, WAV], ids=lambda sound: sound.container)
def test_sound_carries_a_comment(sound: SoundFormat) -> None:
    """Another reader finds it, and still the whole sound."""
    stream = SoundStream(sound, rate_hz=RATE_HZ, tags={"comment": "a cloned voice"})
    data = stream.push(_pcm(1.0)) + stream.end()
    with av.open(io.BytesIO(data)) as container:
        tags = {**container.metadata, **container.streams.audio[0].metadata}
    assert "a cloned voice" in {value for name, value in tags.items() if name.lower() == "comment"}
    pcm, rate_hz = read_audio(io.BytesIO(data))
    assert len(pcm) / rate_hz == pytest.approx(1.0, abs=0.12)
