"""Sound files: what is written is what is read."""

from __future__ import annotations

import io
import subprocess
import sys
import wave
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from bark_stream.audio_file import AudioWriter, audio_format, check_target, read_audio
from bark_stream.errors import BadAudio, OutputError

RATE = 24_000


def tone(num_samples: int = 30_011, rate: int = RATE) -> NDArray[np.float32]:
    time = np.arange(num_samples) / rate
    fade = np.minimum(1, np.minimum(time, time[::-1]) * 50)
    return np.asarray(0.5 * fade * np.sin(2 * np.pi * (300 + 200 * time) * time), np.float32)


def write(target: Path, pcm: NDArray[np.float32], rate: int = RATE, num_chunk: int = 1_777) -> None:
    with AudioWriter(target, rate) as writer:
        for start in range(0, len(pcm), num_chunk):
            writer.write(pcm[start : start + num_chunk])


def correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_writer_lossless_keeps_every_sample(tmp_path: Path, suffix: str) -> None:
    """WAV and FLAC give back the samples to 16 bits, however they were sliced."""
    pcm = tone()
    write(tmp_path / f"a.{suffix}", pcm)
    read, rate = read_audio(tmp_path / f"a.{suffix}")
    assert rate == RATE
    assert len(read) == len(pcm)
    assert np.abs(read - pcm).max() < 1 / 32767


@pytest.mark.parametrize(("suffix", "at_least"), [("ogg", 0.95), ("mp3", 0.95)])
def test_writer_lossy_keeps_the_sound_and_its_length(tmp_path: Path, suffix: str, at_least: float) -> None:
    """Opus and MP3 give back a sound of the same length that lies on top of the original."""
    pcm = tone()
    write(tmp_path / f"a.{suffix}", pcm)
    read, rate = read_audio(tmp_path / f"a.{suffix}")
    resampled = np.interp(np.arange(len(pcm)) * rate / RATE, np.arange(len(read)), read).astype(np.float32)
    assert abs(len(read) / rate - len(pcm) / RATE) < 0.001
    assert correlation(resampled, pcm) > at_least


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_writer_writes_the_same_file_again(tmp_path: Path, suffix: str) -> None:
    """The same samples are the same bytes."""
    for name in ("a", "b"):
        write(tmp_path / f"{name}.{suffix}", tone())
    assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


@pytest.mark.parametrize("suffix", ["ogg", "mp3"])
def test_writer_with_a_rate_the_codec_does_not_take_resamples(tmp_path: Path, suffix: str) -> None:
    """An odd sample rate is resampled, not refused."""
    write(tmp_path / f"a.{suffix}", tone(20_000, 20_000), rate=20_000)
    read, rate = read_audio(tmp_path / f"a.{suffix}")
    assert abs(len(read) / rate - 1) < 0.01


def test_writer_clips_what_is_too_loud(tmp_path: Path) -> None:
    """Samples beyond full scale become full scale, and do not wrap around."""
    write(tmp_path / "a.wav", np.array([2.0, -2.0, 0.0], np.float32))
    assert read_audio(tmp_path / "a.wav")[0] == pytest.approx([1, -1, 0], abs=1e-4)


@pytest.mark.parametrize("suffix", ["wav", "ogg", "mp3", "flac"])
def test_writer_keeps_tags(tmp_path: Path, suffix: str) -> None:
    """Tags can be read from every format."""
    path = tmp_path / f"a.{suffix}"
    with AudioWriter(path, RATE, tags={"title": "Grüße"}) as writer:
        writer.write(tone())
    with av.open(path) as container:
        found = {**container.metadata, **container.streams.audio[0].metadata}
    assert {key.lower(): value for key, value in found.items()}["title"] == "Grüße"


@pytest.mark.parametrize("suffix", ["wav", "ogg", "mp3", "flac"])
def test_writer_without_samples_leaves_a_valid_empty_file(tmp_path: Path, suffix: str) -> None:
    """No sound at all is a file all the same, and reading it says that it holds no sound."""
    write(tmp_path / f"a.{suffix}", np.zeros(0, np.float32))
    with pytest.raises(BadAudio):
        read_audio(tmp_path / f"a.{suffix}")


