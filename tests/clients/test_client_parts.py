"""The client's small parts: Ogg pages, decoders, packets, waiting times, addresses."""

from __future__ import annotations

import io
import wave
from pathlib import Path
from random import Random

import av
import numpy as np
import pytest
from bark_client import opus
from bark_client.backoff import Backoff
from bark_client.connection import stream_url
from bark_client.errors import BarkClientError, CodecUnavailable, ConnectionFailed, ProtocolViolation
from bark_client.messages import Opened, decode
from bark_client.ogg import OggOpusWriter
from bark_client.opus import OpusDecoder, PcmDecoder, decoder_for
from bark_client.outputs import CLONED_COMMENT, WavOutput
from bark_client.packet import Packet, read_packet
from bark_server.opus import OpusEncoder


def opus_packets(pcm: np.ndarray) -> tuple[list[bytes], int]:
    """`pcm` [T] at 24 kHz, padded so that all of it comes out of a decoder; and the encoder's delay."""
    encoder = OpusEncoder(rate_hz=24_000, bitrate=64_000)
    padded = np.zeros(-(-(len(pcm) + encoder.lookahead_samples) // 480) * 480, dtype=np.float32)
    padded[: len(pcm)] = pcm
    return [encoder.encode(encoder.prepare(block)) for block in padded.reshape(-1, 480)], encoder.lookahead_samples


@pytest.mark.parametrize("num_samples", [1, 479, 480, 481, 24_000, 100_003])
def test_ogg_writer_keeps_the_exact_length(num_samples: int) -> None:
    """Another decoder finds exactly the samples that went in, however many packets and pages it takes."""
    pcm = np.sin(np.arange(num_samples) / 20).astype(np.float32) * 0.5
    packets, pre_skip = opus_packets(pcm)
    file = io.BytesIO()
    writer = OggOpusWriter(file, rate_hz=24_000, pre_skip=pre_skip, packet_samples=480)
    for packet in packets:
        writer.write(packet)
    writer.finish(num_samples)
    file.seek(0)
    with av.open(file) as container:
        assert container.streams.audio[0].codec_context.name.endswith("opus")
        heard = np.concatenate([frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)])
    assert len(heard) == 2 * num_samples
    if num_samples > 1_000:
        assert np.corrcoef(heard[::2], pcm)[0, 1] > 0.99


def test_ogg_writer_takes_packets_of_any_size() -> None:
    """Packets of 255 bytes and its multiples end where they should."""
    file = io.BytesIO()
    writer = OggOpusWriter(file, rate_hz=24_000, pre_skip=0, packet_samples=480)
    packets = [bytes([252]) + bytes(size - 1) for size in (1, 254, 255, 256, 510, 1275)]
    for packet in packets:
        writer.write(packet)
    writer.finish(None)
    file.seek(0)
    with av.open(file) as container:
        assert [bytes(packet) for packet in container.demux(audio=0) if packet.size] == packets


def test_opus_decoder_gives_back_what_was_encoded() -> None:
    """Decoded audio is the encoder's input, late by its delay."""
    pcm = np.sin(np.arange(24_000) / 15).astype(np.float32) * 0.5
    packets, pre_skip = opus_packets(pcm)
    decoder = OpusDecoder(rate_hz=24_000)
    heard = np.concatenate([decoder.decode(packet) for packet in packets])[pre_skip:][: len(pcm)]
    assert np.corrcoef(heard, pcm)[0, 1] > 0.99


def test_opus_decoder_given_garbage_raises_protocol_violation() -> None:
    """Bytes that are no Opus packet are the server's fault, and no crash."""
    with pytest.raises(ProtocolViolation):
        OpusDecoder(rate_hz=24_000).decode(b"\xff\xff\xff")


def test_opus_decoder_at_a_rate_it_does_not_know_raises_codec_unavailable() -> None:
    """Opus knows five rates."""
    with pytest.raises(CodecUnavailable, match="22050"):
        OpusDecoder(rate_hz=22_050)


def test_find_libopus_without_system_library_takes_pyavs(monkeypatch: pytest.MonkeyPatch) -> None:
    """pip alone is enough: PyAV's wheel carries a libopus."""
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None)
    assert "libopus" in opus.find_libopus()


