"""Any lengths in, whole packets out, complete to the sample."""

from __future__ import annotations

import numpy as np
import pytest
from bark_server.packets import Packetizer, packet_encoder
from harness import RATE_HZ, decode_opus, decode_pcm, voice_like
from hypothesis import given, settings
from hypothesis import strategies as st


def _packetizer(audio_format: str) -> Packetizer:
    return Packetizer(packet_encoder(audio_format, rate_hz=RATE_HZ, bitrate=None), rate_hz=RATE_HZ)


def _take_all(packetizer: Packetizer) -> list[bytes]:
    payloads = []
    while packetizer.can_take:
        payloads.append(packetizer.take())
    return payloads


@given(st.lists(st.integers(0, 2000), max_size=8))
@settings(max_examples=50, deadline=None)
def test_pcm_is_complete_to_the_sample(lengths: list[int]) -> None:
    """However the audio is sliced, the packets hold all of it, in order, and then silence."""
    packetizer, pcm = _packetizer("pcm_s16le"), voice_like(sum(lengths))
    payloads, start = [], 0
    for length in lengths:
        packetizer.push(pcm[start : start + length])
        start += length
        payloads += _take_all(packetizer)
    packetizer.end()
    payloads += _take_all(packetizer)
    assert all(len(payload) == 960 for payload in payloads)
    decoded = decode_pcm(payloads)
    assert np.allclose(decoded[: len(pcm)], pcm, atol=1 / 32767)
    assert not decoded[len(pcm) :].any()


@pytest.mark.parametrize("num_samples", [1, 323, 324, 325, 480, 5_120, 23_957])
def test_opus_is_complete_to_the_sample(num_samples: int) -> None:
    """Decoded audio without the pre-skip holds every sample; no packet is sent in vain."""
    packetizer = _packetizer("opus")
    packetizer.push(voice_like(num_samples))
    packetizer.end()
    payloads = _take_all(packetizer)
    decoded = decode_opus(payloads, packetizer.pre_skip)
    assert num_samples <= len(decoded) < num_samples + 480


def test_opus_does_not_depend_on_the_slices() -> None:
    """One encoder over everything: the same packets whether audio comes at once or in crumbs."""
    pcm, whole, crumbs = voice_like(12_345), _packetizer("opus"), _packetizer("opus")
    whole.push(pcm)
    whole.end()
    for start in range(0, len(pcm), 777):
        crumbs.push(pcm[start : start + 777])
    crumbs.end()
    assert _take_all(whole) == _take_all(crumbs)


def test_last_packet_is_known_before_it_is_taken() -> None:
    """`is_last` is true exactly before the last packet, even if nothing but its flag is left to say."""
    for audio_format in ("opus", "pcm_s16le"):
        packetizer = _packetizer(audio_format)
        packetizer.push(voice_like(960))
        first = _take_all(packetizer)
        assert not packetizer.is_last
        packetizer.end()
        assert len(first) == 2
        assert packetizer.is_last
        assert len(_take_all(packetizer)) == 1


def test_nothing_said_is_nothing_sent() -> None:
    """A context without audio has no packets."""
    packetizer = _packetizer("opus")
    packetizer.end()
    assert packetizer.is_ended
    assert not packetizer.can_take


def test_pcm_clips_at_full_scale() -> None:
    """Samples beyond full scale do not wrap."""
    packetizer = _packetizer("pcm_s16le")
    packetizer.push(np.full(480, 3.0, dtype=np.float32))
    assert set(np.frombuffer(packetizer.take(), dtype="<i2")) == {32767}
