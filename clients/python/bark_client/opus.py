"""Payloads to PCM: Opus through libopus, and plain 16-bit PCM. One decoder per context; it carries state.

libopus comes from the system, else from PyAV's wheel, so pip alone is enough. Knows no wire.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib.util
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bark_client.errors import CodecUnavailable, ProtocolViolation
from bark_client.messages import Opened

MAX_PACKET_MS = 120
"""The longest that one Opus packet can be."""

# Where PyAV's wheels keep it, beside the package: Linux, macOS, Windows.
_WHEEL_PATTERNS = ("../av.libs/libopus[-.]*", ".dylibs/libopus[-.]*", "../av.libs/*opus[-.]*.dll")


class Decoder(Protocol):
    def decode(self, payload: bytes) -> NDArray[np.float32]:
        """[T] float32 mono, -1 … 1, of the next packet. Raises: ProtocolViolation."""


class PcmDecoder:
    """`pcm_s16le`."""

    def decode(self, payload: bytes) -> NDArray[np.float32]:
        if len(payload) % 2:
            raise ProtocolViolation(f"{len(payload)} bytes of 16-bit PCM")
        pcm: NDArray[np.float32] = np.frombuffer(payload, dtype="<i2") / np.float32(32768)
        return pcm


def to_pcm_16(pcm: NDArray[np.float32]) -> bytes:
    """[T] float32, clipped to -1 … 1, as 16-bit little-endian samples, for players and WAV files."""
    samples: NDArray[np.int16] = np.rint(np.clip(pcm, -1, 1) * np.float32(32767)).astype("<i2")
    return samples.tobytes()


class OpusDecoder:
    """`opus`, mono."""

    def __init__(self, *, rate_hz: int) -> None:
        """Raises: CodecUnavailable when libopus is missing or does not know the rate."""
        self._library = _library()
        error = ctypes.c_int()
        self._state: int | None = self._library.opus_decoder_create(rate_hz, 1, ctypes.byref(error))
        if error.value != 0:
            self._state = None
            raise CodecUnavailable(f"libopus has no decoder for {rate_hz} Hz (error {error.value})")
        self._pcm: NDArray[np.float32] = np.empty(rate_hz * MAX_PACKET_MS // 1000, dtype=np.float32)

    def decode(self, payload: bytes) -> NDArray[np.float32]:
        num_samples: int = self._library.opus_decode_float(
            self._state, payload, len(payload), self._pcm.ctypes.data, len(self._pcm), 0
        )
        if num_samples < 0:
            raise ProtocolViolation(f"an Opus packet that cannot be decoded (error {num_samples})")
        pcm: NDArray[np.float32] = self._pcm[:num_samples].copy()
        return pcm

    def __del__(self) -> None:
        if getattr(self, "_state", None) is not None:
            self._library.opus_decoder_destroy(self._state)


def decoder_for(opened: Opened) -> Decoder:
    """Raises: CodecUnavailable for Opus without libopus or a format that is not known."""
    if opened.format == "opus":
        return OpusDecoder(rate_hz=opened.sample_rate)
    if opened.format == "pcm_s16le":
        return PcmDecoder()
    raise CodecUnavailable(f"no decoder for the format {opened.format!r}")


def find_libopus() -> str:
    """Name or path of the shared library. Raises: CodecUnavailable."""
    found = ctypes.util.find_library("opus")
    if found is not None:
        return found
    package = importlib.util.find_spec("av")
    if package is not None and package.origin is not None:
        folder = Path(package.origin).parent
        for pattern in _WHEEL_PATTERNS:
            for path in sorted(folder.glob(pattern)):
                return str(path)
    raise CodecUnavailable("libopus was not found: install it (Debian: libopus0) or PyAV (pip install av)")


@cache
def _library() -> Any:
    name = find_libopus()
    try:
        library = ctypes.CDLL(name)
    except OSError as problem:
        raise CodecUnavailable(f"{name} could not be loaded: {problem}") from problem
    library.opus_decoder_create.argtypes = (ctypes.c_int32, ctypes.c_int, ctypes.POINTER(ctypes.c_int))
    library.opus_decoder_create.restype = ctypes.c_void_p
    library.opus_decode_float.argtypes = (
        ctypes.c_void_p,
        ctypes.c_char_p,
        ctypes.c_int32,
        ctypes.c_void_p,
        ctypes.c_int,
        ctypes.c_int,
    )
    library.opus_decode_float.restype = ctypes.c_int
    library.opus_decoder_destroy.argtypes = (ctypes.c_void_p,)
    library.opus_decoder_destroy.restype = None
    return library
