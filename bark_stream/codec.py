"""Codes <-> PCM: EnCodec's layers, decoded incrementally.

`encodec` gives the architecture and its layers' parameters; ours is the state between calls: what each convolution
still needs of its past (`ConvState`), the unfinished end of each transposed convolution (`OverlapState`), the LSTM's
(h, c). Any slicing of the codes into calls gives the samples of one-shot decoding, EnCodec's reflect padding at the
start included: it mirrors frames 1 … 6 into the past, so a stream's first sample waits for 7 frames, or for `finish`.

Knows no tokens beyond codes, no chunks, no formats.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bark_stream.config import CodecConfig
from bark_stream.encodec_import import (
    SLSTM,
    ResidualVectorQuantizer,
    SConv1d,
    SConvTranspose1d,
    SEANetDecoder,
    SEANetEncoder,
    SEANetResnetBlock,
)
from bark_stream.errors import CheckpointError, EngineError
from bark_stream.uninitialised import NoInitialisation


@dataclass(slots=True)
class ConvState:
    previous: Tensor
    """[B, C, T] tail of the input so far; all of it until the reflect padding could be laid."""
    started: bool = False
    """False: the first output still owes the left padding."""


@dataclass(slots=True)
class OverlapState:
    partial: Tensor
    """[B, C, kernel - stride] end of the output that the next input adds to, without bias."""


@dataclass(slots=True)
class LSTMState:
    hidden: Tensor
    """[num_layers, B, C]"""
    cell: Tensor
    """[num_layers, B, C]"""


LayerState: TypeAlias = ConvState | OverlapState | LSTMState


@dataclass(slots=True)
class CodecState:
    """Between two calls of `Codec.decode`: one entry per stateful layer, in the decoder's order; empty at the start."""

    layers: list[LayerState] = field(default_factory=list)

    def clone(self) -> CodecState:
        return CodecState([_each(layer, Tensor.clone) for layer in self.layers])

    def move(self, device: torch.device) -> None:
        """To where the codec computes; nothing happens where it is there already."""
        self.layers = [_each(layer, lambda tensor: tensor.to(device)) for layer in self.layers]


def _each(layer: LayerState, change: Callable[[Tensor], Tensor]) -> LayerState:
    match layer:
        case ConvState(previous, started):
            return ConvState(change(previous), started)
        case OverlapState(partial):
            return OverlapState(change(partial))
        case LSTMState(hidden, cell):
            return LSTMState(change(hidden), change(cell))


Step: TypeAlias = Callable[[Tensor, "_States", bool], Tensor]
"""(x [B, C, T], states, is_last) -> [B, C', T']; T may be 0."""


class _States:
    """Walks the layer states in decoder order; the first walk creates them."""

    def __init__(self, layers: list[LayerState]) -> None:
        self._layers = layers
        self._next = 0

    def take(self, create: Callable[[], LayerState]) -> LayerState:
        if self._next == len(self._layers):
            self._layers.append(create())
        self._next += 1
        return self._layers[self._next - 1]


