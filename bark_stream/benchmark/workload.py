"""The same amount of work for every model, trained or not: a sentence that ends when it is told to."""

from __future__ import annotations

from dataclasses import replace

import torch

from bark_stream.checkpoint import Checkpoint
from bark_stream.config import ChunkPolicy

TEXT = "I would not go into that cave without a torch, traveller, not for all the gold in it."


def endless(checkpoint: Checkpoint) -> Checkpoint:
    """The model without an end of sentence, and without special tokens among its codes.

    Those rows of the heads become the mean of two others, so that the likelier of the two is likelier than they are.
    """
    config = checkpoint.config
    semantic, coarse = dict(checkpoint.semantic), dict(checkpoint.coarse)
    num_codes = config.coarse_rows.stop
    semantic["lm_head.weight"] = _never_best(semantic["lm_head.weight"], config.semantic.pad_token, 0)
    coarse["lm_head.weight"] = _never_best(coarse["lm_head.weight"], num_codes, num_codes - 2)
    return replace(checkpoint, semantic=semantic, coarse=coarse)


def lasting(policy: ChunkPolicy, seconds: float) -> ChunkPolicy:
    """The policy with nothing that would make a sentence shorter, and a budget that ends it."""
    return replace(
        policy,
        eager=False,
        trim_leading_silence=False,
        max_silence_s=None,
        max_repeats=None,
        max_s_per_character=1e-6,
        min_budget_s=seconds,
    )


def _never_best(rows: torch.Tensor, first: int, source: int) -> torch.Tensor:
    """The rows from `first` on in the middle between `source` and the next."""
    rows = rows.clone()
    rows[first:] = (rows[source] + rows[source + 1]) / 2
    return rows
