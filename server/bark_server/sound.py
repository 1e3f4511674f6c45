"""PCM in, bytes of a sound file or stream out as soon as there are any: MP3, Ogg Opus, AAC, FLAC, WAV, raw, telephone.

    samples -> [tempo] -> rate and sample format -> codec -> container -> bytes

Everything is made to be heard while it grows: no header waits for the length. Knows no door.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, cast

import av
import numpy as np
from numpy.typing import NDArray

MIN_SPEED = 0.25
MAX_SPEED = 4.0
_MIN_TEMPO = 0.5
"""Of one filter; slower takes two."""


@dataclass(frozen=True, slots=True)
class SoundFormat:
    """How a sound is written."""

    container: str
    """FFmpeg's name of the muxer."""
    codec: str
    """FFmpeg's name of the encoder."""
    sample_format: str
    """That the encoder takes."""
    content_type: str
    rate_hz: int = 24_000
    bitrate: int | None = None
    """bit/s, of codecs that have one."""
    options: tuple[tuple[str, str], ...] = field(default=())
    """Of the muxer."""

    def at(self, rate_hz: int, bitrate: int | None = None) -> SoundFormat:
        """The same at another rate."""
        return replace(self, rate_hz=rate_hz, bitrate=bitrate)


# A page for each packet, so that none waits for its neighbours; no headers that are only right at the end.
OGG_OPUS = SoundFormat("ogg", "libopus", "s16", "audio/ogg", bitrate=32_000, options=(("page_duration", "20000"),))
MP3 = SoundFormat(
    "mp3", "libmp3lame", "s16p", "audio/mpeg", bitrate=64_000, options=(("write_xing", "0"), ("id3v2_version", "0"))
)
AAC = SoundFormat("adts", "aac", "fltp", "audio/aac", bitrate=64_000, options=(("write_id3v2", "0"),))
FLAC = SoundFormat("flac", "flac", "s16", "audio/flac")
WAV = SoundFormat("wav", "pcm_s16le", "s16", "audio/wav")
PCM = SoundFormat("s16le", "pcm_s16le", "s16", "audio/pcm")
ULAW = SoundFormat("mulaw", "pcm_mulaw", "s16", "audio/basic", rate_hz=8_000)
ALAW = SoundFormat("alaw", "pcm_alaw", "s16", "audio/x-alaw-basic", rate_hz=8_000)


_WITH_TAGS = {"id3v2_version": "3", "write_id3v2": "1"}


class SoundStream:
    """One sound. `speed` stretches time and keeps the pitch."""

    def __init__(
        self, sound: SoundFormat, *, rate_hz: int, speed: float = 1.0, tags: Mapping[str, str] | None = None
    ) -> None:
        """Args:
        rate_hz: of the samples that will be pushed.
        speed: MIN_SPEED … MAX_SPEED.
        tags: such as a comment, for the formats that have room for them.
        """
        self._rate_hz = rate_hz
        self._num_samples = 0
        self._sink = _Sink()
        options = {"flush_packets": "1", "fflags": "+bitexact", **dict(sound.options)}
        if tags:
            # In front of MP3 and AAC there is room for tags only where it is asked for.
            options |= {name: value for name, value in _WITH_TAGS.items() if name in options}
        self._container = av.open(self._sink, "w", format=sound.container, options=options)
        self._stream = cast(Any, self._container.add_stream(sound.codec, rate=sound.rate_hz, layout="mono"))
        for owner in (self._container, self._stream):
            owner.metadata.update(tags or {})
        self._stream.codec_context.format = av.AudioFormat(sound.sample_format)
        if sound.bitrate is not None:
            self._stream.bit_rate = sound.bitrate
        self._graph, self._source, self._drain = _filters(sound, rate_hz, speed)

    def push(self, pcm: NDArray[np.int16]) -> bytes:
        """pcm: [T] int16 mono, T >= 1. Returns what can be sent now."""
        frame = av.AudioFrame.from_ndarray(pcm[None], format="s16", layout="mono")
        frame.sample_rate = self._rate_hz
        frame.pts = self._num_samples
        frame.time_base = Fraction(1, self._rate_hz)
        self._num_samples += len(pcm)
        self._source.push(frame)
        self._encode()
        return self._sink.take()

    def end(self) -> bytes:
        """No more samples. Returns the rest; of a sound without samples, an empty file."""
        if self._num_samples:
            self._source.push(None)
            self._encode()
        else:
            self._container.start_encoding()
        self._mux(None)
        self._container.close()
        return self._sink.take()

    def _encode(self) -> None:
        for frame in self._filtered():
            self._mux(frame)

    def _filtered(self) -> Iterator[Any]:
        while True:
            try:
                yield self._drain.pull()
            except (av.BlockingIOError, av.EOFError):
                return

    def _mux(self, frame: Any) -> None:
        for packet in self._stream.encode(frame):
            self._container.mux(packet)


class _Sink:
    """Where the container writes to, front to back."""

    def __init__(self) -> None:
        self._written = bytearray()

    def write(self, data: bytes) -> int:
        self._written += data
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def take(self) -> bytes:
        taken = bytes(self._written)
        self._written.clear()
        return taken


def _filters(sound: SoundFormat, rate_hz: int, speed: float) -> tuple[Any, Any, Any]:
    """The graph, which must outlive its ends, its source and its drain."""
    graph: Any = av.filter.Graph()
    source = last = graph.add_abuffer(sample_rate=rate_hz, format="s16", layout="mono", time_base=Fraction(1, rate_hz))
    shape = f"sample_fmts={sound.sample_format}:sample_rates={sound.rate_hz}:channel_layouts=mono"
    for name, arguments in [*(("atempo", f"{tempo:g}") for tempo in _tempos(speed)), ("aformat", shape)]:
        step = graph.add(name, arguments)
        last.link_to(step)
        last = step
    drain = graph.add("abuffersink")
    last.link_to(drain)
    graph.configure()
    return graph, source, drain


def _tempos(speed: float) -> list[float]:
    """Factors for filters in a row whose product is `speed`."""
    if speed == 1:
        return []
    return [speed] if speed >= _MIN_TEMPO else [_MIN_TEMPO, speed / _MIN_TEMPO]
