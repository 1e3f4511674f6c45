"""PCM <-> sound files, through PyAV: WAV, Ogg Opus, MP3, FLAC.

Writes while the sound is still being made; a file appears when it is whole, under a temporary name until then. Knows no
speech.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal, cast

import av
import numpy as np
from numpy.typing import NDArray

from bark_stream.errors import BadAudio, OutputError
from bark_stream.pcm import to_pcm_16

AudioFormat = Literal["wav", "ogg", "mp3", "flac"]
STDOUT = "-"
MAX_READ_S = 600.0
"""Of a sound that is read: far above any voice sample, far below what fills a memory."""


@dataclass(frozen=True, slots=True)
class _Encoding:
    codec: str
    sample_format: str
    rates_hz: tuple[int, ...] = ()
    """Those that the codec takes; all without it. Others are resampled to the first."""


_ENCODINGS: dict[AudioFormat, _Encoding] = {
    "wav": _Encoding("pcm_s16le", "s16"),
    "ogg": _Encoding("libopus", "flt", (48_000, 24_000, 16_000, 12_000, 8_000)),
    "mp3": _Encoding("libmp3lame", "fltp", (48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000)),
    "flac": _Encoding("flac", "s16"),
}


def audio_format(target: str | Path) -> AudioFormat:
    """The format that a file's suffix asks for; WAV for stdout.

    Raises: OutputError for a suffix that is not known.
    """
    suffix = "wav" if target == STDOUT else Path(target).suffix.lower().removeprefix(".")
    if suffix not in _ENCODINGS:
        known = ", ".join(f".{name}" for name in _ENCODINGS)
        raise OutputError(str(target), f"the name must end in one of {known}")
    return suffix


def check_target(target: str | Path) -> None:
    """Whether a file could be written there, before anything is computed for it.

    Raises: OutputError.
    """
    if target == STDOUT:
        return
    path = Path(target)
    if path.is_dir():
        raise OutputError(str(target), "is a folder")
    if not path.absolute().parent.is_dir():
        raise OutputError(str(target), "its folder does not exist")
    if not os.access(path.absolute().parent, os.W_OK):
        raise OutputError(str(target), "its folder cannot be written to")


class AudioWriter:
    """One sound, chunk by chunk. As a context manager it closes at the end, and discards after an exception."""

    def __init__(
        self,
        target: str | Path | BinaryIO,
        sample_rate_hz: int,
        *,
        format: AudioFormat | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Args:
            target: a path, `-` for stdout, or a binary file (left open; written front to back if it cannot seek).
            format: by the path's suffix without it; WAV for stdout and files.
            tags: such as title and artist.
        Raises: OutputError for an unknown suffix or a place that cannot be written.
        """
        self._name = str(target) if isinstance(target, str | Path) else getattr(target, "name", "the output")
        self._sample_rate_hz = sample_rate_hz
        self._num_samples = 0
        self._path: Path | None = None
        self._temporary: Path | None = None
        self._file: Any = None
        if format is None:
            format = audio_format(target) if isinstance(target, str | Path) else "wav"
        self._encoding = _ENCODINGS[format]
        if isinstance(target, str | Path) and target != STDOUT:
            check_target(target)
            self._path = Path(target)
        try:
            self._file = self._open(target)
            # Bit-exact: else FFmpeg draws a number for every Ogg stream, and no two files are the same.
            self._container = av.open(self._file, "w", format=format, options={"fflags": "+bitexact"})
            self._stream = self._add_stream(tags or {})
        except (OSError, av.FFmpegError) as exc:
            self._discard()
            raise self._error(exc) from exc

    def write(self, pcm: NDArray[np.float32]) -> None:
        """pcm: [T] float32, mono, at the sample rate; clipped to -1 … 1.

        Raises: OutputError.
        """
        if self._encoding.sample_format == "s16":
            frame = av.AudioFrame.from_ndarray(to_pcm_16(pcm)[None], format="s16", layout="mono")
        else:
            clipped = np.clip(pcm, -1, 1).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(clipped[None], format="flt", layout="mono")
        frame.sample_rate = self._sample_rate_hz
        frame.pts = self._num_samples
        frame.time_base = Fraction(1, self._sample_rate_hz)
        self._num_samples += len(pcm)
        if len(pcm):
            self._encode(frame)

    def close(self) -> None:
        """Finish the sound; a path gets its file now.

        Raises: OutputError.
        """
        try:
            if not self._num_samples:
                self._container.start_encoding()
            self._encode(None)
            self._container.close()
            if self._path is None or self._temporary is None:
                self._file.flush()
                return
            self._file.close()
            os.chmod(self._temporary, 0o644)
            os.replace(self._temporary, self._path)
        except (OSError, av.FFmpegError) as exc:
            self._discard()
            raise self._error(exc) from exc

    def __enter__(self) -> AudioWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._discard()

    def _open(self, target: str | Path | BinaryIO) -> Any:
        if self._path is not None:
            handle, name = tempfile.mkstemp(dir=self._path.absolute().parent, prefix=f".{self._path.name}.")
            self._temporary = Path(name)
            return os.fdopen(handle, "wb")
        return _Pipe(sys.stdout.buffer) if target == STDOUT else target

    def _add_stream(self, tags: Mapping[str, str]) -> av.AudioStream:
        rates = self._encoding.rates_hz
        rate = self._sample_rate_hz if not rates or self._sample_rate_hz in rates else rates[0]
        stream = self._container.add_stream(self._encoding.codec, rate=rate, layout="mono")
        stream.codec_context.format = av.AudioFormat(self._encoding.sample_format)
        for owner in (self._container, stream):
            owner.metadata.update(tags)
        return cast(av.AudioStream, stream)

    def _encode(self, frame: av.AudioFrame | None) -> None:
        try:
            for packet in self._stream.encode(frame):
                self._container.mux(packet)
        except (OSError, av.FFmpegError) as exc:
            self._discard()
            raise self._error(exc) from exc

    def _discard(self) -> None:
        """Take back what was begun; a file that stood at the path stays as it was."""
        if self._temporary is not None:
            if self._file is not None:
                self._file.close()
            self._temporary.unlink(missing_ok=True)

    def _error(self, exc: Exception) -> OutputError:
        return OutputError(self._name, getattr(exc, "strerror", None) or str(exc))


