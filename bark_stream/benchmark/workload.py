"""The same amount of work for every model, trained or not: a sentence that ends when it is told to."""

from __future__ import annotations

from dataclasses import replace

from bark_stream.checkpoint import Checkpoint
from bark_stream.checkpoint.checkpoint import StateDict
from bark_stream.checkpoint.storage import StoredWeights
from bark_stream.config import ChunkPolicy

_HEAD = "lm_head.weight"
TEXT = "I would not go into that cave without a torch, traveller, not for all the gold in it."


def endless(checkpoint: Checkpoint) -> Checkpoint:
    """The model without an end of sentence, and without special tokens among its codes.

    Those rows of the heads become the mean of two others, so that the likelier of the two is likelier than they are.
    """
    config = checkpoint.config
    num_codes = config.coarse_rows.stop
    return replace(
        checkpoint,
        semantic=_never_drawn(checkpoint.semantic, config.semantic.pad_token, 0),
        coarse=_never_drawn(checkpoint.coarse, num_codes, num_codes - 2),
    )


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


def _never_drawn(weights: StateDict, first: int, source: int) -> StateDict:
    """The head's rows from `first` on in the middle between `source` and the next; what is stored in int8 stays so."""
    rows = weights[_HEAD].clone()
    rows[first:] = (rows[source] + rows[source + 1]) / 2
    if isinstance(weights, StoredWeights):
        return weights.with_tensor(_HEAD, rows)
    return {**weights, _HEAD: rows}
