"""PCM of any length in, packets of 20 ms out: Opus, or 16-bit PCM as it is. Knows no wire and no context."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bark_server.limits import PACKET_MS
from bark_server.opus import OpusEncoder
from bark_stream.pcm import to_pcm_16

DEFAULT_BITRATE = 32_000


class PacketEncoder(Protocol):
    """One packet's worth of samples to one payload, state carried from packet to packet."""

    lookahead_samples: int
    sample_bytes: int
    """Of one sample as `prepare` gives it; silence is zeros."""

    def prepare(self, pcm: NDArray[np.float32]) -> bytes:
        """Samples, as many as there are, in the form that `encode` takes them."""

    def encode(self, frame: bytes) -> bytes:
        """Exactly one packet's samples to its payload."""

    def close(self) -> None: ...


class PcmEncoder:
    """16-bit little-endian samples, clipped at full scale."""

    lookahead_samples = 0
    sample_bytes = 2

    def prepare(self, pcm: NDArray[np.float32]) -> bytes:
        return to_pcm_16(pcm).tobytes()

    def encode(self, frame: bytes) -> bytes:
        return frame

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
        self._frame_bytes = self.frame_samples * encoder.sample_bytes
        self._samples = bytearray()
        self._owed_samples: int | None = None
        """After the end: what a decoder still has to put out."""
        self.taken_samples = 0
        """Of the clock: whole packets."""

    @property
    def pre_skip(self) -> int:
        return self._encoder.lookahead_samples

    @property
    def waiting_samples(self) -> int:
        """Given and not yet taken."""
        return len(self._samples) // self._encoder.sample_bytes

    @property
    def is_ended(self) -> bool:
        return self._owed_samples is not None

    @property
    def can_take(self) -> bool:
        """Whether there is a packet to take."""
        if self._owed_samples is not None:
            return self._owed_samples > 0
        return len(self._samples) >= self._frame_bytes

    @property
    def is_last(self) -> bool:
        """Whether the next packet is the last one."""
        return self._owed_samples is not None and self._owed_samples <= self.frame_samples

    def push(self, pcm: NDArray[np.float32]) -> None:
        """[T] float32, any T."""
        if len(pcm):
            self._samples += self._encoder.prepare(pcm)

    def end(self) -> None:
        """No more samples will come. If there were any at all, at least one more packet does, for its flag."""
        if self.taken_samples + self.waiting_samples > 0:
            self._owed_samples = max(1, self.waiting_samples + self.pre_skip)
        else:
            self._owed_samples = 0

    def take(self) -> bytes:
        """The next packet's payload; only when `can_take`."""
        frame = bytes(self._samples[: self._frame_bytes]).ljust(self._frame_bytes, b"\0")
        del self._samples[: self._frame_bytes]
        payload = self._encoder.encode(frame)
        self.taken_samples += self.frame_samples
        if self._owed_samples is not None:
            self._owed_samples = max(0, self._owed_samples - self.frame_samples)
        return payload

    def close(self) -> None:
        self._samples.clear()
        self._encoder.close()
