"""How tensors lie in our safetensors files: as they are, halved, or as bytes with a scale per row."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from bark_stream.checkpoint.checkpoint import StateDict
from bark_stream.errors import CheckpointError

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
            packed[name], packed[name + _SCALE] = _quantised(tensor)
        elif storage == "float16":
            packed[name] = tensor.to(torch.float16).contiguous()
        else:
            packed[name] = tensor.contiguous()
    return packed


def unpack(packed: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """What was written -> float32 tensors.

    Raises: CheckpointError that names a tensor of another type, or one whose scale is missing or does not fit.
    """
    weights = {}
    for name, tensor in packed.items():
        if name.endswith(_SCALE) and name.removesuffix(_SCALE) in packed:
            continue
        if tensor.dtype == torch.int8:
            weights[name] = _dequantised(name, tensor, packed.get(name + _SCALE), source)
        elif tensor.dtype in _FLOATS:
            weights[name] = tensor.to(torch.float32)
        else:
            raise CheckpointError(source, f"tensor {name} is {tensor.dtype}, which is no way to store weights")
    return weights


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of one file, mapped into memory where the system can.

    Raises: CheckpointError for a missing, truncated or foreign file.
    """
    try:
        return load_file(path)
    except OSError as exc:
        raise CheckpointError(str(path), exc.strerror or str(exc)) from exc
    except (SafetensorError, ValueError) as exc:
        raise CheckpointError(str(path), f"is truncated or no safetensors file: {exc}") from exc


def write_safetensors(packed: Mapping[str, Tensor], path: Path) -> None:
    """A file that whoever may read the folder may read: the library makes it its owner's alone."""
    save_file(dict(packed), path)
    path.chmod(0o644)


def _quantised(tensor: Tensor) -> tuple[Tensor, Tensor]:
    scale = tensor.abs().amax(1).clamp(min=torch.finfo(torch.float32).tiny) / 127
    return (tensor / scale[:, None]).round().to(torch.int8).contiguous(), scale


def _dequantised(name: str, tensor: Tensor, scale: Tensor | None, source: str) -> Tensor:
    if scale is None:
        raise CheckpointError(source, f"tensor {name}{_SCALE} is missing")
    if tensor.ndim != 2 or scale.shape != tensor.shape[:1] or scale.dtype not in _FLOATS:
        raise CheckpointError(source, f"tensor {name}{_SCALE} does not fit {name}")
    return tensor.to(torch.float32) * scale.to(torch.float32)[:, None]
