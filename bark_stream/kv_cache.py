"""Keys and values of running token streams: one slab per model, one slot per stream.

Knows nothing of tokens or sampling. A slot's content is valid up to its `length`; whoever writes says where.
"""

from __future__ import annotations

import math
import mmap
import threading

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
        self.keys = _zeros(shape, torch.device(device), dtype)
        self.values = _zeros(shape, torch.device(device), dtype)
        # Views made once: cutting them out of the slab in every layer of every step takes longer than using them.
        self._slots = [
            [(self.keys[layer, slot, None], self.values[layer, slot, None]) for slot in range(num_slots)]
            for layer in range(config.num_layers)
        ]
        self.block_size = config.block_size
        self.lengths = [0] * num_slots
        self._free = list(range(num_slots))
        self._lock = threading.Lock()

    @property
    def num_slots(self) -> int:
        return len(self.lengths)

    @property
    def num_free(self) -> int:
        return len(self._free)

    def acquire(self) -> int:
        """Take the first slot that is free, so that those in use lie side by side; from any thread.

        Raises: EngineError when none is free.
        """
        with self._lock:
            if not self._free:
                raise EngineError(f"all {self.num_slots} slots of the KV cache are taken")
            slot = min(self._free)
            self._free.remove(slot)
        self.lengths[slot] = 0
        return slot

    def release(self, slot: int) -> None:
        """Give a slot back, from any thread."""
        with self._lock:
            if slot in self._free:
                raise EngineError(f"slot {slot} of the KV cache is already free")
            self.lengths[slot] = 0
            self._free.append(slot)

    def reset(self, slot: int) -> None:
        """Forget a slot's content and keep the slot."""
        self.lengths[slot] = 0

    def copy(self, source: int, target: int) -> None:
        """One slot takes over what another holds."""
        length = self.lengths[source]
        for slab in (self.keys, self.values):
            slab[:, target, :, :length] = slab[:, source, :, :length]
        self.lengths[target] = length

    def write(self, layer: int, slot: int, start: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Lay keys and values [1, H, T, D] of one layer at `start`; they must fit. The length moves only with
        `advance`.

        Returns: the slot's keys and values up to and with these, [1, H, start + T, D] each (views).
        """
        num_positions = keys.shape[2]
        slot_keys, slot_values = self._slots[layer][slot]
        slot_keys.narrow(2, start, num_positions).copy_(keys)
        slot_values.narrow(2, start, num_positions).copy_(values)
        return slot_keys.narrow(2, 0, start + num_positions), slot_values.narrow(2, 0, start + num_positions)

    def advance(self, slot: int, end: int) -> None:
        """The slot now holds what lies before `end`, and whatever it held beyond."""
        self.lengths[slot] = max(self.lengths[slot], end)


def _zeros(shape: tuple[int, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    """On the CPU memory that the system gives page by page, as positions are first written: few streams fill their
    windows, and few servers their slots."""
    if device.type != "cpu":
        return torch.zeros(shape, device=device, dtype=dtype)
    private = mmap.mmap(-1, math.prod(shape) * dtype.itemsize, access=mmap.ACCESS_COPY)
    return torch.frombuffer(private, dtype=dtype).view(shape)
