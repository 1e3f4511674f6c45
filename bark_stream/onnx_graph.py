"""Graphs for ONNX Runtime, node by node, with linear layers in 8 bits. Knows no model.

Weights are int8 with a scale per output channel, exactly as our int8 files hold them. Activations become 7 or 8 bits
with a scale per position, so that a stream's result does not depend on who else is in the step. Processors without
VNNI add pairs of products in 16 bits, which two of 7 and 8 bits just fit; two of 8 bits overflow, and take a kernel
that is up to twice as slow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from bark_stream.checkpoint.checkpoint import StateDict
from bark_stream.checkpoint.storage import int8_matrix
from bark_stream.int8_matrix import Int8Matrix

Shape: TypeAlias = tuple[int | str, ...]

_OWN = "com.microsoft"
_NORM_EPS = 1e-5
_OPSETS = (("", 17), (_OWN, 1))
_MAX_INLINE_BYTES = 4096


class Graph:
    """Collects inputs, nodes and outputs; tensors go by name."""

    def __init__(self, *, activation_bits: Literal[7, 8]) -> None:
        self._activation_bits = activation_bits
        self._inputs: list[object] = []
        self._nodes: list[object] = []
        self._constants: dict[str, NDArray[np.generic]] = {}
        self._outputs: list[object] = []

    def input(self, name: str, shape: Shape, dtype: type[np.generic] = np.float32) -> str:
        self._inputs.append(
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)
        )
        return name

    def op(self, kind: str, *inputs: str, own: bool = False, **attributes: object) -> str:
        """A node with one output. Args: own: ONNX Runtime's own operator rather than one of ONNX."""
        name = f"t{len(self._nodes)}"
        self.node(kind, inputs, [name], own=own, **attributes)
        return name

    def node(
        self, kind: str, inputs: Sequence[str], outputs: Sequence[str], *, own: bool = False, **attributes: object
    ) -> None:
        self._nodes.append(helper.make_node(kind, inputs, outputs, domain=_OWN if own else "", **attributes))

    def constant(self, value: NDArray[np.generic]) -> str:
        name = f"c{len(self._constants)}"
        self._constants[name] = np.asarray(value, order="C")
        return name

    def output(self, name: str, called: str) -> None:
        self.node("Identity", [name], [called])
        self.declare_output(called)

    def declare_output(self, name: str) -> None:
        """A node's own output, as it is named there."""
        self._outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))

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
        """x [..., C] times matrix [N, C] transposed, each position scaled by its own largest value."""
        largest = self.op("ReduceMax", self.op("Abs", x), axes=[-1], keepdims=1)
        largest = self.op("Max", largest, self.constant(np.full(1, np.finfo(np.float32).tiny, np.float32)))
        num_levels = 2 ** (self._activation_bits - 1)
        step = self.constant(np.array(1 / (num_levels - 1), np.float32))
        zero = self.constant(np.array(num_levels, np.uint8))
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

    def before_attention(self, x: str, weights: StateDict, block: str) -> str:
        """Queries, keys and values of a transformer's block, [..., C] -> [..., 3 · C]."""
        return self.layer_linear(self.norm(x, weights, f"{block}.ln_1"), weights, f"{block}.attn.c_attn")

    def after_attention(self, x: str, mixed: str, weights: StateDict, block: str) -> str:
        """The rest of the block that `x` went into, given the mixed values."""
        x = self.op("Add", x, self.layer_linear(mixed, weights, f"{block}.attn.c_proj"))
        hidden = self.layer_linear(self.norm(x, weights, f"{block}.ln_2"), weights, f"{block}.mlp.c_fc")
        hidden = self.layer_linear(self.op("Gelu", hidden, own=True), weights, f"{block}.mlp.c_proj")
        return self.op("Add", x, hidden)

    def open(self, *, num_threads: int) -> ort.InferenceSession:
        """Ready to run; the graph itself is of no use any more."""
        model = helper.make_model(
            helper.make_graph(
                self._nodes,
                "graph",
                self._inputs,
                self._outputs,
                [_declared(name, value) for name, value in self._constants.items()],
            ),
            opset_imports=[helper.make_opsetid(domain, version) for domain, version in _OPSETS],
            ir_version=9,
        )
        options = ort.SessionOptions()
        options.intra_op_num_threads = num_threads
        options.log_severity_level = 3
        if self._activation_bits == 8:
            # The kernel that does not overflow.
            options.add_session_config_entry("session.x64quantprecision", "1")
        large = {name: value for name, value in self._constants.items() if _is_large(value)}
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
