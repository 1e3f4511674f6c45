"""What tests of several trainings begin with."""

from __future__ import annotations

import dataclasses

import pytest

from bark_stream.config import ModelConfig
from bark_stream.training.mini import mini_config


@pytest.fixture(scope="session")
def config() -> ModelConfig:
    """`mini` with a coarse stage small enough to be trained here."""
    config = mini_config()
    small = dataclasses.replace(config.coarse.transformer, num_layers=1, num_heads=2, hidden_size=32)
    return dataclasses.replace(config, coarse=dataclasses.replace(config.coarse, transformer=small))
