"""Logits -> tokens: temperature, top-k, top-p and the end of a sentence.

Two orders, since Suno's and Hugging Face's Bark differ: Suno cuts (top-p, then top-k) on unscaled logits and divides by
the temperature last (generation.py); Hugging Face scales first. A temperature of 0 takes the most likely token and
draws nothing. Knows no model; randomness comes from the generator passed in and nowhere else.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bark_stream.config import SamplingConfig


def draw(logits: Tensor, temperature: float, config: SamplingConfig, generator: torch.Generator) -> Tensor:
    """One token per row.

    Args:
        logits: [..., V] float.
        temperature: of this stage; the configuration holds one for each.
    Returns: [...] int64 in 0 … V-1.
    """
    if temperature == 0:
        return logits.argmax(-1)
    return _pick(probabilities(logits, temperature, config), generator)


def draw_semantic(logits: Tensor, config: SamplingConfig, generator: torch.Generator) -> int | None:
    """The next semantic token, or None at the sentence's end.

    Args: logits: [V + 1]; the last row is the end.
    """
    end = logits.shape[-1] - 1
    temperature = config.text_temperature
    if config.order == "hugging_face" and config.min_eos_p is not None and logits.softmax(-1)[end] > config.min_eos_p:
        return None
    if temperature == 0:
        token = int(logits.argmax(-1))
        return None if token == end else token
    probs = probabilities(logits, temperature, config)
    token = int(_pick(probs, generator))
    # Suno draws before it looks at the end's probability, and drops what it drew.
    if token == end or (config.order == "suno" and config.min_eos_p is not None and probs[end] >= config.min_eos_p):
        return None
    return token


def probabilities(logits: Tensor, temperature: float, config: SamplingConfig) -> Tensor:
    """[..., V] logits -> [..., V] probabilities that are drawn from; `temperature` above 0."""
    if config.order == "suno":
        kept = _keep_top_k(_keep_top_p(logits, config.top_p), config.top_k)
        return (kept / temperature).softmax(-1)
    return _keep_top_p(_keep_top_k(logits / temperature, config.top_k), config.top_p).softmax(-1)


def _pick(probs: Tensor, generator: torch.Generator) -> Tensor:
    """One token per row, [..., V] -> [...]: where the running sum passes a random number. torch.multinomial draws a
    number for each token instead of one for all, and checks its input: five times as long, 200 times a second."""
    sums = probs.cumsum(-1, dtype=torch.float64)
    chosen = torch.rand((*probs.shape[:-1], 1), generator=generator, dtype=torch.float64) * sums[..., -1:]
    return torch.searchsorted(sums, chosen, right=True)[..., 0]


def _keep_top_k(logits: Tensor, top_k: int | None) -> Tensor:
    if top_k is None or top_k >= logits.shape[-1]:
        return logits
    least = logits.topk(top_k, dim=-1).values[..., -1:]
    return logits.masked_fill(logits < least, -torch.inf)


def _keep_top_p(logits: Tensor, top_p: float | None) -> Tensor:
    """Keep the likeliest tokens up to and including the one that carries the sum beyond `top_p`."""
    if top_p is None or top_p >= 1:
        return logits
    ordered, order = logits.sort(dim=-1, descending=True)
    probs = ordered.softmax(-1)
    beyond = probs.cumsum(-1) - probs > top_p
    return logits.masked_fill(torch.zeros_like(beyond).scatter(-1, order, beyond), -torch.inf)
