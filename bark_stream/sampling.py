"""Logits -> tokens: temperature, top-k, top-p and the end of a sentence.

Two orders, since Suno's and Hugging Face's Bark differ: Suno cuts (top-p, then top-k) on unscaled logits and divides by
the temperature last (generation.py); Hugging Face scales first. A temperature of 0 takes the most likely token and
draws nothing. numpy and not torch: on rows of a thousand numbers, 200 times a second, a call is what takes time. Knows
no model; randomness comes from the generator passed in and nowhere else.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from bark_stream.config import SamplingConfig

Floats: TypeAlias = NDArray[np.float32]


def draw(logits: Floats, temperature: float, config: SamplingConfig, generator: torch.Generator) -> NDArray[np.int64]:
    """One token per row.

    Args:
        logits: [..., V].
        temperature: of this stage; the configuration holds one for each.
    Returns: [...] in 0 … V-1.
    """
    if temperature == 0:
        return np.asarray(logits.argmax(-1))
    return _pick(probabilities(logits, temperature, config), generator)


def draw_semantic(logits: Floats, config: SamplingConfig, generator: torch.Generator) -> int | None:
    """The next semantic token, or None at the sentence's end.

    Args: logits: [V + 1]; the last row is the end.
    """
    end = logits.shape[-1] - 1
    temperature = config.text_temperature
    if config.order == "hugging_face" and config.min_eos_p is not None and _softmax(logits)[end] > config.min_eos_p:
        return None
    if temperature == 0:
        token = int(logits.argmax())
        return None if token == end else token
    probs = probabilities(logits, temperature, config)
    token = int(_pick(probs, generator))
    # Suno draws before it looks at the end's probability, and drops what it drew.
    if token == end or (config.order == "suno" and config.min_eos_p is not None and probs[end] >= config.min_eos_p):
        return None
    return token


def probabilities(logits: Floats, temperature: float, config: SamplingConfig) -> Floats:
    """[..., V] logits -> [..., V] probabilities that are drawn from; `temperature` above 0."""
    if config.order == "suno":
        kept = _keep_top_k(_keep_top_p(logits, config.top_p), config.top_k)
        return _softmax(kept / np.float32(temperature))
    return _softmax(_keep_top_p(_keep_top_k(logits / np.float32(temperature), config.top_k), config.top_p))


def _pick(probs: Floats, generator: torch.Generator) -> NDArray[np.int64]:
    """One token per row, [..., V] -> [...]: the first at which the running sum passes a random number."""
    sums = probs.cumsum(-1, dtype=np.float64)
    random = torch.rand((*probs.shape[:-1], 1), generator=generator, dtype=torch.float64).numpy()
    return np.asarray((sums > random * sums[..., -1:]).argmax(-1))


def _softmax(logits: Floats) -> Floats:
    scaled: Floats = np.exp(logits - logits.max(-1, keepdims=True))
    scaled /= scaled.sum(-1, keepdims=True)
    return scaled


def _keep_top_k(logits: Floats, top_k: int | None) -> Floats:
    if top_k is None or top_k >= logits.shape[-1]:
        return logits
    least = np.partition(logits, -top_k, axis=-1)[..., [-top_k]]
    return np.where(logits < least, np.float32(-np.inf), logits)


def _keep_top_p(logits: Floats, top_p: float | None) -> Floats:
    """Keep the likeliest tokens up to and including the one that carries the sum beyond `top_p`."""
    if top_p is None or top_p >= 1:
        return logits
    order = np.argsort(-logits, axis=-1, kind="stable")
    probs = _softmax(np.take_along_axis(logits, order, -1))
    is_beyond = np.empty(logits.shape, np.bool_)
    np.put_along_axis(is_beyond, order, probs.cumsum(-1) - probs > top_p, -1)
    return np.where(is_beyond, np.float32(-np.inf), logits)
