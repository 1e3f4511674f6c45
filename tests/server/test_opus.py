"""libopus: found, typed and right."""

from __future__ import annotations

import ctypes.util

import numpy as np
import pytest
from bark_server.opus import MAX_PACKET_BYTES, OpusEncoder, OpusError, find_libopus
from harness import RATE_HZ, decode_opus, voice_like


def test_find_libopus_prefers_the_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system library is taken when there is one."""
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: f"lib{name}.so.0")
    assert find_libopus() == "libopus.so.0"


def test_find_libopus_falls_back_on_pyavs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a system library the one inside PyAV's wheel is taken: pip alone is enough."""
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: None)
    assert ctypes.CDLL(find_libopus()).opus_encoder_get_size(1) > 0


def test_encoder_gives_back_what_went_in() -> None:
    """Decoded packets, less the look-ahead, follow the input closely."""
    pcm, encoder = voice_like(RATE_HZ), OpusEncoder(rate_hz=RATE_HZ, bitrate=32_000)
    decoded = decode_opus(
        [encoder.encode(encoder.prepare(pcm[at : at + 480])) for at in range(0, RATE_HZ, 480)],
        encoder.lookahead_samples,
    )
    error = decoded - pcm[: len(decoded)]
    assert 10 * np.log10(np.sum(pcm**2) / np.sum(error**2)) > 15


@pytest.mark.parametrize("bitrate", [8_000, 16_000, 32_000, 128_000])
def test_encoder_keeps_its_bitrate(bitrate: int) -> None:
    """The packets of a voice are within a half of the bitrate that was asked for."""
    pcm, encoder = voice_like(2 * RATE_HZ), OpusEncoder(rate_hz=RATE_HZ, bitrate=bitrate)
    num_bytes = sum(len(encoder.encode(encoder.prepare(pcm[at : at + 480]))) for at in range(0, len(pcm), 480))
    assert 0.5 * bitrate < num_bytes * 8 / 2 < 1.5 * bitrate


def test_encoder_survives_what_is_no_sound() -> None:
    """Full scale, silence, and numbers beyond full scale still make packets."""
    encoder = OpusEncoder(rate_hz=RATE_HZ, bitrate=32_000)
    for level in (0.0, 1.0, -30.0):
        assert 0 < len(encoder.encode(encoder.prepare(np.full(480, level)))) <= MAX_PACKET_BYTES


def test_encoder_refuses_a_wrong_length() -> None:
    """A packet is 20 ms, not a sample more or less."""
    with pytest.raises(OpusError, match="480 samples"):
        OpusEncoder(rate_hz=RATE_HZ, bitrate=32_000).encode(bytes(4 * 479))


def test_encoder_refuses_a_rate_that_opus_lacks() -> None:
    """A clear error, no crash."""
    with pytest.raises(OpusError, match="22050"):
        OpusEncoder(rate_hz=22_050, bitrate=32_000)


def test_encoder_can_be_closed_twice() -> None:
    """Closing gives the state back once."""
    encoder = OpusEncoder(rate_hz=RATE_HZ, bitrate=32_000)
    encoder.close()
    encoder.close()
