"""Low-rank adapters (Hu et al., 2021): what is learned of a matrix is a product of two thin ones, added to it.

A finished model stays as it is while they learn, and they can be folded into it afterwards. Knows no model but its
linear layers.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from bark_stream.errors import ConfigError

ADAPTED = ("c_attn", "c_proj", "c_fc")
"""Linear layers of a block, by the last part of their name."""


class LowRank(nn.Module):
    """W + scale · B A, with B zero at first."""

    def __init__(self, num_rows: int, num_columns: int, rank: int, scale: float) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.empty(rank, num_columns).normal_(0.0, num_columns**-0.5))
        self.up = nn.Parameter(torch.zeros(num_rows, rank))
        self.scale = scale

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.scale * (self.up @ self.down)


def add_adapters(model: nn.Module, rank: int, *, scale: float = 2.0) -> nn.ModuleDict:
    """Put an adapter on every linear layer of the blocks; everything else stands still.

    Returns: the adapters alone, to be trained and saved.
    Raises: ConfigError for a rank below 1.
    """
    if rank < 1:
        raise ConfigError("rank", "must be at least 1")
    model.requires_grad_(False)
    adapters = nn.ModuleDict()
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Linear) and name.rpartition(".")[2] in ADAPTED:
            adapter = LowRank(module.out_features, module.in_features, rank, scale).to(module.weight.device)
            parametrize.register_parametrization(module, "weight", adapter)
            adapters[name.replace(".", "/")] = adapter
    return adapters


def fold_adapters(model: nn.Module) -> None:
    """Add what was learned to the matrices, and take the adapters off."""
    for module in model.modules():
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(cast(nn.Linear, module), "weight", leave_parametrized=True)
