"""A transformer's layers with int8 weights, run by ONNX Runtime; attention stays outside.

One small graph for everything between two attentions: projection, norm, MLP, norm, the next layer's q, k, v. Weights
are int8 with a scale per output channel, exactly as our int8 files hold them. Activations become 8 bits with a scale
per position, so that a stream's result does not depend on who else is in the step. Knows no cache, no tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from bark_stream.checkpoint.checkpoint import StateDict
from bark_stream.checkpoint.storage import int8_matrix
from bark_stream.config import TransformerConfig
from bark_stream.int8_matrix import Int8Matrix
from bark_stream.transformer import Attend

Array: TypeAlias = NDArray[np.float32]

_OWN = "com.microsoft"
_NORM_EPS = 1e-5
_OPSETS = (("", 17), (_OWN, 1))
_LARGEST = 127
_MAX_INLINE_BYTES = 4096


class Int8Layers:
    """The blocks and the last norm of one model."""

    def __init__(self, config: TransformerConfig, weights: StateDict, *, num_threads: int) -> None:
        """Args: weights: Suno's names, float32; read once, matrix by matrix, and not kept."""
        self._config = config
        self._num_threads = num_threads
        self._first = _session(_first(weights, config), ("x",), num_threads)
        self._between = [
            _session(_between(weights, config, layer), ("x", "mixed"), num_threads)
            for layer in range(config.num_layers - 1)
        ]
        self._last = _session(_last(weights, config), ("x", "mixed"), num_threads)
        self._heads: dict[tuple[int, int], ort.InferenceSession] = {}

    def run(self, x: Tensor, attend: Attend, positions: Sequence[int] | None = None) -> Tensor:
        """All layers and the last norm.

        Args:
            x: [..., T, C] float32 with positions added.
            positions: of a [T, C] input, those whose result is wanted; all without it.
        Returns: [..., T, C], or [len(positions), C].
        """
        shape = x.shape
        residual = x.reshape(-1, shape[-1]).numpy()
        (qkv,) = self._first.run(None, {"x": residual})
        for layer in range(self._config.num_layers):
            mixed = self._mix(layer, qkv, shape, attend)
            if layer < self._config.num_layers - 1:
                residual, qkv = self._between[layer].run(None, {"x": residual, "mixed": mixed})
        if positions is not None:
            # Nobody looks at the others any more.
            residual, mixed, shape = residual[positions], mixed[positions], torch.Size((len(positions), shape[-1]))
        (hidden,) = self._last.run(None, {"x": residual, "mixed": mixed})
        return torch.from_numpy(hidden).view(shape)

    def logits(self, hidden: Tensor, head: Tensor, rows: slice) -> Tensor:
        """hidden: [B, C]; head: [V, C] float32. Returns: [B, len(rows)]; made int8 when first asked for."""
        key = (rows.start or 0, rows.stop)
        if key not in self._heads:
            graph = _Graph()
            graph.output(graph.linear("x", Int8Matrix.from_float(head[rows])), "logits")
            self._heads[key] = _session(graph, ("x",), self._num_threads)
        (logits,) = self._heads[key].run(None, {"x": hidden.numpy()})
        return torch.from_numpy(logits)

    def _mix(self, layer: int, qkv: Array, shape: torch.Size, attend: Attend) -> Array:
        heads = (3, self._config.num_heads, self._config.head_size)
        q, k, v = torch.from_numpy(qkv).view(*shape[:-1], *heads).unbind(-3)
        mixed: Array = attend(layer, q, k, v).reshape(-1, shape[-1]).numpy()
        return mixed