class _Pipe:
    """Stdout as PyAV must see it: to be written front to back, whatever it is connected to."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, data: bytes) -> int:
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


def read_audio(source: str | Path | BinaryIO, max_s: float = MAX_READ_S) -> tuple[NDArray[np.float32], int]:
    """Any sound file that FFmpeg knows, as [T] float32 mono (channels averaged), and its rate in Hz.

    Raises: BadAudio if it cannot be read, holds no sound, or lasts longer than max_s.
    """
    name = str(source) if isinstance(source, str | Path) else getattr(source, "name", "the sound")
    try:
        with av.open(str(source) if isinstance(source, Path) else source) as container:
            if not container.streams.audio:
                raise BadAudio(name, "holds no sound")
            return _decode(name, container, container.streams.audio[0], max_s)
    except (OSError, av.FFmpegError) as exc:
        raise BadAudio(name, f"cannot be read: {getattr(exc, 'strerror', None) or exc}") from exc


def _decode(name: str, container: Any, stream: Any, max_s: float) -> tuple[NDArray[np.float32], int]:
    rate: int = stream.codec_context.sample_rate
    planar = av.AudioResampler(format="fltp")
    pieces: list[NDArray[np.float32]] = []
    num_samples = 0
    for frame in container.decode(stream):
        pieces.extend(channels.to_ndarray().mean(0) for channels in planar.resample(frame))
        num_samples += frame.samples
        if num_samples > max_s * rate:
            raise BadAudio(name, f"lasts longer than {max_s:g} s")
    if not num_samples:
        raise BadAudio(name, "holds no sound")
    return np.concatenate(pieces).astype(np.float32), rate
