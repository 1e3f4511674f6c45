"""PCM of any length in, packets of 20 ms out: Opus, or 16-bit PCM as it is. Knows no wire and no context."""

from __future__ import annotations

from collections import deque
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bark_server.limits import PACKET_MS
from bark_server.opus import OpusEncoder

DEFAULT_BITRATE = 32_000


class PacketEncoder(Protocol):
    """One packet's worth of samples to one payload, state carried from packet to packet."""

    lookahead_samples: int

    def encode(self, pcm: NDArray[np.float32]) -> bytes: ...

    def close(self) -> None: ...


class PcmEncoder:
    """16-bit little-endian samples, clipped at full scale."""

    lookahead_samples = 0

    def encode(self, pcm: NDArray[np.float32]) -> bytes:
        scaled = pcm * np.float32(32767)
        np.rint(scaled, out=scaled)
        np.minimum(scaled, 32767, out=scaled)
        np.maximum(scaled, -32767, out=scaled)
        payload: bytes = scaled.astype("<i2").tobytes()
        return payload

    def close(self) -> None:
        """Nothing is held."""


def packet_encoder(format_name: str, *, rate_hz: int, bitrate: int | None) -> PacketEncoder:
    """The encoder of one context. Raises: OpusError."""
    if format_name == "opus":
        return OpusEncoder(rate_hz=rate_hz, bitrate=bitrate or DEFAULT_BITRATE)
    return PcmEncoder()


class Packetizer:
    """Cuts a gapless stream of samples into packets, encoded when they are asked for, not before.

    The last packet is padded, and so much silence follows the audio that a decoder gives back all of it behind
    `pre_skip` samples of the encoder's delay.
    """

    def __init__(self, encoder: PacketEncoder, *, rate_hz: int) -> None:
        self._encoder = encoder
        self.frame_samples = rate_hz * PACKET_MS // 1000
        self._chunks: deque[NDArray[np.float32]] = deque()
        self._owed_samples: int | None = None
        """After the end: what a decoder still has to put out."""
        self.waiting_samples = 0
        """Given and not yet taken."""
        self.taken_samples = 0
        """Of the clock: whole packets."""

    @property
    def pre_skip(self) -> int:
        return self._encoder.lookahead_samples

    @property
    def is_ended(self) -> bool:
        return self._owed_samples is not None

    @property
    def can_take(self) -> bool:
        """Whether there is a packet to take."""
        if self._owed_samples is not None:
            return self._owed_samples > 0
        return self.waiting_samples >= self.frame_samples

    @property
    def is_last(self) -> bool:
        """Whether the next packet is the last one."""
        return self._owed_samples is not None and self._owed_samples <= self.frame_samples

    def push(self, pcm: NDArray[np.float32]) -> None:
        """[T] float32, any T."""
        if len(pcm):
            self._chunks.append(np.ascontiguousarray(pcm, dtype=np.float32))
            self.waiting_samples += len(pcm)

    def end(self) -> None:
        """No more samples will come. If there were any at all, at least one more packet does, for its flag."""
        if self.taken_samples + self.waiting_samples > 0:
            self._owed_samples = max(1, self.waiting_samples + self.pre_skip)
        else:
            self._owed_samples = 0

    def take(self) -> bytes:
        """The next packet's payload; only when `can_take`."""
        payload = self._encoder.encode(self._next_frame())
        self.taken_samples += self.frame_samples
        if self._owed_samples is not None:
            self._owed_samples = max(0, self._owed_samples - self.frame_samples)
        return payload

    def close(self) -> None:
        self._chunks.clear()
        self.waiting_samples = 0
        self._encoder.close()

    def _next_frame(self) -> NDArray[np.float32]:
        if self._chunks and len(self._chunks[0]) >= self.frame_samples:
            chunk = self._chunks.popleft()
            if len(chunk) > self.frame_samples:
                self._chunks.appendleft(chunk[self.frame_samples :])
            self.waiting_samples -= self.frame_samples
            return chunk[: self.frame_samples]
        frame, filled = np.zeros(self.frame_samples, dtype=np.float32), 0
        while self._chunks and filled < self.frame_samples:
            chunk = self._chunks.popleft()
            part = chunk[: self.frame_samples - filled]
            frame[filled : filled + len(part)] = part
            filled += len(part)
            if len(part) < len(chunk):
                self._chunks.appendleft(chunk[len(part) :])
        self.waiting_samples -= filled
        return frame