class _Graph:
    """Collects the nodes of one ONNX graph; tensors go by name."""

    def __init__(self) -> None:
        self.nodes: list[object] = []
        self.constants: dict[str, NDArray[np.generic]] = {}
        self.outputs: list[str] = []

    def op(self, kind: str, *inputs: str, own: bool = False, **attributes: object) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], domain=_OWN if own else "", **attributes))
        return name

    def constant(self, value: NDArray[np.generic]) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = np.ascontiguousarray(value)
        return name

    def output(self, name: str, called: str) -> None:
        self.nodes.append(helper.make_node("Identity", [name], [called]))
        self.outputs.append(called)

    def norm(self, x: str, weights: StateDict, name: str) -> str:
        parameters = [weights[f"{name}.weight"]]
        if f"{name}.bias" in weights:
            parameters.append(weights[f"{name}.bias"])
        constants = [self.constant(parameter.numpy()) for parameter in parameters]
        return self.op("LayerNormalization", x, *constants, axis=-1, epsilon=_NORM_EPS)

    def layer_linear(self, x: str, weights: StateDict, name: str) -> str:
        y = self.linear(x, int8_matrix(weights, f"{name}.weight"))
        if f"{name}.bias" not in weights:
            return y
        return self.op("Add", y, self.constant(weights[f"{name}.bias"].numpy()))

    def linear(self, x: str, matrix: Int8Matrix) -> str:
        """x [T, C] times matrix [N, C] transposed, both in 8 bits, each position scaled by its own largest value."""
        largest = self.op("ReduceMax", self.op("Abs", x), axes=[-1], keepdims=1)
        largest = self.op("Max", largest, self.constant(np.full(1, np.finfo(np.float32).tiny, np.float32)))
        step, zero = self.constant(np.array(1 / _LARGEST, np.float32)), self.constant(np.array(128, np.uint8))
        levels = self.op("QuantizeLinear", self.op("Div", x, largest), step, zero)
        product = self.op(
            "MatMulIntegerToFloat",
            levels,
            self.constant(matrix.values.T.numpy()),
            step,
            self.constant(matrix.scale.numpy()),
            zero,
            self.constant(np.zeros(len(matrix.scale), np.int8)),
            own=True,
        )
        return self.op("Mul", product, largest)


def _first(weights: StateDict, config: TransformerConfig) -> _Graph:
    graph = _Graph()
    graph.output(_qkv(graph, "x", weights, 0), "qkv")
    return graph


def _between(weights: StateDict, config: TransformerConfig, layer: int) -> _Graph:
    graph = _Graph()
    x = _after_attention(graph, weights, layer)
    graph.output(x, "residual")
    graph.output(_qkv(graph, x, weights, layer + 1), "qkv")
    return graph


def _last(weights: StateDict, config: TransformerConfig) -> _Graph:
    graph = _Graph()
    x = _after_attention(graph, weights, config.num_layers - 1)
    graph.output(graph.norm(x, weights, "transformer.ln_f"), "hidden")
    return graph


def _qkv(graph: _Graph, x: str, weights: StateDict, layer: int) -> str:
    block = f"transformer.h.{layer}"
    return graph.layer_linear(graph.norm(x, weights, f"{block}.ln_1"), weights, f"{block}.attn.c_attn")


def _after_attention(graph: _Graph, weights: StateDict, layer: int) -> str:
    block = f"transformer.h.{layer}"
    x = graph.op("Add", "x", graph.layer_linear("mixed", weights, f"{block}.attn.c_proj"))
    hidden = graph.layer_linear(graph.norm(x, weights, f"{block}.ln_2"), weights, f"{block}.mlp.c_fc")
    hidden = graph.layer_linear(graph.op("Gelu", hidden, own=True), weights, f"{block}.mlp.c_proj")
    return graph.op("Add", x, hidden)


def _session(graph: _Graph, inputs: Sequence[str], num_threads: int) -> ort.InferenceSession:
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "layers",
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["positions", "channels"]) for name in inputs],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in graph.outputs],
            [_declared(name, value) for name, value in graph.constants.items()],
        ),
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in _OPSETS],
        ir_version=9,
    )
    options = ort.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.log_severity_level = 3
    # Without it, CPUs without VNNI add pairs of products in 16 bits, which overflow.
    options.add_session_config_entry("session.x64quantprecision", "1")
    large = {name: value for name, value in graph.constants.items() if _is_large(value)}
    options.add_external_initializers(list(large), [ort.OrtValue.ortvalue_from_numpy(v) for v in large.values()])
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _is_large(value: NDArray[np.generic]) -> bool:
    return value.nbytes > _MAX_INLINE_BYTES


def _declared(name: str, value: NDArray[np.generic]) -> TensorProto:
    """Large constants only by shape: they are handed over beside the graph rather than copied into it and out again."""
    if not _is_large(value):
        return numpy_helper.from_array(value, name)
    tensor = TensorProto(name=name, dims=value.shape, data_type=helper.np_dtype_to_tensor_dtype(value.dtype))
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=name)
    return tensor
