"""One packet of audio as it came off the wire. Knows the header, not what is in the payload."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

from bark_client.errors import ProtocolViolation
from bark_client.messages import Caption

VERSION = 1
LAST_OF_CONTEXT = 1
FIRST_OF_SENTENCE = 2
_HEADER = struct.Struct("<BBHIII")


@dataclass(frozen=True, kw_only=True, slots=True)
class Packet:
    """20 ms of one context, and the captions that begin with it."""

    stream: int
    """Number of the context on this server."""
    sequence: int
    """0, 1, 2 … within the context."""
    timestamp: int
    """Its first sample within the context, at the context's sample rate."""
    payload: bytes
    """One Opus packet, or as much little-endian 16-bit PCM."""
    is_last: bool
    starts_sentence: bool
    captions: tuple[Caption, ...] = ()
    """What was told since the packet before: `Sentence`, `Words` and `Visemes`."""

    def with_captions(self, captions: tuple[Caption, ...]) -> Packet:
        return replace(self, captions=captions)


def read_packet(frame: bytes) -> Packet:
    """Raises: ProtocolViolation if `frame` is not an audio frame of version 1."""
    if len(frame) < _HEADER.size:
        raise ProtocolViolation(f"an audio frame of {len(frame)} bytes")
    version, flags, _reserved, stream, sequence, timestamp = _HEADER.unpack_from(frame)
    if version != VERSION:
        raise ProtocolViolation(f"an audio frame of version {version}")
    return Packet(
        stream=stream,
        sequence=sequence,
        timestamp=timestamp,
        payload=frame[_HEADER.size :],
        is_last=bool(flags & LAST_OF_CONTEXT),
        starts_sentence=bool(flags & FIRST_OF_SENTENCE),
    )
