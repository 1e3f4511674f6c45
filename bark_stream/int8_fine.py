"""The fine stage's layers as one graph: int8 layers and attention that looks both ways. Knows no codes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bark_stream.checkpoint.checkpoint import StateDict
from bark_stream.config import TransformerConfig
from bark_stream.onnx_graph import Graph


class Int8Fine:
    """All blocks and the last norm."""

    def __init__(self, config: TransformerConfig, weights: StateDict, *, num_threads: int) -> None:
        """Args: weights: Suno's names, float32; read once, matrix by matrix, and not kept."""
        self._session = _graph(config, weights).open(num_threads=num_threads)

    def run(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """[B, T, C] embeddings with positions added -> [B, T, C] hidden states."""
        hidden: NDArray[np.float32] = self._session.run(None, {"x": x})[0]
        return hidden


def _graph(config: TransformerConfig, weights: StateDict) -> Graph:
    graph = Graph(activation_bits=7)
    x = graph.input("x", ("rows", "positions", config.hidden_size))
    for layer in range(config.num_layers):
        block = f"transformer.h.{layer}"
        qkv = graph.before_attention(x, weights, block)
        parts = [f"{part}{layer}" for part in ("queries", "keys", "values")]
        graph.node("Split", [qkv], parts, axis=-1)
        mixed = graph.op("MultiHeadAttention", *parts, own=True, num_heads=config.num_heads)
        x = graph.after_attention(x, mixed, weights, block)
    graph.output(graph.norm(x, weights, "transformer.ln_f"), "hidden")
    return graph
