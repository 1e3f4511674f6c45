"""Muon: momentum whose matrices are made orthogonal, with AdamW for everything that is no hidden matrix.

All directions of a matrix move equally fast, so what a network of few parameters would learn last it learns
early. Steps are scaled to AdamW's size, so that one learning rate serves both. Source: Jordan et al., "Muon"
(2024); scaling: Liu et al., "Muon is scalable for LLM training" (2025).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
NUM_ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """Two kinds of groups: `is_hidden` ones by Muon, the others by AdamW."""

    def __init__(
        self,
        hidden: Iterable[nn.Parameter],
        others: Iterable[nn.Parameter],
        *,
        lr: float,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.98),
        weight_decay: float = 0.01,
    ) -> None:
        shared = {"lr": lr, "weight_decay": weight_decay}
        super().__init__(
            [
                {"params": list(hidden), "is_hidden": True, "momentum": momentum, **shared},
                {"params": list(others), "is_hidden": False, "betas": betas, **shared},
            ],
            {},
        )

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step from the gradients in place."""
        for group in self.param_groups:
            move = self._move_hidden if group["is_hidden"] else self._move_other
            for parameter in group["params"]:
                if parameter.grad is not None:
                    if parameter.ndim >= 2:
                        parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    move(parameter, parameter.grad, group)

    def _move_hidden(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        momentum: Tensor = state["momentum"]
        momentum.lerp_(gradient, 1 - group["momentum"])
        ahead = gradient.lerp(momentum, group["momentum"])
        update = orthogonal(ahead.reshape(len(ahead), -1))
        parameter.add_(update.view_as(parameter), alpha=-group["lr"] * 0.2 * max(update.shape) ** 0.5)

    def _move_other(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros(())
            state["mean"], state["square"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        state["step"] += 1
        first, second = group["betas"]
        state["mean"].lerp_(gradient, 1 - first)
        state["square"].mul_(second).addcmul_(gradient, gradient, value=1 - second)
        count = float(state["step"])
        size = (state["square"] / (1 - second**count)).sqrt_().add_(1e-8)
        parameter.addcdiv_(state["mean"], size, value=-group["lr"] / (1 - first**count))


def orthogonal(matrix: Tensor) -> Tensor:
    """[R, C] -> the nearest matrix whose singular values are all near 1.

    Every iterate is a polynomial of the first Gram matrix times the matrix, so the iteration stays with the (smaller)
    Gram matrices.
    """
    a, b, c = NEWTON_SCHULZ
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / (x.norm() + 1e-7)
    gram = x @ x.T
    product: Tensor | None = None
    for iteration in range(NUM_ITERATIONS):
        step = torch.addmm(gram, gram, gram, beta=b, alpha=c)
        step.diagonal().add_(a)
        product = step if product is None else step @ product
        if iteration + 1 < NUM_ITERATIONS:
            gram = step @ step @ gram
    x = x if product is None else product @ x
    result: Tensor = x.T if matrix.shape[0] > matrix.shape[1] else x
    return result


def is_hidden_matrix(name: str, parameter: nn.Parameter) -> bool:
    """Whether Muon moves it: a matrix or a convolution, but no table, head or gain."""
    if min(parameter.shape, default=0) == 0 or parameter.ndim < 2 or parameter.shape[0] == 1:
        return False
    is_table = any(part in name for part in ("wte", "wpe", "lm_head", "probe", "head.", "weight_g", "lstm"))
    return not is_table and parameter[0].numel() > 1
