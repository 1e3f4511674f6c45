"""How near decoding is to what memory gives: every step reads every weight once, and little else takes time."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from bark_stream.config import ModelConfig
from bark_stream.device import DeviceKind
from bark_stream.precision import Precision

_BYTES = {"float32": 4, "bfloat16": 2, "int8": 1}
_WIDTH = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Roofline:
    weight_bytes: int
    """That one coarse step reads."""
    achieved_bytes_per_s: float
    plain_bytes_per_s: float
    """Of a loop of matrix times vector over as many bytes, in float32, in the same run."""

    @property
    def distance(self) -> float:
        """1 at the roof; 2: twice as slow."""
        return self.plain_bytes_per_s / self.achieved_bytes_per_s


def measure_roofline(
    config: ModelConfig, precision: Precision, coarse_tokens_per_s: float, device: DeviceKind = "cpu"
) -> Roofline:
    num_bytes = coarse_weight_bytes(config, precision)
    return Roofline(
        weight_bytes=num_bytes,
        achieved_bytes_per_s=num_bytes * coarse_tokens_per_s,
        plain_bytes_per_s=plain_bytes_per_s(num_bytes, device),
    )


def coarse_weight_bytes(config: ModelConfig, precision: Precision) -> int:
    """All layers, and the rows of the head that one codebook needs."""
    shape = config.coarse.transformer
    layers = 12 * shape.num_layers * shape.hidden_size**2
    return (layers + config.codec.codebook_size * shape.hidden_size) * _BYTES[precision]


def plain_bytes_per_s(num_bytes: int, device: DeviceKind = "cpu", *, num_loops: int = 30) -> float:
    """The best of some loops over matrices that hold `num_bytes` together."""
    num_matrices = max(1, round(num_bytes / (4 * _WIDTH**2)))
    matrices = [torch.randn(_WIDTH, _WIDTH, device=device) for _ in range(num_matrices)]
    vector, result = torch.randn(_WIDTH, device=device), torch.empty(_WIDTH, device=device)
    times = []
    with torch.inference_mode():
        for _ in range(num_loops):
            started = time.perf_counter()
            for matrix in matrices:
                torch.mv(matrix, vector, out=result)
            result.cpu()  # a GPU answers before it is done
            times.append(time.perf_counter() - started)
    return 4 * _WIDTH**2 * num_matrices / min(times)
