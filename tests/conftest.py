"""What many tests share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from bark_stream.checkpoint import Checkpoint


@pytest.fixture(scope="session")
def tiny_checkpoint() -> Checkpoint:
    """Every part of Bark with random weights and short windows: a sentence takes milliseconds."""
    from bark_stream.checkpoint import random_checkpoint

    return random_checkpoint("tiny", seed=0)
