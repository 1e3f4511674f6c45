"""Training of the semantic stage: text -> semantic tokens, from alignments alone.

One head is told where to look: at the character that is being spoken. Alignment comes early that way, and later
gives the times of words. Knows no sound.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from bark_stream.config import SemanticConfig
from bark_stream.training.gpt import causal, forward_at, init_gpt
from bark_stream.training.shards import Clip
from bark_stream.training.text_tokens import build_tokenizer
from bark_stream.transformer import CausalGPT

IGNORED = -100


@dataclass(frozen=True, kw_only=True, slots=True)
class SemanticTrainingConfig:
    """What a step of semantic training sees."""

    positions_per_step: int = 2560
    """Positions of a batch, padding included."""
    history_share: float = 0.35
    """Sentences that follow another."""
    whole_padding_share: float = 0.2
    """Batches with all padding of the text, as at inference; the others keep a few pads and cost half."""
    guide_weight: float = 0.5
    """Weight of the guided attention loss."""
    guide_width_chars: float = 1.2
    """Standard deviation of where the guided head may look."""
    label_smoothing: float = 0.02


@dataclass(frozen=True, kw_only=True, slots=True)
class _Example:
    text: npt.NDArray[np.int64]
    """[C] text tokens with offset."""
    tokens: npt.NDArray[np.int64]
    """[N] semantic tokens."""
    at: npt.NDArray[np.float32]
    """[N] which text token is being spoken."""


class SemanticTraining:
    """Losses of semantic training, step by step."""

    def __init__(
        self, model: CausalGPT, clips: list[Clip], config: SemanticConfig, training: SemanticTrainingConfig
    ) -> None:
        self._model = model
        self._config = config
        self._training = training
        self._examples = sorted(_examples(clips, config), key=lambda e: len(e.tokens) + len(e.text))

    def __call__(self, step: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """Losses of one step: loss, cross-entropy, guided attention; and the share of tokens that are right."""
        batch = self._draw(rng)
        whole = bool(rng.random() < self._training.whole_padding_share)
        ids, positions, targets, centres, num_prefix = self._lay(batch, whole, rng)
        hidden, guided = self._forward(ids, positions, num_prefix)
        logits = self._model.logits(hidden[:, num_prefix - 1 :], slice(0, self._config.pad_token + 1))
        flat = logits.flatten(0, 1)
        wanted = targets.flatten()
        entropy = F.cross_entropy(flat, wanted, ignore_index=IGNORED, label_smoothing=self._training.label_smoothing)
        guide = self._guide_loss(guided, positions[:, : num_prefix - 1], centres)
        with torch.no_grad():
            right = (flat.argmax(-1) == wanted)[wanted != IGNORED].float().mean()
        return {
            "loss": entropy + self._training.guide_weight * guide,
            "entropy": entropy,
            "guide": guide,
            "right": right,
        }

    def _draw(self, rng: np.random.Generator) -> list[_Example]:
        """Neighbours in length, as many as fit."""
        examples = self._examples
        middle = int(rng.integers(len(examples)))
        reach = max(64, len(examples) // 50)
        lowest = max(0, middle - reach)
        pool = examples[lowest : middle + 1]
        length = len(examples[middle].tokens) + len(examples[middle].text) + 8
        count = max(1, self._training.positions_per_step // length)
        return [pool[i] for i in rng.integers(0, len(pool), count)]

    def _lay(
        self, batch: list[_Example], whole: bool, rng: np.random.Generator
    ) -> tuple[tuple[Tensor, Tensor], Tensor, Tensor, Tensor, int]:
        """Inputs of a batch.

        Returns: ids of text and history [B, P] and tokens [B, N]; positions [B, T]; targets [B, N + 1]; the text
        position being spoken [B, N + 1], below 0 where there is none; prefix length with the infer token.
        """
        config = self._config
        histories = [
            self._history(rng) if rng.random() < self._training.history_share else np.zeros(0, np.int64) for _ in batch
        ]
        width = config.max_text_tokens
        if not whole:
            # A few pads stay, and the positions of all that stays are true ones.
            longest = max(max(len(e.text), len(h)) for e, h in zip(batch, histories, strict=True))
            width = min(width, longest + int(rng.integers(1, 9)))
        count = max(len(e.tokens) for e in batch)
        text = np.full((len(batch), width), config.text_pad_token, np.int64)
        history = np.full((len(batch), width), config.pad_token, np.int64)
        tokens = np.full((len(batch), count), config.pad_token, np.int64)
        targets = np.full((len(batch), count + 1), IGNORED, np.int64)
        centres = np.full((len(batch), count + 1), -1.0, np.float32)
        for row, (example, before) in enumerate(zip(batch, histories, strict=True)):
            n = len(example.tokens)
            text[row, : len(example.text)] = example.text
            history[row, : len(before)] = before
            tokens[row, :n] = example.tokens
            targets[row, :n] = example.tokens
            targets[row, n] = config.pad_token
            centres[row, :n] = example.at
        prefix = np.arange(width)
        if not whole and width < config.max_text_tokens:
            num_pads = width - longest
            prefix[longest:] = np.sort(rng.choice(np.arange(longest, config.max_text_tokens), num_pads, replace=False))
        after = config.max_text_tokens + np.arange(count + 1)
        positions = np.broadcast_to(np.concatenate([prefix, after]), (len(batch), width + count + 1))
        summed = (torch.from_numpy(text), torch.from_numpy(history))
        ids = (torch.stack(summed), torch.from_numpy(tokens))
        return ids, torch.from_numpy(positions.copy()), torch.from_numpy(targets), torch.from_numpy(centres), width + 1

    def _history(self, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        example = self._examples[int(rng.integers(len(self._examples)))]
        return example.tokens[-int(rng.integers(1, self._config.max_history_tokens + 1)) :]

    def _forward(self, ids: tuple[Tensor, Tensor], positions: Tensor, num_prefix: int) -> tuple[Tensor, Tensor]:
        """Hidden states [B, T, C], and the guided head's log attention [B, N + 1, P] of the last N + 1 positions."""
        model = self._model
        summed = model.embed(ids[0][0]) + model.embed(ids[0][1])
        infer = model.embed(torch.full((len(summed), 1), self._config.infer_token))
        embeddings = torch.cat([summed, infer, model.embed(ids[1])], 1)
        layer_of_head, head = self._config.alignment_heads[0]
        kept: list[Tensor] = []

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            if layer == layer_of_head:
                query, keys = q[:, num_prefix - 1 :, head], k[:, :, head]
                scores = query @ keys.transpose(1, 2) / query.shape[-1] ** 0.5
                rows = torch.arange(num_prefix - 1, q.shape[1])
                hidden = torch.arange(q.shape[1])[None] > rows[:, None]
                log_weights = scores.masked_fill(hidden, -torch.inf).log_softmax(-1)
                kept.append(log_weights[..., : num_prefix - 1])
            return causal(layer, q, k, v)

        return forward_at(model, embeddings, positions, attend), kept[0]

    def _guide_loss(self, log_weights: Tensor, columns: Tensor, centres: Tensor) -> Tensor:
        """-log of the attention that falls near the character being spoken."""
        away = (columns[:, None, :].float() - centres[:, :, None]) / self._training.guide_width_chars
        near = torch.logsumexp(log_weights - 0.5 * away**2, -1)
        spoken = centres >= 0
        return -(near * spoken).sum() / spoken.sum().clamp(min=1)


