"""Promises of `bark_stream.codec`: the incremental decoder is encodec's decoder."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bark_stream.codec import Codec, CodecState, build_network
from bark_stream.config import CodecConfig
from bark_stream.errors import CheckpointError, EngineError

CONFIG = CodecConfig(
    sample_rate_hz=24000,
    num_filters=4,
    dimension=16,
    ratios=(8, 5, 4, 2),
    num_lstm_layers=2,
    num_quantizers=8,
    codebook_size=32,
)
TOLERANCE = 1e-5


def random_weights() -> dict[str, Tensor]:
    """encodec's own initialisation, with codebooks and gains that make the output move."""
    torch.manual_seed(3)
    weights = build_network(CONFIG).state_dict()
    for name, tensor in weights.items():
        if "embed" in name:
            tensor.copy_(torch.randn_like(tensor))
        if name.endswith("weight_g"):
            tensor.mul_(1.8)
    return weights


WEIGHTS = random_weights()
CODEC = Codec(CONFIG, WEIGHTS)


def one_shot(codes: Tensor) -> Tensor:
    """encodec's own modules: [B, K, T] -> [B, S]."""
    network = build_network(CONFIG)
    network.load_state_dict(WEIGHTS)
    network.eval()
    with torch.no_grad():
        return network["decoder"](network["quantizer"].vq.decode(codes.transpose(0, 1)))[:, 0]


def sliced(codes: Tensor, lengths: list[int]) -> Tensor:
    state, pieces, first = CodecState(), [], 0
    for length in [*lengths, codes.shape[-1]]:
        pieces.append(CODEC.decode(codes[..., first : first + length], state))
        first += length
    return torch.cat([*pieces, CODEC.finish(state)], -1)


def random_codes(num_frames: int, *, batch: int = 1, seed: int = 0) -> Tensor:
    return torch.randint(0, 32, (batch, 8, num_frames), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("num_frames", [1, 2, 6, 7, 8, 50])
def test_decode_whole_equals_encodec(num_frames: int) -> None:
    """One-shot decoding gives encodec's samples, streams shorter than the reflect padding included."""
    codes = random_codes(num_frames, batch=2)
    expected = one_shot(codes)
    assert expected.std() > 0.01
    torch.testing.assert_close(CODEC.decode_whole(codes), expected, atol=TOLERANCE, rtol=0)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 40), st.lists(st.integers(0, 15), max_size=12), st.integers(0, 1000))
def test_decode_any_slicing_equals_one_shot(num_frames: int, lengths: list[int], seed: int) -> None:
    """However the codes are cut into calls, empty calls included, the samples are those of one-shot decoding."""
    codes = random_codes(num_frames, seed=seed)
    torch.testing.assert_close(sliced(codes, lengths), one_shot(codes), atol=TOLERANCE, rtol=0)


def test_decode_holds_back_only_the_reflect_padding() -> None:
    """The first six frames wait for the seventh; from then on every frame comes at once."""
    codes, state = random_codes(9), CodecState()
    lengths = [CODEC.decode(codes[..., t : t + 1], state).shape[-1] for t in range(9)]
    assert lengths == [0] * 6 + [7 * 320, 320, 320]
    assert CODEC.finish(state).shape[-1] == 0


def test_decode_clone_is_independent() -> None:
    """A cloned state goes its own way: decoding on from it changes nothing in the original."""
    codes, state = random_codes(30), CodecState()
    CODEC.decode(codes[..., :10], state)
    clone = state.clone()
    first = CODEC.decode(codes[..., 10:20], clone)
    CODEC.decode(codes[..., 20:], clone)
    torch.testing.assert_close(CODEC.decode(codes[..., 10:20], state), first, atol=0, rtol=0)


def test_decode_code_outside_codebook_is_refused() -> None:
    """A code beyond the codebook is an error, not a crash in an index."""
    with pytest.raises(EngineError, match="outside"):
        CODEC.decode(torch.full((1, 8, 3), 32), CodecState())


def test_encode_equals_encodec() -> None:
    """Encoding gives the codes of encodec's encoder and quantizer."""
    network = build_network(CONFIG)
    network.load_state_dict(WEIGHTS)
    network.eval()
    pcm = torch.randn(1, 3300, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = network["quantizer"].vq.encode(network["encoder"](pcm[:, None]), n_q=4)
    assert torch.equal(CODEC.encode(pcm, 4), expected.transpose(0, 1))


def test_codec_reads_what_only_hears_when_it_hears() -> None:
    """To speak takes the decoder and the codebooks that are spoken with; the encoder is read with the first sound."""
    asked: list[str] = []

    class Asked(dict[str, Tensor]):
        def __getitem__(self, name: str) -> Tensor:
            asked.append(name)
            return super().__getitem__(name)

    codec = Codec(CONFIG, Asked(WEIGHTS))
    asked.clear()
    codec.decode_whole(random_codes(4)[:, :3])
    assert asked == [f"quantizer.vq.layers.{k}._codebook.embed" for k in range(3)]
    asked.clear()
    codec.encode(torch.zeros(1, 640), 2)
    assert any(name.startswith("encoder.") for name in asked)
    asked.clear()
    codec.encode(torch.zeros(1, 640), 2)
    codec.decode_whole(random_codes(4)[:, :3])
    assert asked == []


def test_codec_missing_tensor_is_named() -> None:
    """A checkpoint without a tensor, with a wrong shape or with one too many is refused by that tensor's name."""
    name = "decoder.model.0.conv.conv.bias"
    without = {key: value for key, value in WEIGHTS.items() if key != name}
    for weights in (without, {**WEIGHTS, name: torch.zeros(3)}):
        with pytest.raises(CheckpointError, match=name):
            Codec(CONFIG, weights)
    with pytest.raises(CheckpointError, match=r"decoder\.extra"):
        Codec(CONFIG, {**WEIGHTS, "decoder.extra": torch.zeros(1)})
