"""In which numbers a model computes. Knows what the processor has, nothing of models."""

from __future__ import annotations

from typing import Literal, get_args

import torch

from bark_stream.errors import ConfigError

Precision = Literal["float32", "bfloat16", "int8"]
PRECISIONS = ("auto", *get_args(Precision))


def resolve_precision(name: str) -> Precision:
    """What `name` means on this machine. The codec computes in float32 in any case.

    `auto` is int8, which was faster than the others in every shape and batch that was measured. It goes by that rule
    and not by a stopwatch at the start: else the same seed would say something else on a busy day.

    Raises: ConfigError for an unknown name, and for bfloat16 where the processor would have to imitate it.
    """
    match name:
        case "auto" | "int8":
            return "int8"
        case "float32":
            return "float32"
        case "bfloat16":
            if not has_bfloat16():
                raise ConfigError("precision", "bfloat16 needs a processor with AVX512-BF16 or AMX")
            return "bfloat16"
    raise ConfigError("precision", f"must be one of {', '.join(PRECISIONS)}, not {name!r}")


def has_bfloat16() -> bool:
    """Whether the processor multiplies matrices of bfloat16."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