def init_semantic(model: CausalGPT, config: SemanticConfig, seed: int) -> None:
    """Suno's initialisation, and positions that know how far along a usual reader is."""
    generator = torch.Generator().manual_seed(seed)
    init_gpt(model, generator)
    width = model.config.hidden_size
    chars = torch.arange(config.max_text_tokens, dtype=torch.float32)
    usual_chars_per_token = 0.29
    tokens = torch.arange(model.config.block_size - config.max_text_tokens, dtype=torch.float32)
    along = torch.cat([chars, tokens * usual_chars_per_token])
    half = width // 4
    wave = along[:, None] / (2.0 ** torch.linspace(0, 8, half // 2))[None]
    with torch.no_grad():
        table = model.get_parameter("transformer.wpe.weight")
        table[:, :half] = 0.1 * torch.cat([wave.sin(), wave.cos()], 1)
        table[config.max_text_tokens :, half] = 0.2


def _examples(clips: list[Clip], config: SemanticConfig) -> list[_Example]:
    tokenizer = build_tokenizer()
    out = []
    for clip in clips:
        encoding = tokenizer.encode(clip.text, add_special_tokens=False)
        if len(encoding.ids) > config.max_text_tokens or len(clip.tokens) > config.max_new_tokens:
            continue
        token_of_char = _token_of_char(encoding.offsets, len(clip.text))
        chars = clip.chars.astype(np.float32)
        whole = np.clip(chars.astype(np.int64), 0, len(clip.text) - 1)
        out.append(
            _Example(
                text=np.array(encoding.ids, np.int64) + config.text_offset,
                tokens=clip.tokens.astype(np.int64),
                at=np.where(chars < 0, -1.0, token_of_char[whole] + (chars - whole).clip(0, 1)).astype(np.float32),
            )
        )
    return out


def _token_of_char(offsets: list[tuple[int, int]], num_chars: int) -> npt.NDArray[np.float32]:
    """[num_chars] index of the text token that holds each character."""
    index = np.zeros(num_chars, np.float32)
    for token, (start, end) in enumerate(offsets):
        index[start:end] = token
    return index
