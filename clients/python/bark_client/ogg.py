"""Opus packets into an Ogg file as they come, without decoding them (RFC 3533, RFC 7845). Knows no socket.

The audio keeps its exact length: the header says what to skip at the start, the last page where to stop.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

GRANULE_HZ = 48_000
"""Ogg Opus counts at this rate, whatever the audio's."""
PACKETS_PER_PAGE = 25
_CONTINUED, _FIRST, _LAST = 1, 2, 4
_CRC_POLYNOMIAL = 0x04C11DB7


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte << 24
        for _ in range(8):
            value = (value << 1) ^ (_CRC_POLYNOMIAL if value & 0x80000000 else 0)
        table.append(value & 0xFFFFFFFF)
    return tuple(table)


_CRC_TABLE = _crc_table()


def _tags(comment: str | None) -> bytes:
    fields = [b"bark-stream", *([f"DESCRIPTION={comment}".encode()] if comment else [])]
    vendor, *comments = [struct.pack("<I", len(field)) + field for field in fields]
    return b"OpusTags" + vendor + struct.pack("<I", len(comments)) + b"".join(comments)


class OggOpusWriter:
    """One mono stream. Write packets, then `finish` with the audio's length."""

    def __init__(
        self,
        file: BinaryIO,
        *,
        rate_hz: int,
        pre_skip: int,
        packet_samples: int,
        serial: int = 1,
        comment: str | None = None,
    ) -> None:
        """
        Args:
            file: where it goes; it need not be seekable.
            rate_hz: of the audio.
            pre_skip: samples at `rate_hz` that a decoder gives before the audio.
            packet_samples: samples at `rate_hz` in one packet.
            comment: a tag for whoever plays it.
        """
        self._file = file
        self._scale = GRANULE_HZ // rate_hz
        self._pre_skip = pre_skip * self._scale
        self._packet_granules = packet_samples * self._scale
        self._serial = serial
        self._page = 0
        self._granule = 0
        self._waiting: list[bytes] = []
        head = struct.pack("<8sBBHIhB", b"OpusHead", 1, 1, self._pre_skip, rate_hz, 0, 0)
        self._write_page([head], 0, _FIRST)
        self._write_page([_tags(comment)], 0, 0)

    def write(self, packet: bytes) -> None:
        # The newest packet waits: the last page of a stream must not be empty.
        if len(self._waiting) >= PACKETS_PER_PAGE:
            self._granule += self._packet_granules * len(self._waiting)
            self._write_page(self._waiting, self._granule, 0)
            self._waiting = []
        self._waiting.append(packet)

    def finish(self, num_samples: int | None) -> None:
        """End the stream after `num_samples` of audio; None when that is not known."""
        whole = self._granule + self._packet_granules * len(self._waiting)
        end = whole if num_samples is None else min(whole, self._pre_skip + num_samples * self._scale)
        self._write_page(self._waiting, end, _LAST)
        self._waiting = []
        self._file.flush()

    def _write_page(self, packets: list[bytes], granule: int, kind: int) -> None:
        lacing = b"".join(bytes([255]) * (len(packet) // 255) + bytes([len(packet) % 255]) for packet in packets)
        head = struct.pack("<4sBBqIIIB", b"OggS", 0, kind, granule, self._serial, self._page, 0, len(lacing))
        page = head + lacing + b"".join(packets)
        self._file.write(page[:22] + struct.pack("<I", _checksum(page)) + page[26:])
        self._page += 1


def _checksum(page: bytes) -> int:
    value = 0
    for byte in page:
        value = ((value << 8) & 0xFFFFFFFF) ^ _CRC_TABLE[(value >> 24) ^ byte]
    return value
