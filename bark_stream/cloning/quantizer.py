"""HuBERT's features -> Bark's semantic tokens: the quantizers that are published for cloning.

A two-layer LSTM and a linear layer over 10,000 tokens; version 1 has one more linear layer between. The file is a
`torch.save` of the state dict; newer ones hold a member `<name>/.info` beside it, JSON with the sizes. Both are checked
against the tensors, and nothing is unpickled but tensors.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from bark_stream.checkpoint.torch_file import read_torch_file
from bark_stream.errors import CheckpointError

INFO = "/.info"
MAX_INFO_BYTES = 10_000
NUM_LAYERS = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class QuantizerConfig:
    input_size: int
    """Width of HuBERT's features."""
    hidden_size: int
    output_size: int
    """Semantic tokens."""
    intermediate_size: int | None
    """Of version 1's layer; None in version 0."""

    @property
    def version(self) -> int:
        return 0 if self.intermediate_size is None else 1


class Quantizer(nn.Module):
    def __init__(self, config: QuantizerConfig) -> None:
        super().__init__()
        self.config = config
        self.lstm = nn.LSTM(config.input_size, config.hidden_size, NUM_LAYERS, batch_first=True)
        width = config.hidden_size
        if config.intermediate_size is not None:
            self.intermediate = nn.Linear(width, config.intermediate_size)
            width = config.intermediate_size
        self.fc = nn.Linear(width, config.output_size)

    @torch.inference_mode()
    def scores(self, features: Tensor) -> Tensor:
        """[B, N, C] float32 -> [B, N, V] log-probabilities of each frame's semantic token."""
        x, _ = self.lstm(features)
        if self.config.intermediate_size is not None:
            x = self.intermediate(x)
        return cast(Tensor, self.fc(x).log_softmax(-1))


def load_quantizer(path: Path) -> Quantizer:
    """A published quantizer, any version.

    Raises: UnsafeCheckpoint if the file asks for anything but tensors; CheckpointError if it is something else, or its
        tensors and its `.info` disagree.
    """
    weights = read_torch_file(path)
    if not isinstance(weights, dict) or not all(isinstance(tensor, Tensor) for tensor in weights.values()):
        raise CheckpointError(str(path), "is no quantizer: it holds other things than tensors")
    config = _config_of(weights, path)
    _check_info(config, path)
    quantizer = Quantizer(config)
    try:
        quantizer.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    except RuntimeError as exc:
        raise CheckpointError(str(path), f"is no quantizer: {exc}") from exc
    return quantizer.eval().requires_grad_(False)


def _config_of(weights: dict[str, Tensor], path: Path) -> QuantizerConfig:
    try:
        gates, input_size = weights["lstm.weight_ih_l0"].shape
        between = weights.get("intermediate.bias")
        return QuantizerConfig(
            input_size=input_size,
            hidden_size=gates // 4,
            output_size=len(weights["fc.bias"]),
            intermediate_size=None if between is None else len(between),
        )
    except (KeyError, ValueError, TypeError) as exc:
        raise CheckpointError(str(path), f"is no quantizer: {exc} is missing or misshapen") from exc


def _check_info(config: QuantizerConfig, path: Path) -> None:
    info = _read_info(path)
    for name, value in info.items():
        if name in ("input_size", "hidden_size", "output_size", "version") and value != getattr(config, name):
            raise CheckpointError(str(path), f".info says {name} {value}; the tensors say {getattr(config, name)}")


def _read_info(path: Path) -> dict[str, Any]:
    """What the file says of itself; nothing in older files."""
    if not zipfile.is_zipfile(path):
        return {}
    with zipfile.ZipFile(path) as archive:
        members = [member for member in archive.infolist() if member.filename.endswith(INFO)]
        if not members:
            return {}
        if members[0].file_size > MAX_INFO_BYTES:
            raise CheckpointError(str(path), f"{members[0].filename} is larger than {MAX_INFO_BYTES} bytes")
        try:
            info = json.loads(archive.read(members[0]))
        except (ValueError, zipfile.BadZipFile) as exc:
            raise CheckpointError(str(path), f"{members[0].filename} is no JSON") from exc
    if not isinstance(info, dict):
        raise CheckpointError(str(path), f"{members[0].filename} is no JSON object")
    return info
