"""In which numbers a model computes. Knows what processor and GPU have, nothing of models."""

from __future__ import annotations

from typing import Literal, get_args

import torch

from bark_stream.device import DeviceKind
from bark_stream.errors import ConfigError

Precision = Literal["float32", "bfloat16", "int8"]
PRECISIONS = ("auto", *get_args(Precision))


def resolve_precision(name: str, device: DeviceKind = "cpu") -> Precision:
    """What `name` means on this machine. The codec computes in float32 in any case.

    `auto` is int8 on a processor, where it was faster than the others in every shape and batch that was measured, and
    bfloat16 on a GPU that has it. It goes by that rule and not by a stopwatch at the start: else the same seed would
    say something else on a busy day.

    Raises: ConfigError for an unknown name, for bfloat16 where the processor would have to imitate it, and for int8,
        which has kernels for processors alone, on a GPU.
    """
    match name:
        case "auto" if device == "cuda":
            return "bfloat16" if has_bfloat16(device) else "float32"
        case "int8" if device == "cuda":
            raise ConfigError("precision", "int8 is made for processors; a GPU computes in bfloat16 or float32")
        case "auto" | "int8":
            return "int8"
        case "float32":
            return "float32"
        case "bfloat16":
            if not has_bfloat16(device):
                needed = "a GPU of compute capability 8" if device == "cuda" else "a processor with AVX512-BF16 or AMX"
                raise ConfigError("precision", f"bfloat16 needs {needed}")
            return "bfloat16"
    raise ConfigError("precision", f"must be one of {', '.join(PRECISIONS)}, not {name!r}")


def has_bfloat16(device: DeviceKind = "cpu") -> bool:
    """Whether the device multiplies matrices of bfloat16."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
