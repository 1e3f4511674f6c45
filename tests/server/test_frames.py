"""The binary frame."""

from __future__ import annotations

import pytest
from bark_server.frames import FIRST_OF_SENTENCE, HEADER_BYTES, LAST_OF_CONTEXT, AudioFrame, pack, unpack
from hypothesis import given
from hypothesis import strategies as st

_u32 = st.integers(0, 2**32 - 1)


def test_pack_lays_out_the_header() -> None:
    """Version, flags, two zero bytes, then stream, sequence and timestamp, little-endian."""
    frame = pack(1, 2, 960, LAST_OF_CONTEXT | FIRST_OF_SENTENCE, b"xy")
    assert frame == bytes([1, 3, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0xC0, 3, 0, 0]) + b"xy"


@given(_u32, _u32, _u32, st.integers(0, 3), st.binary(max_size=50))
def test_unpack_reverses_pack(stream: int, sequence: int, timestamp: int, flags: int, payload: bytes) -> None:
    """What was packed is unpacked."""
    frame = pack(stream, sequence, timestamp, flags, payload)
    assert unpack(frame) == AudioFrame(stream, sequence, timestamp, flags, payload)


@pytest.mark.parametrize(
    "frame", [b"", b"\x01" * (HEADER_BYTES - 1), b"\x02" + bytes(15), b"\x01\x00\x01\x00" + bytes(12)]
)
def test_unpack_refuses_what_is_no_frame(frame: bytes) -> None:
    """Too short, another version or a reserved bit set: not ours."""
    with pytest.raises(ValueError, match="audio frame"):
        unpack(frame)
