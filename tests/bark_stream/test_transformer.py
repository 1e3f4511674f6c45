"""Promises of the transformers and their KV cache: cached steps are the whole sequence, rows are alone."""

from __future__ import annotations

import pytest
import torch

from bark_stream.config import TransformerConfig
from bark_stream.errors import EngineError
from bark_stream.kv_cache import KVCache
from bark_stream.transformer import CausalGPT, FineGPT, Span

CONFIG = TransformerConfig(
    num_layers=3, num_heads=2, hidden_size=16, block_size=24, input_vocab_size=50, output_vocab_size=40
)


def random_model() -> CausalGPT:
    torch.manual_seed(0)
    model = CausalGPT(CONFIG)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval().requires_grad_(False)


MODEL = random_model()
TOKENS = torch.randint(0, 50, (3, 20), generator=torch.Generator().manual_seed(1))


def run_cached(cache: KVCache, slot: int, tokens: torch.Tensor, prefill: int) -> torch.Tensor:
    """Hidden states of the prefill's last position and of each decode step, [T - prefill + 1, C]."""
    hidden = [MODEL.step(MODEL.embed(tokens[:prefill]), [Span(slot, prefill)], cache)]
    hidden += [MODEL.step(MODEL.embed(token[None]), [Span(slot, 1)], cache) for token in tokens[prefill:]]
    return torch.cat(hidden)


@pytest.mark.parametrize("prefill", [1, 7, 20])
def test_step_equals_whole_sequence(prefill: int) -> None:
    """Prefill and decode steps give the hidden states of one forward over everything."""
    whole = MODEL(MODEL.embed(TOKENS[:1]))[0, prefill - 1 :]
    cache = KVCache(CONFIG, 1)
    torch.testing.assert_close(run_cached(cache, cache.acquire(), TOKENS[0], prefill), whole, atol=1e-5, rtol=1e-5)


def test_step_ragged_batch_equals_each_alone() -> None:
    """Streams of different lengths, prefills beside decode steps, come out as if each were alone."""
    cache = KVCache(CONFIG, 3)
    slots = [cache.acquire() for _ in range(3)]
    run_cached(cache, slots[0], TOKENS[0, :9], 4)
    run_cached(cache, slots[1], TOKENS[1, :3], 3)
    packed = torch.cat([MODEL.embed(TOKENS[0, 9:10]), MODEL.embed(TOKENS[1, 3:4]), MODEL.embed(TOKENS[2, :6])])
    hidden = MODEL.step(packed, [Span(slots[0], 1), Span(slots[1], 1), Span(slots[2], 6)], cache)
    for row, (stream, length) in enumerate([(0, 10), (1, 4), (2, 6)]):
        alone = MODEL(MODEL.embed(TOKENS[stream : stream + 1, :length]))[0, -1]
        torch.testing.assert_close(hidden[row], alone, atol=1e-5, rtol=1e-5)


def test_step_reused_slot_remembers_nothing() -> None:
    """A slot that was released and taken again gives what a new one gives."""
    cache = KVCache(CONFIG, 1)
    cache.keys.fill_(float("nan"))
    cache.values.fill_(float("nan"))
    slot = cache.acquire()
    first = run_cached(cache, slot, TOKENS[0], 5)
    cache.release(slot)
    slot = cache.acquire()
    run_cached(cache, slot, TOKENS[1], 9)
    cache.release(slot)
    assert torch.equal(run_cached(cache, cache.acquire(), TOKENS[0], 5), first)


@pytest.mark.parametrize("pieces", [(7, 7, 6), (1, 18, 1), (19, 1)])
def test_step_in_pieces_equals_whole_sequence(pieces: tuple[int, ...]) -> None:
    """A prefix that is laid piece by piece gives what it gives at once."""
    cache = KVCache(CONFIG, 1)
    slot, first = cache.acquire(), 0
    for num in pieces:
        hidden = MODEL.step(MODEL.embed(TOKENS[0, first : first + num]), [Span(slot, num)], cache)
        first += num
    torch.testing.assert_close(hidden[0], MODEL(MODEL.embed(TOKENS[:1]))[0, -1], atol=1e-5, rtol=1e-5)


