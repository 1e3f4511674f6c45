"""How many threads a model's steps are worth. Knows torch's setting and a model's size, nothing else."""

from __future__ import annotations

import os

import torch

from bark_stream.config import ModelConfig

MIN_PARALLEL_WIDTH = 512
"""A decode step of a narrower model is over before a second thread has woken, and on a busy machine waits for it."""
MAX_WORKERS = 2
"""Of an engine. They take turns with what lies between two calls into a graph, which would bound more of them."""


def num_threads_for(config: ModelConfig) -> int:
    """Threads for the decode steps of this model: one for a small model, else one per core that may be used."""
    width = max(stage.transformer.hidden_size for stage in (config.semantic, config.coarse, config.fine))
    return 1 if width < MIN_PARALLEL_WIDTH else _num_cores()


def num_workers_for(config: ModelConfig) -> int:
    """Steps of different streams that are worth making side by side."""
    return min(MAX_WORKERS, _num_cores() // num_threads_for(config))


def _num_cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def use_threads(config: ModelConfig) -> None:
    """Set torch's thread count for this process, as a program that speaks with one model should."""
    torch.set_num_threads(num_threads_for(config))