class Codec:
    """EnCodec with folded weight norm: `encode` whole clips, `decode` streams.

    Sound and codes lie on the CPU; the layers compute on a device of their own, on which torch may round the inputs of
    convolutions (TF32).
    """

    def __init__(
        self,
        config: CodecConfig,
        weights: Mapping[str, Tensor],
        *,
        source: str = "codec",
        device: torch.device | str = "cpu",
    ) -> None:
        """Args:
            weights: state dict under encodec's names (`encoder.*`, `decoder.*`, `quantizer.*`), float32; what only
                hears is read when something is heard.
            device: of the layers.
        Raises: CheckpointError that names a missing, unknown or misshapen tensor.
        """
        check_weights(config, weights, source)
        self.config = config
        self._weights = weights
        self._device = torch.device(device)
        self._codebooks: dict[int, Tensor] = {}
        decoder = cast(SEANetDecoder, _load("decoder", config, weights, self._device))
        self._steps = [_step(module) for module in decoder.model]

    @torch.inference_mode()
    def decode(self, codes: Tensor, state: CodecState) -> Tensor:
        """The next codec frames of a running stream.

        Args:
            codes: [B, K, T] int64 in 0 … codebook_size-1; K at most num_quantizers; T may be 0.
            state: carried from the previous call, updated in place.
        Returns: [B, S] float32 PCM, nominally -1 … 1. S is T · hop, except that the stream's first 6 frames are held
            back until the 7th (or `finish`).
        Raises: EngineError if a code lies outside its codebook.
        """
        state.move(self._device)
        return self._run(self._embed(codes), state, is_last=False)

    @torch.inference_mode()
    def finish(self, state: CodecState) -> Tensor:
        """What a stream shorter than the reflect padding still holds back: [B, S], empty for any longer one."""
        if not state.layers:
            return torch.zeros(1, 0)
        state.move(self._device)
        first = cast(ConvState, state.layers[0])
        return self._run(first.previous.new_zeros(*first.previous.shape[:2], 0), state, is_last=True)

    def decode_whole(self, codes: Tensor) -> Tensor:
        """One-shot: [B, K, T] codes -> [B, T · hop] PCM."""
        state = CodecState()
        return torch.cat([self.decode(codes, state), self.finish(state)], -1)

    @torch.inference_mode()
    def encode(self, pcm: Tensor, num_codebooks: int) -> Tensor:
        """Whole clips: [B, S] float32 PCM at the codec's rate -> [B, K, T] int64 codes, T = ceil(S / hop)."""
        encoder, quantizer = self._ear
        codes = quantizer.vq.encode(encoder(pcm.to(self._device)[:, None]), n_q=num_codebooks)  # [K, B, T]
        return cast(Tensor, codes.transpose(0, 1).cpu())

    @cached_property
    def _ear(self) -> tuple[SEANetEncoder, ResidualVectorQuantizer]:
        return (
            cast(SEANetEncoder, _load("encoder", self.config, self._weights, self._device)),
            cast(ResidualVectorQuantizer, _load("quantizer", self.config, self._weights, self._device)),
        )

    def _embed(self, codes: Tensor) -> Tensor:
        """[B, K, T] codes -> [B, C, T], the sum of their codebook vectors."""
        if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) < self.config.codebook_size:
            raise EngineError(f"a code lies outside 0 … {self.config.codebook_size - 1}")
        codes = codes.to(self._device)
        embeddings = sum(self._codebook(k)[codes[:, k]] for k in range(codes.shape[1]))
        return cast(Tensor, embeddings).transpose(1, 2)

    def _codebook(self, k: int) -> Tensor:
        """[V, C], read when it is first used: Bark uses eight of a published codec's thirty-two."""
        if k not in self._codebooks:
            table = self._weights[f"quantizer.vq.layers.{k}._codebook.embed"]
            self._codebooks[k] = table.to(self._device)
        return self._codebooks[k]

    def _run(self, x: Tensor, state: CodecState, *, is_last: bool) -> Tensor:
        states = _States(state.layers)
        for step in self._steps:
            x = step(x, states, is_last)
        return x[:, 0].cpu()


