"""A safetensors file whose tensors are mapped into memory one by one, each for as long as somebody holds it.

The library's own reader maps a file as a whole, for as long as one of its tensors lives: matrices that were only read
to be laid out anew would stay in memory beside the result, since a table of the same file is still looked at.
"""

from __future__ import annotations

import json
import math
import mmap
import os
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from bark_stream.errors import CheckpointError

_DTYPES = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "I16": torch.int16,
    "I32": torch.int32,
    "I64": torch.int64,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
}
_LENGTH_BYTES = 8
"""Of the number before the header that says how long that is."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in the file a tensor lies."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    offset_bytes: int


class MappedFile(Mapping[str, Tensor]):
    """Tensors by name. They may be written to; the file stays as it is."""

    def __init__(self, path: Path) -> None:
        """Raises: CheckpointError for a missing, truncated or foreign file."""
        try:
            with safe_open(path, framework="numpy"):  # the library checks that all is where the header says
                pass
            descriptor = os.open(path, os.O_RDONLY)
        except OSError as exc:
            raise CheckpointError(str(path), exc.strerror or str(exc)) from exc
        except (SafetensorError, ValueError) as exc:
            raise CheckpointError(str(path), f"is truncated or no safetensors file: {exc}") from exc
        weakref.finalize(self, os.close, descriptor)
        self._descriptor = descriptor
        self._places = _places(descriptor, str(path))

    def __getitem__(self, name: str) -> Tensor:
        place = self._places[name]
        count = math.prod(place.shape)
        if not count:
            return torch.empty(place.shape, dtype=place.dtype)
        before = place.offset_bytes % mmap.ALLOCATIONGRANULARITY
        num_bytes = before + count * place.dtype.itemsize
        mapped = mmap.mmap(self._descriptor, num_bytes, access=mmap.ACCESS_COPY, offset=place.offset_bytes - before)
        return torch.frombuffer(mapped, dtype=place.dtype, count=count, offset=before).view(place.shape)

    def __contains__(self, name: object) -> bool:
        # Without it, Mapping would map the tensor to find out.
        return name in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def _places(descriptor: int, source: str) -> dict[str, _Place]:
    length = int.from_bytes(os.pread(descriptor, _LENGTH_BYTES, 0), "little")
    header = json.loads(os.pread(descriptor, length, _LENGTH_BYTES))
    places = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        if entry["dtype"] not in _DTYPES:
            raise CheckpointError(source, f"tensor {name} is {entry['dtype']}, which is no way to store weights")
        first = _LENGTH_BYTES + length + entry["data_offsets"][0]
        places[name] = _Place(tuple(entry["shape"]), _DTYPES[entry["dtype"]], first)
    return places
