"""What the three stages of any Bark learn from recordings: losses in the very layout that inference has.

Unlike the recipe of the built-in model these take a model as it is, know nothing of phones, and run where the model is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from bark_stream.coarse_window import flat_codes, history_spans, window_start
from bark_stream.config import ModelConfig
from bark_stream.transformer import CausalGPT, FineGPT

IGNORED = -100
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """One recording as tokens."""

    text: Ints
    """[max_text_tokens] offset and padded."""
    semantic: Ints
    """[N]"""
    codes: Ints
    """[K, T]"""


@dataclass(frozen=True, kw_only=True, slots=True)
class FinetuneBatch:
    """How much a step sees."""

    num_rows: int = 4
    alone_share: float = 0.4
    """Rows that begin with a recording; the others go on from another one."""
    fine_frames: int = 256


class FinetuneLosses:
    def __init__(self, heard: list[Heard], config: ModelConfig, device: torch.device, batch: FinetuneBatch) -> None:
        self._heard = heard
        self._config = config
        self._device = device
        self._batch = batch

    def semantic(self, model: CausalGPT, rng: np.random.Generator) -> dict[str, Tensor]:
        """Text (and what was said before) -> semantic tokens and their end."""
        config, batch = self._config.semantic, self._batch
        rows = [self._pick(rng) for _ in range(batch.num_rows)]
        text = np.stack([row.text for _, row in rows])
        history = np.full_like(text, config.pad_token)
        for i, (before, _) in enumerate(rows):
            if before is not None:
                tail = before.semantic[-config.max_history_tokens :]
                history[i, : len(tail)] = tail
        tokens = [row.semantic[: config.max_new_tokens - 1] for _, row in rows]
        inputs = _padded(tokens, config.pad_token)
        targets = _padded([np.append(row, config.pad_token) for row in tokens], IGNORED)
        summed = model.embed(self._tensor(text)) + model.embed(self._tensor(history))
        infer = model.embed(torch.full((len(rows), 1), config.infer_token, device=self._device))
        hidden = model(torch.cat([summed, infer, model.embed(self._tensor(inputs))], 1))[:, config.max_text_tokens :]
        logits = F.linear(hidden, model.lm_head.weight[: config.pad_token + 1])
        return _losses(logits, self._tensor(targets))

    def coarse(self, model: CausalGPT, rng: np.random.Generator) -> dict[str, Tensor]:
        """Semantic slice and coarse codes, as a window of the stage has them -> each next coarse code."""
        config, coarse = self._config, self._config.coarse
        slices, windows = [], []
        for _ in range(self._batch.num_rows):
            known, codes = self._window(*self._pick(rng), rng)
            slices.append(np.append(known, np.full(coarse.max_semantic_tokens - len(known), coarse.semantic_pad_token)))
            windows.append(codes)
        infer = np.full((len(slices), 1), coarse.infer_token)
        window, targets = _padded(windows, config.semantic.vocab_size), _padded(windows, IGNORED)
        ids = self._tensor(np.concatenate([np.stack(slices), infer, window[:, :-1]], 1))
        hidden = model(model.embed(ids))[:, coarse.max_semantic_tokens :]
        rows = config.semantic.vocab_size + coarse.num_codebooks * config.codec.codebook_size
        return _losses(F.linear(hidden, model.lm_head.weight[:rows]), self._tensor(targets))

    def fine(self, model: FineGPT, rng: np.random.Generator) -> dict[str, Tensor]:
        """The codebooks below, and the past of this one -> one codebook."""
        config = self._config
        codebook = int(rng.integers(config.coarse.num_codebooks, config.fine.num_codebooks))
        width = min(self._batch.fine_frames, config.fine.window_frames)
        seen = np.full((self._batch.num_rows, width, config.fine.num_codebooks), config.codebook_pad)
        targets = np.full(seen.shape[:2], IGNORED)
        for i in range(self._batch.num_rows):
            _, codes = _joined(*self._pick(rng))
            first = int(rng.integers(0, max(1, codes.shape[1] - width)))
            part = codes[:, first : first + width].T
            num_known = 0 if rng.random() < self._batch.alone_share else int(rng.integers(0, len(part)))
            seen[i, : len(part), :codebook] = part[:, :codebook]
            seen[i, :num_known] = part[:num_known]
            targets[i, num_known : len(part)] = part[num_known:, codebook]
        logits = model(codebook, self._tensor(seen), num_codes=config.codec.codebook_size)
        return _losses(logits, self._tensor(targets))

    def _window(self, before: Heard | None, row: Heard, rng: np.random.Generator) -> tuple[Ints, Ints]:
        """Semantic tokens [S] and flattened codes [L] of a window that the stage may be asked for in this sentence."""
        config, coarse = self._config, self._config.coarse
        semantic, codes = _joined(before, row)
        flat, sentence = flat_codes(codes[: coarse.num_codebooks], config), row.codes.shape[1] * coarse.num_codebooks
        past, spoken = len(semantic) - len(row.semantic), len(flat) - sentence
        seen, heard = history_spans(past, spoken, config)
        num_made = coarse.sliding_window_len * int(rng.integers(0, max(1, sentence // coarse.sliding_window_len)))
        first_semantic, first_coarse = window_start(
            seen.stop - seen.start, heard.stop - heard.start, num_made, coarse.max_history_tokens, config
        )
        longest = coarse.max_history_tokens + coarse.sliding_window_len
        return (
            semantic[seen.start + first_semantic :][: coarse.max_semantic_tokens],
            flat[heard.start + first_coarse :][:longest],
        )

    def _pick(self, rng: np.random.Generator) -> tuple[Heard | None, Heard]:
        """A recording, and mostly another one before it."""
        row = self._heard[int(rng.integers(len(self._heard)))]
        if rng.random() < self._batch.alone_share:
            return None, row
        return self._heard[int(rng.integers(len(self._heard)))], row

    def _tensor(self, values: Ints) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self._device)


def _joined(before: Heard | None, row: Heard) -> tuple[Ints, Ints]:
    if before is None:
        return row.semantic, row.codes
    return np.append(before.semantic, row.semantic), np.append(before.codes, row.codes, axis=1)


def _padded(rows: list[Ints], value: int) -> Ints:
    longest = max(len(row) for row in rows)
    return np.stack([np.append(row, np.full(longest - len(row), value)) for row in rows]).astype(np.int64)


def _losses(logits: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """[B, T, V], [B, T] -> cross-entropy, and the share of targets that are the most likely."""
    loss = F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), ignore_index=IGNORED)
    with torch.no_grad():
        right = (logits.argmax(-1) == targets)[targets != IGNORED].float().mean()
    return {"loss": loss, "right": right}
