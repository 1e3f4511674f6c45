"""torch modules made without first values, for weights that come from elsewhere. Knows no model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.overrides import TorchFunctionMode


class NoInitialisation(TorchFunctionMode):
    """Modules made inside get no first values. Without it, drawing them for tensors without storage imports torch's
    compiler: five seconds before the first word. (So would weight norm: the codec's layers are made without it.)"""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)
