"""A matrix as bytes with a scale per row: how weights are stored in int8, and how int8 layers compute."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_LARGEST = 127


@dataclass(frozen=True, slots=True)
class Int8Matrix:
    values: Tensor
    """[R, C] int8, the largest of each row at +-127."""
    scale: Tensor
    """[R] float32."""

    @classmethod
    def from_float(cls, matrix: Tensor) -> Int8Matrix:
        """matrix: [R, C] float32. What came from `to_float` comes back as it was."""
        scale = matrix.abs().amax(1).clamp(min=torch.finfo(torch.float32).tiny) / _LARGEST
        return cls((matrix / scale[:, None]).round().to(torch.int8).contiguous(), scale)

    def to_float(self) -> Tensor:
        """[R, C] float32."""
        return self.values.to(torch.float32) * self.scale[:, None]
