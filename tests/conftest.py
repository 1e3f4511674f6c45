"""What many tests share."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING

import pytest

import bark_stream  # noqa: F401  # first, or pytest would name tests/bark_stream so

if TYPE_CHECKING:
    from bark_stream.checkpoint import Checkpoint

try:
    importlib.import_module("torchaudio")
except (ImportError, OSError):
    # transformers takes a torchaudio that is installed for one that works; beside a CPU torch it does not.
    sys.modules["torchaudio"] = None  # type: ignore[assignment]


@pytest.fixture(scope="session")
def tiny_checkpoint() -> Checkpoint:
    """Every part of Bark with random weights and short windows: a sentence takes milliseconds."""
    from bark_stream.checkpoint import random_checkpoint

    return random_checkpoint("tiny", seed=0)