def build_network(config: CodecConfig, *, norm: Literal["weight_norm", "none"] = "weight_norm") -> nn.ModuleDict:
    """encodec's own encoder, quantizer and decoder of this shape, freshly initialised (to load into, or to train)."""
    shape = {
        "dimension": config.dimension,
        "n_filters": config.num_filters,
        "ratios": list(config.ratios),
        "lstm": config.num_lstm_layers,
        "norm": norm,
        "causal": True,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # encodec's layers use torch's older weight norm
        return nn.ModuleDict(
            {
                "encoder": SEANetEncoder(**shape),
                "quantizer": ResidualVectorQuantizer(
                    dimension=config.dimension, n_q=config.num_quantizers, bins=config.codebook_size
                ),
                "decoder": SEANetDecoder(**shape),
            }
        )


def check_weights(config: CodecConfig, weights: Mapping[str, Tensor], source: str) -> None:
    """Whether these are exactly the tensors of such a codec, with weight norm.

    Raises: CheckpointError that names a missing, unknown or misshapen tensor.
    """
    expected: dict[str, list[int]] = {}
    for name, tensor in _without_storage(config).state_dict().items():
        shape = list(tensor.shape)
        if name.endswith(("conv.weight", "convtr.weight")):
            expected[f"{name}_g"] = [shape[0]] + [1] * (len(shape) - 1)
            name = f"{name}_v"
        expected[name] = shape
    for name, shape in expected.items():
        if name not in weights:
            raise CheckpointError(source, f"tensor {name} is missing")
        if list(weights[name].shape) != shape:
            raise CheckpointError(source, f"tensor {name} is {list(weights[name].shape)}, not {shape}")
    for name in weights:
        if name not in expected:
            raise CheckpointError(source, f"tensor {name} is not part of the codec")


def _without_storage(config: CodecConfig) -> nn.ModuleDict:
    with torch.device("meta"), NoInitialisation():
        return build_network(config, norm="none")


def _load(part: str, config: CodecConfig, weights: Mapping[str, Tensor], device: torch.device) -> nn.Module:
    """Encoder, quantizer or decoder with its weight norm folded in, ready for inference."""
    module = _without_storage(config)[part]
    tensors = {name: folded_weight(weights, f"{part}.{name}") for name in module.state_dict()}
    module.load_state_dict(tensors, assign=True)
    return module.eval().requires_grad_(False).to(device)


def folded_weight(weights: Mapping[str, Tensor], name: str) -> Tensor:
    """A tensor as it is used: its weight norm folded in, if it has one."""
    if f"{name}_v" not in weights:
        return weights[name]
    return torch._weight_norm(weights[f"{name}_v"], weights[f"{name}_g"], 0)


def _step(module: nn.Module) -> Step:
    """The streaming twin of one decoder layer."""
    if isinstance(module, SConv1d):
        return _conv(module)
    if isinstance(module, SConvTranspose1d):
        return _conv_transpose(module)
    if isinstance(module, SLSTM):
        return _lstm(module)
    if isinstance(module, SEANetResnetBlock):
        return _residual(module)
    return lambda x, states, is_last: cast(Tensor, module(x))


def _conv(module: SConv1d) -> Step:
    conv = module.conv.conv
    weight, bias = cast(Tensor, conv.weight), conv.bias
    dilation = conv.dilation[0]
    pad = (conv.kernel_size[0] - 1) * dilation

    def step(x: Tensor, states: _States, is_last: bool) -> Tensor:
        state = states.take(lambda: ConvState(x[..., :0]))
        assert isinstance(state, ConvState)
        x = torch.cat([state.previous, x], -1)
        if not state.started and x.shape[-1]:
            if x.shape[-1] <= pad and not is_last:
                state.previous = x
                return x.new_zeros(x.shape[0], weight.shape[0], 0)
            # A whole stream shorter than the padding is mirrored as if zeros followed (encodec's pad1d).
            mirrored = F.pad(x, (0, max(0, pad + 1 - x.shape[-1])))[..., 1 : pad + 1].flip(-1)
            x = torch.cat([mirrored, x], -1)
            state.started = True
        if x.shape[-1] <= pad:
            return x.new_zeros(x.shape[0], weight.shape[0], 0)
        state.previous = x[..., x.shape[-1] - pad :]
        return F.conv1d(x, weight, bias, dilation=dilation)

    return step


def _conv_transpose(module: SConvTranspose1d) -> Step:
    conv = module.convtr.convtr
    weight, bias = cast(Tensor, conv.weight), cast(Tensor, conv.bias)
    stride = conv.stride[0]
    overlap = conv.kernel_size[0] - stride

    def step(x: Tensor, states: _States, is_last: bool) -> Tensor:
        state = states.take(lambda: OverlapState(x.new_zeros(x.shape[0], weight.shape[1], overlap)))
        assert isinstance(state, OverlapState)
        if not x.shape[-1]:
            return x.new_zeros(x.shape[0], weight.shape[1], 0)
        y = F.conv_transpose1d(x, weight, stride=stride)
        y[..., :overlap] += state.partial
        whole = x.shape[-1] * stride
        # The bias is added once, when a sample is finished, and so not kept in the overlap.
        state.partial = y[..., whole:].clone()
        return y[..., :whole] + bias[:, None]

    return step


def _lstm(module: SLSTM) -> Step:
    lstm, skip = module.lstm, module.skip

    def step(x: Tensor, states: _States, is_last: bool) -> Tensor:
        shape = (lstm.num_layers, x.shape[0], lstm.hidden_size)
        state = states.take(lambda: LSTMState(x.new_zeros(shape), x.new_zeros(shape)))
        assert isinstance(state, LSTMState)
        if not x.shape[-1]:
            return x
        y, (state.hidden, state.cell) = lstm(x.permute(2, 0, 1), (state.hidden, state.cell))
        y = y.permute(1, 2, 0)
        return cast(Tensor, y + x if skip else y)

    return step


def _residual(module: SEANetResnetBlock) -> Step:
    shortcut = _step(module.shortcut)
    block = [_step(layer) for layer in module.block]

    def step(x: Tensor, states: _States, is_last: bool) -> Tensor:
        y = x
        for layer in block:
            y = layer(y, states, is_last)
        return shortcut(x, states, is_last) + y

    return step
