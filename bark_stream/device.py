"""On which device a model computes. Knows what the machine has, nothing of models."""

from __future__ import annotations

from typing import Literal

import torch

from bark_stream.errors import ConfigError, DeviceUnavailable

DeviceKind = Literal["cpu", "cuda"]
DEVICES = ("auto", "cpu", "cuda")


def resolve_device(name: str) -> DeviceKind:
    """What `name` means on this machine; `auto` is the GPU where there is one.

    Raises: ConfigError for an unknown name; DeviceUnavailable.
    """
    match name:
        case "auto":
            return "cuda" if torch.cuda.is_available() else "cpu"
        case "cpu":
            return "cpu"
        case "cuda":
            if not torch.cuda.is_available():
                built = "sees no GPU" if torch.version.cuda else "was built without CUDA"
                raise DeviceUnavailable("cuda", f"the torch that is installed ({torch.__version__}) {built}")
            return "cuda"
    raise ConfigError("device", f"must be one of {', '.join(DEVICES)}, not {name!r}")