def fail_half_way(path: Path) -> None:
    with AudioWriter(path, RATE) as writer:
        writer.write(tone())
        raise ZeroDivisionError


@pytest.mark.parametrize("suffix", ["wav", "ogg", "mp3", "flac"])
def test_writer_after_an_exception_leaves_nothing(tmp_path: Path, suffix: str) -> None:
    """An error in the middle leaves the file that was there before, and no temporary one."""
    path = tmp_path / f"a.{suffix}"
    path.write_text("older")
    with pytest.raises(ZeroDivisionError):
        fail_half_way(path)
    assert path.read_text() == "older"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "problem"),
    [("a.xyz", "must end in"), ("a", "must end in"), ("nowhere/a.wav", "does not exist"), ("folder.wav", "a folder")],
)
def test_writer_with_a_bad_target_says_why(tmp_path: Path, name: str, problem: str) -> None:
    """An unknown suffix, a missing folder, a folder in the place: an error at once, and nothing is left."""
    (tmp_path / "folder.wav").mkdir()
    with pytest.raises(OutputError, match=problem):
        AudioWriter(tmp_path / name, RATE)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.wav"]


def test_check_target_of_stdout_and_of_a_new_file_passes(tmp_path: Path) -> None:
    """Stdout and a new file in an existing folder are fine."""
    check_target("-")
    check_target(tmp_path / "a.wav")
    assert audio_format("-") == "wav"
    assert audio_format("A.OGG") == "ogg"


@pytest.mark.parametrize("format", ["wav", "ogg", "mp3", "flac"])
def test_writer_to_stdout_can_be_read_as_a_stream(format: str) -> None:
    """Stdout gets a sound that a reader understands front to back, though nothing can be filled in afterwards."""
    program = (
        "import sys, numpy as np\n"
        "from bark_stream.audio_file import AudioWriter\n"
        f"with AudioWriter('-', 24000, format={format!r}) as writer:\n"
        "    for _ in range(10): writer.write(np.full(2400, 0.25, np.float32))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stderr == b""
    read, rate = read_audio(io.BytesIO(done.stdout))
    assert abs(len(read) / rate - 1) < 0.06


def test_writer_to_a_file_object_leaves_it_open() -> None:
    """A file object gets a proper WAV, and stays open."""
    file = io.BytesIO()
    with AudioWriter(file, RATE) as writer:
        writer.write(tone(100))
    file.seek(0)
    with wave.open(file) as sound:
        assert (sound.getframerate(), sound.getnchannels(), sound.getnframes()) == (RATE, 1, 100)


def test_writer_to_a_full_disk_is_an_output_error() -> None:
    """A disk that is full is an error of ours, with the system's reason."""
    with open("/dev/full", "wb", buffering=0) as full:
        writer = AudioWriter(full, RATE)
        with pytest.raises(OutputError, match="No space"):
            writer.write(tone(300_000))


def test_read_audio_mixes_channels(tmp_path: Path) -> None:
    """Stereo is averaged to mono."""
    with wave.open(str(tmp_path / "a.wav"), "wb") as sound:
        sound.setparams((2, 2, 8000, 0, "NONE", ""))
        sound.writeframes(np.tile(np.array([[16384, 0]], "<i2"), (800, 1)).tobytes())
    pcm, rate = read_audio(tmp_path / "a.wav")
    assert rate == 8000
    assert len(pcm) == 800
    assert pcm == pytest.approx(np.full(800, 0.25), abs=0.01)


def test_read_audio_of_no_sound_says_so(tmp_path: Path) -> None:
    """A text file, a missing file and a sound that is too long are errors that name the file."""
    (tmp_path / "a.wav").write_text("not a sound")
    with pytest.raises(BadAudio, match=r"a\.wav"):
        read_audio(tmp_path / "a.wav")
    with pytest.raises(BadAudio, match=r"missing\.wav"):
        read_audio(tmp_path / "missing.wav")
    write(tmp_path / "b.wav", tone())
    with pytest.raises(BadAudio, match="longer than 1 s"):
        read_audio(tmp_path / "b.wav", max_s=1.0)
