"""A decode step of a causal transformer as one graph: int8 layers, attention over the KV cache, head; and its tables.

ONNX Runtime's GroupQueryAttention appends to keys and values where they lie, so that a step copies no cache. Streams
whose slots lie side by side take one run together; longer spans, pieces of prefixes, one run each. Knows no tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray

from bark_stream.checkpoint.checkpoint import StateDict
from bark_stream.checkpoint.storage import StoredWeights, int8_matrix
from bark_stream.config import TransformerConfig
from bark_stream.int8_matrix import Int8Matrix
from bark_stream.kv_cache import KVCache
from bark_stream.onnx_graph import Graph
from bark_stream.transformer import Floats, Gaze, Span


@dataclass(frozen=True, slots=True)
class _Bound:
    """Memory of a run over some slots: what goes in, what comes out, and the graph's hold on both."""

    binding: Any
    x: Floats
    """[B, S, C]"""
    last_positions: NDArray[np.int32]
    """[B]"""
    longest: NDArray[np.int32]
    """[] the most positions of any slot, new ones included."""
    logits: Floats
    """[B, R]"""
    queries: dict[int, Floats]
    """By layer: [B, C] of the last position."""


class _Table:
    """Rows to look up, as they are stored: a table is the largest thing there is, and a step looks at a few of them."""

    def __init__(self, weights: StateDict, name: str) -> None:
        stored = weights.int8(name) if isinstance(weights, StoredWeights) else None
        self._values = (weights[name] if stored is None else stored.values).numpy()
        self._scale = None if stored is None else stored.scale.numpy()[:, None]

    def rows(self, indices: Sequence[int]) -> Floats:
        """[N, C] float32."""
        rows: Floats = self._values[indices]
        return rows if self._scale is None else rows * self._scale[indices]


