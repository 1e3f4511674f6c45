"""Promises of `bark_stream.kv_cache`: places for many streams that cost what is used of them."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
import torch

from bark_stream.config import TransformerConfig
from bark_stream.errors import EngineError
from bark_stream.kv_cache import KVCache

CONFIG = TransformerConfig(
    num_layers=4, num_heads=4, hidden_size=256, block_size=1024, input_vocab_size=8, output_vocab_size=8
)


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()


def test_cache_takes_memory_as_it_is_written() -> None:
    """Sixteen slots of which one holds a few positions take a small part of what all of them would."""
    before = resident_bytes()
    cache = KVCache(CONFIG, 16)
    for layer in range(CONFIG.num_layers):
        cache.write(layer, 3, 0, torch.ones(1, 4, 10, 64), torch.ones(1, 4, 10, 64))
    assert cache.keys.nbytes + cache.values.nbytes == 128 << 20
    assert resident_bytes() - before < 8 << 20


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_cache_is_zero_where_nothing_was_written(dtype: torch.dtype) -> None:
    """In every precision, and what is written to one slot stays there."""
    cache = KVCache(CONFIG, 2, dtype=dtype)
    ones = torch.ones(1, 4, 2, 64, dtype=dtype)
    keys, values = cache.write(1, 1, 5, ones, ones)
    assert keys.shape == values.shape == (1, 4, 7, 64)
    assert keys.dtype == dtype
    assert cache.keys.sum() == cache.values.sum() == 4 * 2 * 64
    assert cache.keys[1, 1, :, 5:7].eq(1).all()


def test_cache_slots_are_taken_once() -> None:
    """No slot is given to two, nor given back twice."""
    cache = KVCache(CONFIG, 2)
    assert {cache.acquire(), cache.acquire()} == {0, 1}
    with pytest.raises(EngineError, match="all 2 slots"):
        cache.acquire()
    cache.release(1)
    assert cache.num_free == 1
    with pytest.raises(EngineError, match="already free"):
        cache.release(1)


def test_cache_copies_what_a_slot_holds() -> None:
    """The other slot goes on from there, and neither is changed by what is written to the other afterwards."""
    cache = KVCache(CONFIG, 2)
    ones = torch.ones(1, 4, 3, 64)
    for layer in range(CONFIG.num_layers):
        cache.write(layer, 0, 0, ones, 2 * ones)
    cache.advance(0, 3)
    cache.copy(0, 1)
    assert cache.lengths == [3, 3]
    cache.write(0, 1, 2, 5 * ones[:, :, :1], ones[:, :, :1])
    assert cache.keys[:, 1, :, :2].eq(1).all()
    assert cache.values[:, 1, :, :2].eq(2).all()
    assert cache.keys[:, 0, :, :3].eq(1).all()
