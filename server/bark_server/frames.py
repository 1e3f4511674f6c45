"""The binary audio frame: a 16-byte little-endian header and one payload."""

from __future__ import annotations

import struct
from dataclasses import dataclass

VERSION = 1
LAST_OF_CONTEXT = 1
FIRST_OF_SENTENCE = 2

_HEADER = struct.Struct("<BBHIII")
HEADER_BYTES = _HEADER.size


@dataclass(frozen=True, slots=True)
class AudioFrame:
    stream: int
    sequence: int
    """0, 1, 2 … within the stream."""
    timestamp: int
    """First sample of the packet on the stream's clock."""
    flags: int
    payload: bytes


def pack(stream: int, sequence: int, timestamp: int, flags: int, payload: bytes) -> bytes:
    """Header and payload as they go over the wire. Numbers wrap at 2**32."""
    return _HEADER.pack(VERSION, flags, 0, stream & 0xFFFFFFFF, sequence & 0xFFFFFFFF, timestamp & 0xFFFFFFFF) + payload


def unpack(frame: bytes) -> AudioFrame:
    """Raises: ValueError if `frame` is not one of version 1."""
    if len(frame) < HEADER_BYTES:
        raise ValueError(f"an audio frame has at least {HEADER_BYTES} bytes, this has {len(frame)}")
    version, flags, reserved, stream, sequence, timestamp = _HEADER.unpack_from(frame)
    if version != VERSION or reserved != 0:
        raise ValueError(f"not an audio frame of version {VERSION}")
    return AudioFrame(stream, sequence, timestamp, flags, frame[HEADER_BYTES:])