class Int8Decoder:
    """The blocks, the last norm and the head of one model."""

    def __init__(
        self,
        config: TransformerConfig,
        weights: StateDict,
        rows: slice,
        *,
        watched_layers: frozenset[int] = frozenset(),
        activation_bits: Literal[7, 8],
        num_threads: int,
    ) -> None:
        """Args:
        weights: Suno's names, float32; read once, matrix by matrix, and not kept.
        rows: of the head.
        watched_layers: whose queries a `Gaze` may ask for.
        """
        self._config = config
        self._tokens = _Table(weights, "transformer.wte.weight")
        self._positions = _Table(weights, "transformer.wpe.weight")
        self._watched = sorted(watched_layers)
        head = int8_matrix(weights, "lm_head.weight")
        head = Int8Matrix(head.values[rows], head.scale[rows])
        self._num_rows = len(head.scale)
        graph = Graph(activation_bits=activation_bits)
        _fill(graph, config, weights, head, self._watched)
        self._session = graph.open(num_threads=num_threads)
        self._bound: WeakKeyDictionary[KVCache, dict[tuple[int, int], _Bound]] = WeakKeyDictionary()

    def look_up(self, tokens: Sequence[int]) -> Floats:
        """Embeddings [N, C], without positions."""
        return self._tokens.rows(tokens)

    def decode(
        self,
        x: Floats,
        positions: Sequence[int],
        spans: Sequence[Span],
        starts: Sequence[int],
        cache: KVCache,
        gaze: Gaze | None,
    ) -> Floats:
        """Logits of each span's last position.

        Args:
            x: [N, C] embeddings; N is the sum of the spans' positions.
            positions: [N], of each in its slot.
            starts: where the spans are laid.
            cache: its keys and values are updated in place, its lengths are not.
        Returns: [len(spans), R].
        """
        x = x + self._positions.rows(positions)
        logits = np.empty((len(spans), self._num_rows), np.float32)
        ends = list(accumulate(span.num_positions for span in spans))
        for group in _groups(spans):
            first, num = spans[group[0]].slot, spans[group[0]].num_positions
            bound = self._bind(cache, first, len(group), num)
            for row, index in enumerate(group):
                bound.x[row] = x[ends[index] - num : ends[index]]
                bound.last_positions[row] = starts[index] + num - 1
            bound.longest[...] = bound.last_positions.max() + 1
            self._session.run_with_iobinding(bound.binding)
            logits[group] = bound.logits
            if gaze is not None:
                self._look(gaze, bound, cache, first)
        return logits

    def _look(self, gaze: Gaze, bound: _Bound, cache: KVCache, first: int) -> None:
        heads = (self._config.num_heads, self._config.head_size)
        for layer, queries in bound.queries.items():
            for row, query in enumerate(queries):
                gaze.look(layer, first + row, torch.from_numpy(query).view(heads), cache.keys[layer, first + row])

    def _bind(self, cache: KVCache, first: int, num_slots: int, num_positions: int) -> _Bound:
        """Memory for a run over slots side by side; kept where it is for single positions, 200 times a second."""
        if num_positions > 1:
            return self._new_bound(cache, first, num_slots, num_positions)
        kept = self._bound.setdefault(cache, {})
        if (first, num_slots) not in kept:
            kept[first, num_slots] = self._new_bound(cache, first, num_slots, 1)
        return kept[first, num_slots]

    def _new_bound(self, cache: KVCache, first: int, num_slots: int, num_positions: int) -> _Bound:
        width = self._config.hidden_size
        bound = _Bound(
            binding=self._session.io_binding(),
            x=np.zeros((num_slots, num_positions, width), np.float32),
            last_positions=np.zeros(num_slots, np.int32),
            longest=np.zeros((), np.int32),
            logits=np.zeros((num_slots, self._num_rows), np.float32),
            queries={layer: np.zeros((num_slots, width), np.float32) for layer in self._watched},
        )
        inputs = {"x": bound.x, "last_positions": bound.last_positions, "longest": bound.longest}
        outputs = {"logits": bound.logits, **{f"query{layer}": array for layer, array in bound.queries.items()}}
        for layer in range(self._config.num_layers):
            for kind, slab in (("keys", cache.keys), ("values", cache.values)):
                slots = slab[layer, first : first + num_slots].numpy()
                inputs[f"{kind}{layer}"] = outputs[f"new_{kind}{layer}"] = slots
        for name, array in inputs.items():
            bound.binding.bind_input(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        for name, array in outputs.items():
            bound.binding.bind_output(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        return bound


def _groups(spans: Sequence[Span]) -> list[list[int]]:
    """Which spans run together, in the order of the runs: a slot's earlier spans before its last, longer ones alone,
    the others with whom their slot lies beside."""
    last = {span.slot: index for index, span in enumerate(spans)}
    together, groups = [], []
    for index, span in enumerate(spans):
        if span.num_positions > 1 or last[span.slot] != index:
            groups.append([index])
        else:
            together.append(index)
    beside: list[int] = []
    for index in sorted(together, key=lambda index: spans[index].slot):
        if beside and spans[beside[-1]].slot + 1 == spans[index].slot:
            beside.append(index)
        else:
            beside = [index]
            groups.append(beside)
    return groups


def _fill(
    graph: Graph, config: TransformerConfig, weights: StateDict, head: Int8Matrix, watched: Sequence[int]
) -> None:
    x = graph.input("x", ("slots", "positions", config.hidden_size))
    lengths = (graph.input("last_positions", ("slots",), np.int32), graph.input("longest", (), np.int32))
    last = graph.constant(np.array(-1, np.int64))
    for layer in range(config.num_layers):
        block = f"transformer.h.{layer}"
        qkv = graph.before_attention(x, weights, block)
        if layer in watched:
            graph.output(_query(graph, graph.op("Gather", qkv, last, axis=1), config.hidden_size), f"query{layer}")
        mixed = _attention(graph, config, layer, qkv, lengths)
        if layer == config.num_layers - 1:
            # Nobody looks at the others any more.
            x, mixed = (graph.op("Gather", tensor, last, axis=1) for tensor in (x, mixed))
        x = graph.after_attention(x, mixed, weights, block)
    graph.output(graph.linear(graph.norm(x, weights, "transformer.ln_f"), head), "logits")


def _query(graph: Graph, qkv: str, width: int) -> str:
    """The first third of [B, 3 · C]."""
    first, end, axis = (graph.constant(np.array([number], np.int64)) for number in (0, width, 1))
    return graph.op("Slice", qkv, first, end, axis)


def _attention(graph: Graph, config: TransformerConfig, layer: int, qkv: str, lengths: tuple[str, str]) -> str:
    """Keys and values come in and go out as the same memory."""
    shape = ("slots", config.num_heads, config.block_size, config.head_size)
    keys, values = (graph.input(f"{kind}{layer}", shape) for kind in ("keys", "values"))
    outputs = [f"mixed{layer}", f"new_keys{layer}", f"new_values{layer}"]
    graph.node(
        "GroupQueryAttention",
        [qkv, "", "", keys, values, *lengths],
        outputs,
        own=True,
        num_heads=config.num_heads,
        kv_num_heads=config.num_heads,
    )
    for name in outputs[1:]:
        graph.declare_output(name)
    return outputs[0]
