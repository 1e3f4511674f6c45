"""Imports `encodec` where torchaudio cannot be loaded.

`encodec` imports torchaudio at its top for reading sound files, which nothing here asks of it. torchaudio's wheels want
the CUDA libraries even beside a CPU torch, so an empty stand-in takes its place during the import, and is taken out
again.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from types import ModuleType

_ABSENT = ModuleType("absent")


def _import_encodec() -> None:
    try:
        importlib.import_module("torchaudio")
    except (ImportError, OSError, RuntimeError):
        before = sys.modules.get("torchaudio", _ABSENT)
        sys.modules["torchaudio"] = ModuleType("torchaudio")
        try:
            importlib.import_module("encodec")
        finally:
            del sys.modules["torchaudio"]
            if before is not _ABSENT:
                sys.modules["torchaudio"] = before
    else:
        importlib.import_module("encodec")


with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    _import_encodec()

from encodec.modules.conv import SConv1d, SConvTranspose1d  # noqa: E402
from encodec.modules.lstm import SLSTM  # noqa: E402
from encodec.modules.seanet import SEANetDecoder, SEANetEncoder, SEANetResnetBlock  # noqa: E402
from encodec.quantization.vq import ResidualVectorQuantizer  # noqa: E402

__all__ = [
    "SLSTM",
    "ResidualVectorQuantizer",
    "SConv1d",
    "SConvTranspose1d",
    "SEANetDecoder",
    "SEANetEncoder",
    "SEANetResnetBlock",
]
