"""Suno's generation, written out slowly: no KV cache, no streaming, everything recomputed for every token.

The arithmetic is that of bark/generation.py (2.4 of its pipeline: paddings, slices, windows, the history's trimming);
greedy only. What the engine makes under `ChunkPolicy.reference()` is compared with this, token for token.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from bark_stream.checkpoint import Models
from bark_stream.config import ModelConfig
from bark_stream.voice import Voice


def semantic_tokens(models: Models, config: ModelConfig, text_tokens: np.ndarray, voice: Voice | None) -> list[int]:
    c, model = config.semantic, models.semantic
    history = [] if voice is None else list(voice.semantic[-c.max_history_tokens :])
    history += [c.pad_token] * (c.max_history_tokens - len(history))
    prefix = model.embed(torch.from_numpy(text_tokens)) + model.embed(torch.tensor(history))
    prefix = torch.cat([prefix, model.embed(torch.tensor([c.infer_token]))])
    tokens: list[int] = []
    while len(tokens) < c.max_new_tokens:
        x = torch.cat([prefix, model.embed(torch.tensor(tokens, dtype=torch.int64))])
        logits = model.logits(model(x[None])[0, -1], slice(0, c.transformer.output_vocab_size))
        token = int(torch.cat([logits[: c.vocab_size], logits[c.pad_token : c.pad_token + 1]]).argmax())
        if token == c.vocab_size:
            break
        tokens.append(token)
    return tokens


def coarse_codes(models: Models, config: ModelConfig, semantic: list[int], voice: Voice | None) -> np.ndarray:
    c, model, size, base = config.coarse, models.coarse, config.codec.codebook_size, config.semantic.vocab_size
    ratio = c.rate_hz / config.semantic.rate_hz * c.num_codebooks
    max_semantic_history = math.floor(c.max_history_tokens / ratio)
    semantic_history: list[int] = []
    coarse_history: list[int] = []
    if voice is not None:
        flat = (voice.coarse + np.array([[0], [size]])).ravel("F") + base
        n = len(voice.semantic)
        n = min(max_semantic_history, n - n % 2, math.floor(len(flat) / ratio))
        semantic_history = list(voice.semantic[-n:])
        coarse_history = list(flat[-round(n * ratio) :][:-2])
    num_steps = round(math.floor(len(semantic) * ratio / c.num_codebooks) * c.num_codebooks)
    everything = semantic_history + semantic
    made = list(coarse_history)
    step = 0
    while step < num_steps:
        center = len(semantic_history) + round(step / ratio)
        window = everything[max(0, center - max_semantic_history) :][: c.max_semantic_tokens]
        window = window + [c.semantic_pad_token] * (c.max_semantic_tokens - len(window))
        x = [*window, c.infer_token, *made[-c.max_history_tokens :]]
        for _ in range(min(c.sliding_window_len, num_steps - step)):
            hidden = model(model.embed(torch.tensor(x))[None])[0, -1]
            first = base + (step % 2) * size
            token = first + int(model.logits(hidden, slice(first, first + size)).argmax())
            x.append(token)
            made.append(token)
            step += 1
    codes = np.array(made[len(coarse_history) :]).reshape(-1, 2).T - base
    codes[1] -= size
    return codes


def fine_codes(models: Models, config: ModelConfig, coarse: np.ndarray, voice: Voice | None) -> np.ndarray:
    c, size = config.fine, config.codec.codebook_size
    hop, window = c.max_history_frames, c.window_frames
    num_new = coarse.shape[1]
    rows = np.vstack([coarse, np.full((c.num_codebooks - 2, num_new), size)])
    num_history = 0
    if voice is not None:
        num_history = min(hop, voice.fine.shape[1])
        rows = np.hstack([voice.fine[:, -hop:], rows])
    num_extra = max(0, window - rows.shape[1])
    rows = np.hstack([rows, np.full((c.num_codebooks, num_extra), size)])
    frames = torch.from_numpy(rows.T.copy()).long()
    for n in range(max(0, math.ceil((num_new - (window - num_history)) / hop)) + 1):
        start = min(n * hop, len(frames) - window)
        fill = min(num_history + n * hop, len(frames) - hop)
        buffer = frames[start : start + window].clone()
        for codebook in range(2, c.num_codebooks):
            logits = models.fine(codebook, buffer[None])[0]
            buffer[fill - start :, codebook] = logits[fill - start :, :size].argmax(-1)
        frames[fill : start + window] = buffer[fill - start :]
    filled = frames.numpy().T[:, num_history:]
    return filled[:, : filled.shape[1] - num_extra] if num_extra else filled