def test_find_libopus_where_there_is_none_names_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what to install and how to do without."""
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(CodecUnavailable, match=r"install.*pcm_s16le"):
        opus.find_libopus()


def test_pcm_decoder_scales_to_one() -> None:
    """-32768 is -1."""
    assert PcmDecoder().decode(b"\x00\x80\x00\x40").tolist() == [-1.0, 0.5]
    with pytest.raises(ProtocolViolation):
        PcmDecoder().decode(b"\x00")


def test_decoder_for_a_format_of_later_versions_raises_codec_unavailable() -> None:
    """A format that this client does not know is named."""
    fields = '"context":"a","stream":1,"voice":null,"sample_rate":24000,"frame_ms":20,"pre_skip":0'
    opened = decode(f'{{"type":"opened",{fields},"format":"flac"}}')
    assert isinstance(opened, Opened)
    with pytest.raises(CodecUnavailable, match="flac"):
        decoder_for(opened)


def test_packet_header_is_read_field_by_field() -> None:
    """Little-endian, 16 bytes, flags told apart."""
    packet = read_packet(bytes.fromhex("01020000 07000000 2a000000 c0120000") + b"abc")
    assert (packet.stream, packet.sequence, packet.timestamp, packet.payload) == (7, 42, 4_800, b"abc")
    assert (packet.is_last, packet.starts_sentence) == (False, True)


def test_backoff_doubles_within_bounds() -> None:
    """The first try is at once; delays grow to the longest; all together they end on time."""
    delays = list(Backoff(first_s=0.1, max_s=2.0, total_s=10.0).delays(Random(0)))
    assert delays[0] == 0
    assert all(
        0.75 * expected <= delay <= expected for delay, expected in zip(delays[1:5], (0.1, 0.2, 0.4, 0.8), strict=True)
    )
    assert max(delays) <= 2.0
    assert sum(delays) == pytest.approx(10.0)


@pytest.mark.parametrize("settings", [{"first_s": 0.0}, {"first_s": 6.0}, {"total_s": 1.0}])
def test_backoff_that_makes_no_sense_is_refused(settings: dict[str, float]) -> None:
    """Delays must be positive and in order."""
    with pytest.raises(ValueError, match="first_s"):
        Backoff(**settings)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("ws://host:8765", "ws://host:8765/v1/stream"),
        ("host:8765", "ws://host:8765/v1/stream"),
        ("https://host/", "wss://host/v1/stream"),
        ("wss://host/voice/v1/stream?x=1", "wss://host/voice/v1/stream?x=1"),
        ("http://[::1]:80", "ws://[::1]:80/v1/stream"),
    ],
)
def test_stream_url_completes_addresses(given: str, expected: str) -> None:
    """People give what they have in their browser."""
    assert stream_url(given) == expected


@pytest.mark.parametrize("given", ["", "ftp://host", "ws://", "http:///v1"])
def test_stream_url_that_cannot_be_one_is_refused(given: str) -> None:
    """Before anything is tried."""
    with pytest.raises(ConnectionFailed):
        stream_url(given)


def test_errors_share_one_root_with_the_engine() -> None:
    """One `except` is enough, whatever part of bark-stream is used."""
    from bark_stream.errors import BarkStreamError

    assert issubclass(BarkClientError, BarkStreamError)


def test_import_needs_no_torch() -> None:
    """A client runs on machines without it."""
    import subprocess
    import sys

    program = "import bark_client, bark_client.cli, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_ogg_writer_writes_a_comment() -> None:
    """A tag that others read."""
    file = io.BytesIO()
    writer = OggOpusWriter(file, rate_hz=24_000, pre_skip=312, packet_samples=480, comment="a cloned voice")
    writer.write(b"\xf8\xff\xfe")
    writer.finish(480)
    file.seek(0)
    with av.open(file) as container:
        assert container.streams.audio[0].metadata["comment"] == "a cloned voice"


@pytest.mark.parametrize("voice_origin", ["cloned", "preset"])
def test_wav_says_that_a_voice_was_cloned(tmp_path: Path, voice_origin: str) -> None:
    """A comment behind the samples, which other readers find, and none for other voices; the samples stay the same."""
    target = tmp_path / "a.wav"
    output = WavOutput(str(target))
    opened = Opened(
        context="a",
        stream=1,
        voice="alice",
        format="pcm_s16le",
        sample_rate=24_000,
        frame_ms=20,
        pre_skip=0,
        voice_origin=voice_origin,
    )
    payload = np.arange(480, dtype="<i2").tobytes()
    output.write(Packet(stream=1, sequence=0, timestamp=0, payload=payload, is_last=True, starts_sentence=True), opened)
    output.finish(None)
    with wave.open(str(target)) as file:
        assert file.readframes(480) == payload
    with av.open(str(target)) as container:
        assert container.metadata.get("comment") == (CLONED_COMMENT if voice_origin == "cloned" else None)
    assert int.from_bytes(target.read_bytes()[4:8], "little") == target.stat().st_size - 8
