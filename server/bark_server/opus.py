"""libopus, found, typed and used: PCM in, 20 ms packets out.

The library comes from the system, else with PyAV's wheel; so pip alone is enough. Knows no wire and no context.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bark_stream.errors import BarkStreamError

MAX_PACKET_BYTES = 1_500
COMPLEXITY = 5
"""Of 10. Measured on voices at 32 kbit/s: 3 costs a third less and 3 dB, 9 costs half more and gains nothing."""
MIN_TRANSFORM_BITRATE = 24_000
"""From here on the transform coder sounds at least as good as the speech coder, at a quarter of the cost."""

_SET_BITRATE = 4002
_SET_COMPLEXITY = 4010
_SET_SIGNAL = 4024
_GET_LOOKAHEAD = 4027
_SIGNAL_VOICE = 3001
_SIGNAL_MUSIC = 3002
_APPLICATION_AUDIO = 2049


class OpusError(BarkStreamError):
    """libopus is missing or refused something."""

    code = "opus_error"


def find_libopus() -> str:
    """Name or path of the shared library. Raises: OpusError if there is none."""
    found = ctypes.util.find_library("opus")
    if found is not None:
        return found
    package = importlib.util.find_spec("av")
    if package is not None and package.origin is not None:
        folder = Path(package.origin).parent
        # Wheels keep their libraries here on Linux, macOS and Windows, in this order.
        for pattern in ("../av.libs/libopus[-.]*", ".dylibs/libopus[-.]*", "../av.libs/*opus[-.]*.dll"):
            for path in sorted(folder.glob(pattern)):
                return str(path)
    raise OpusError("libopus was not found: install it (Debian: libopus0) or PyAV (pip install av)")


@contextmanager
def _find_library_answers(location: str) -> Iterator[None]:
    """opuslib asks `ctypes.util.find_library` while it is imported and takes no other hint."""
    original = ctypes.util.find_library

    def answer(name: str) -> str | None:
        return location if name == "opus" else original(name)

    ctypes.util.find_library = answer
    try:
        yield
    finally:
        ctypes.util.find_library = original


class _Library:
    """opuslib's calls, and typed ones of our own where its are not enough."""

    def __init__(self, name: str) -> None:
        with _find_library_answers(name):
            import opuslib.api.encoder as encoder
        self.create: Any = encoder.libopus_create
        self.destroy: Any = encoder.destroy
        # Control calls take variable arguments, which some platforms pass differently (Apple's arm64): with the fixed
        # ones declared, ctypes knows which are the variable ones.
        self.control: Any = ctypes.CDLL(name).opus_encoder_ctl
        self.control.argtypes = (encoder.EncoderPointer, ctypes.c_int)
        self.control.restype = ctypes.c_int
        # A packet takes less time than letting go of the interpreter lock and waiting to have it back: PyDLL keeps it.
        self.encode: Any = ctypes.PyDLL(name).opus_encode_float
        self.encode.argtypes = (
            encoder.EncoderPointer,
            ctypes.c_char_p,
            ctypes.c_int,
            ctypes.c_char_p,
            ctypes.c_int32,
        )
        self.encode.restype = ctypes.c_int32


@cache
def _library() -> _Library:
    return _Library(find_libopus())


class OpusEncoder:
    """One stream of packets: mono, 20 ms each, state carried from one to the next."""

    sample_bytes = 4

    def __init__(self, *, rate_hz: int, bitrate: int) -> None:
        """Raises: OpusError for a rate or bitrate that Opus does not know."""
        self._library = _library()
        error = ctypes.c_int()
        self._state: Any = self._library.create(rate_hz, 1, _APPLICATION_AUDIO, ctypes.byref(error))
        if error.value != 0:
            raise OpusError(f"no encoder for {rate_hz} Hz (libopus error {error.value})")
        self._frame_samples = rate_hz // 50
        self._payload = ctypes.create_string_buffer(MAX_PACKET_BYTES)
        signal = _SIGNAL_VOICE if bitrate < MIN_TRANSFORM_BITRATE else _SIGNAL_MUSIC
        self._control(_SET_BITRATE, ctypes.c_int32(bitrate))
        self._control(_SET_COMPLEXITY, ctypes.c_int32(COMPLEXITY))
        self._control(_SET_SIGNAL, ctypes.c_int32(signal))
        lookahead = ctypes.c_int32()
        self._control(_GET_LOOKAHEAD, ctypes.byref(lookahead))
        self.lookahead_samples = lookahead.value
        """The encoder's delay: so many samples of a decoder's output come before the first of the input."""

    def prepare(self, pcm: NDArray[np.float32]) -> bytes:
        """Samples as libopus reads them. `pcm`: [T] float32, -1 … 1."""
        return np.asarray(pcm, dtype=np.float32).tobytes()

    def encode(self, frame: bytes) -> bytes:
        """One packet. `frame`: T = rate / 50 prepared samples."""
        if len(frame) != self._frame_samples * self.sample_bytes:
            raise OpusError(f"a packet takes {self._frame_samples} samples, not {len(frame) / self.sample_bytes:g}")
        size: int = self._library.encode(self._state, frame, self._frame_samples, self._payload, MAX_PACKET_BYTES)
        if size < 0:
            raise OpusError(f"libopus could not encode a packet (error {size})")
        payload: bytes = self._payload.raw[:size]
        return payload

    def close(self) -> None:
        """Give the encoder back; it is of no use afterwards."""
        if self._state is not None:
            self._library.destroy(self._state)
            self._state = None

    def __del__(self) -> None:
        if getattr(self, "_state", None) is not None:
            self.close()

    def _control(self, request: int, value: Any) -> None:
        result = self._library.control(self._state, request, value)
        if result != 0:
            raise OpusError(f"libopus refused setting {request} (error {result})")
