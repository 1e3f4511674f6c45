"""Keys and values of running token streams: one slab per model, one slot per stream.

Knows nothing of tokens or sampling. A slot's content is valid up to its `length`; whoever writes says where.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bark_stream.config import TransformerConfig
from bark_stream.errors import EngineError


class KVCache:
    """Preallocated keys and values, [num_layers, num_slots, H, block_size, D] each."""

    def __init__(
        self,
        config: TransformerConfig,
        num_slots: int,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        shape = (config.num_layers, num_slots, config.num_heads, config.block_size, config.head_size)
        self.keys = torch.zeros(shape, device=device, dtype=dtype)
        self.values = torch.zeros(shape, device=device, dtype=dtype)
        self.block_size = config.block_size
        self.lengths = [0] * num_slots
        self._free = list(range(num_slots))[::-1]

    @property
    def num_slots(self) -> int:
        return len(self.lengths)

    @property
    def num_free(self) -> int:
        return len(self._free)

    def acquire(self) -> int:
        """Take a slot. Raises: EngineError when none is free."""
        if not self._free:
            raise EngineError(f"all {self.num_slots} slots of the KV cache are taken")
        slot = self._free.pop()
        self.lengths[slot] = 0
        return slot

    def release(self, slot: int) -> None:
        if slot in self._free:
            raise EngineError(f"slot {slot} of the KV cache is already free")
        self.lengths[slot] = 0
        self._free.append(slot)

    def reset(self, slot: int) -> None:
        """Forget a slot's content and keep the slot."""
        self.lengths[slot] = 0

    def write(self, layer: int, slot: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Append keys and values [H, T, D] of one layer, which must fit; the length moves only with `advance`.

        Returns: all keys and values of the slot so far, [H, length + T, D] each (views).
        """
        start = self.lengths[slot]
        end = start + keys.shape[1]
        self.keys[layer, slot, :, start:end] = keys
        self.values[layer, slot, :, start:end] = values
        return self.keys[layer, slot, :, :end], self.values[layer, slot, :, :end]

    def advance(self, slot: int, num_positions: int) -> None:
        self.lengths[slot] += num_positions
