"""How tensors lie in our safetensors files: as they are, halved, or as bytes with a scale per row."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Literal, cast

import torch
from safetensors.torch import save_file
from torch import Tensor

from bark_stream.checkpoint.checkpoint import StateDict
from bark_stream.errors import CheckpointError
from bark_stream.int8_matrix import Int8Matrix

Storage = Literal["float32", "float16", "int8"]

_SCALE = "_scale"
_FLOATS = (torch.float32, torch.float16, torch.bfloat16)


def pack(weights: StateDict, storage: Storage) -> dict[str, Tensor]:
    """Float32 tensors -> what is written.

    `int8`: a matrix [R, C] becomes int8 [R, C] and `NAME_scale` float32 [R], the largest of each row at ±127; what is
    no matrix stays float32 (a thousandth of a transformer).
    """
    packed = {}
    for name, tensor in weights.items():
        if storage == "int8" and tensor.ndim == 2:
            matrix = Int8Matrix.from_float(tensor)
            packed[name], packed[name + _SCALE] = matrix.values, matrix.scale
        elif storage == "float16":
            packed[name] = tensor.to(torch.float16).contiguous()
        else:
            packed[name] = tensor.contiguous()
    return packed


class StoredWeights(Mapping[str, Tensor]):
    """What was written, as float32 tensors that are made when they are asked for: the file stays mapped, and only one
    tensor at a time need be in memory twice."""

    def __init__(self, packed: Mapping[str, Tensor], source: str) -> None:
        """Raises: CheckpointError that names a tensor of another type, or whose scale is missing or does not fit."""
        scales = {name for name in packed if name.endswith(_SCALE) and name.removesuffix(_SCALE) in packed}
        self._packed = packed
        self._source = source
        self._names = dict.fromkeys(name for name in packed if name not in scales)
        for name in self._names:
            _check(name, packed, source)

    def __getitem__(self, name: str) -> Tensor:
        stored = self.int8(name)
        return self._packed[name].to(torch.float32) if stored is None else stored.to_float()

    def __contains__(self, name: object) -> bool:
        # Without it, Mapping would make the tensor to find out.
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def shape(self, name: str) -> torch.Size:
        return self._packed[name].shape

    def int8(self, name: str) -> Int8Matrix | None:
        """A matrix as it is stored, if that is as bytes."""
        values = self._packed[name]
        if values.dtype != torch.int8:
            return None
        return Int8Matrix(values, self._packed[name + _SCALE].to(torch.float32))

    def with_tensor(self, name: str, tensor: Tensor) -> StoredWeights:
        """These weights with another tensor under a name that they know, stored as the one before was."""
        storage: Storage = "float32" if self.int8(name) is None else "int8"
        return StoredWeights(
            ChainMap(pack({name: tensor}, storage), cast(MutableMapping[str, Tensor], self._packed)), self._source
        )


def int8_matrix(weights: StateDict, name: str) -> Int8Matrix:
    """A matrix of the weights in int8: as it is stored, or made so."""
    stored = weights.int8(name) if isinstance(weights, StoredWeights) else None
    return Int8Matrix.from_float(weights[name]) if stored is None else stored


def _check(name: str, packed: Mapping[str, Tensor], source: str) -> None:
    tensor = packed[name]
    if tensor.dtype == torch.int8:
        scale = packed.get(name + _SCALE)
        if scale is None:
            raise CheckpointError(source, f"tensor {name}{_SCALE} is missing")
        if tensor.ndim != 2 or scale.shape != tensor.shape[:1] or scale.dtype not in _FLOATS:
            raise CheckpointError(source, f"tensor {name}{_SCALE} does not fit {name}")
    elif tensor.dtype not in _FLOATS:
        raise CheckpointError(source, f"tensor {name} is {tensor.dtype}, which is no way to store weights")


def write_safetensors(packed: Mapping[str, Tensor], path: Path) -> None:
    """A file that whoever may read the folder may read: the library makes it its owner's alone."""
    save_file(dict(packed), path)
    path.chmod(0o644)