def test_step_laid_over_replaces_and_keeps_what_follows() -> None:
    """Positions laid over others take their place; what lies behind stays, and the next position sees both."""
    cache = KVCache(CONFIG, 1)
    slot = cache.acquire()
    run_cached(cache, slot, TOKENS[0, :9], 9)
    before = cache.keys[:, slot, :, 5:9].clone()
    MODEL.step(MODEL.embed(TOKENS[1, 2:5]), [Span(slot, 3, 2)], cache)
    assert cache.lengths[slot] == 9
    assert torch.equal(cache.keys[:, slot, :, 5:9], before)
    whole = torch.cat([TOKENS[0, :2], TOKENS[1, 2:5]])
    expected = KVCache(CONFIG, 1)
    run_cached(expected, expected.acquire(), whole, 5)
    torch.testing.assert_close(cache.keys[:, slot, :, :5], expected.keys[:, 0, :, :5])


def test_step_beyond_what_a_slot_holds_is_refused() -> None:
    """Positions are laid over or behind what is there, never leaving a gap."""
    cache = KVCache(CONFIG, 1)
    slot = cache.acquire()
    run_cached(cache, slot, TOKENS[0, :2], 2)
    with pytest.raises(EngineError, match="none at 3"):
        MODEL.step(MODEL.embed(TOKENS[0, 2:4]), [Span(slot, 2, 3)], cache)


def test_kv_cache_full_window_is_refused() -> None:
    """A slot never holds more than the context window."""
    cache = KVCache(CONFIG, 1)
    slot = cache.acquire()
    run_cached(cache, slot, torch.cat([TOKENS[0], TOKENS[1, :4]]), 20)
    with pytest.raises(EngineError, match="context window"):
        MODEL.step(MODEL.embed(TOKENS[0, :1]), [Span(slot, 1)], cache)


def test_kv_cache_slots_are_counted() -> None:
    """A taken slot is not given twice, a free one is not freed again, and none is lost."""
    cache = KVCache(CONFIG, 2)
    first, second = cache.acquire(), cache.acquire()
    assert first != second
    with pytest.raises(EngineError, match="taken"):
        cache.acquire()
    cache.release(first)
    with pytest.raises(EngineError, match="already free"):
        cache.release(first)
    assert cache.num_free == 1


def test_logits_rows_equal_whole_head() -> None:
    """Cutting the head to the rows that can be drawn changes none of them."""
    hidden = torch.randn(2, 16, generator=torch.Generator().manual_seed(2))
    whole = MODEL.logits(hidden, slice(0, 40))
    torch.testing.assert_close(MODEL.logits(hidden, slice(10, 20)), whole[:, 10:20])


def test_fine_looks_both_ways_and_only_at_lower_codebooks() -> None:
    """A frame's logits depend on frames after it, and on no codebook above the predicted one."""
    torch.manual_seed(0)
    model = FineGPT(CONFIG, num_codebooks=4, num_codebooks_given=1).eval()
    codes = torch.randint(0, 40, (1, 10, 4), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        base = model(2, codes)
        later, above = codes.clone(), codes.clone()
        later[0, 9, 0] += 1
        above[0, :, 3] += 1
        assert not torch.equal(model(2, later)[0, 0], base[0, 0])
        assert torch.equal(model(2, above), base)
        torch.testing.assert_close(model(2, codes, num_codes=30, first_frame=4), base[:, 4:, :30])


def test_fine_heads_are_tied_to_the_next_table() -> None:
    """Head i shares its weights with embedding table i + 1, as in Suno's model_fine.py."""
    model = FineGPT(CONFIG, num_codebooks=4, num_codebooks_given=1)
    for index, head in enumerate(model.lm_heads):
        assert head.weight is model.transformer["wtes"][index + 1].weight
