"""Training of the semantic stage: text -> semantic tokens, from alignments alone.

Two helps make it learn in an hour what takes a day. Heads are told where to look: at the character that is
being spoken. And the first blocks learn to spell before and beside it, from texts that need no alignment: a probe
must read off every character, a few characters later, which phone begins there. Speaking then becomes copying.
Knows no sound.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bark_stream.config import SemanticConfig
from bark_stream.training.gpt import causal, first_blocks, forward_at, init_gpt
from bark_stream.training.semantic_tokens import SemanticVocabulary
from bark_stream.training.shards import Clip
from bark_stream.training.text_tokens import build_tokenizer
from bark_stream.transformer import CausalGPT

IGNORED = -100
NUM_SPELLING_BLOCKS = 2
"""The probe reads what so many blocks make of the text."""
DELAY_CHARS = 4
"""A letter's phone is asked for so many characters later, when what follows it has been seen."""
NEAR_TOKENS = 12
"""How far away the moment may lie that a wrong input token is of: about a word."""
GUIDED_DELAYED_HEAD = (2, 1)
"""(layer, head) told to look where the probe's answer about the spoken character is."""

_MEANINGS = SemanticVocabulary().meanings
_PHONES = {phone: i + 1 for i, phone in enumerate(sorted({m.phone for m in _MEANINGS}))}
_PHONE_OF_TOKEN = np.array([_PHONES[m.phone] for m in _MEANINGS])
SILENT = 0
NUM_PHONES = len(_PHONES) + 1


@dataclass(frozen=True, kw_only=True, slots=True)
class SemanticTrainingConfig:
    """What a step of semantic training sees."""

    positions_per_step: int = 2560
    """Positions of a batch, padding included."""
    spelling_steps: int = 300
    """Steps of spelling alone, first."""
    spelling_alone_positions: int = 5120
    """Positions of a batch in these steps."""
    spelling_positions: int = 2560
    """Positions of spelling beside each later step."""
    history_share: float = 0.55
    """Sentences that follow another."""
    whole_padding_share: float = 0.1
    """Batches with all padding of the text, as at inference; the others keep a few pads and cost half."""
    max_corrupted: float = 0.12
    """Largest share of a sentence's input tokens that are wrong, as drawn ones may be."""
    guide_weight: float = 0.5
    """Weight of the guided attention loss."""
    spelling_weight: float = 0.5
    """Weight of the probe's cross-entropy."""
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


@dataclass(frozen=True, kw_only=True, slots=True)
class _Spelling:
    text: npt.NDArray[np.int64]
    """[C] text tokens with offset."""
    phones: npt.NDArray[np.int64]
    """[C] the phone that begins at each, SILENT for none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Batch:
    text: Tensor
    """[B, P] text tokens and pads."""
    history: Tensor
    """[B, P] semantic tokens and pads, summed with the text."""
    tokens: Tensor
    """[B, N] inputs after the infer token."""
    positions: Tensor
    """[1, P + 1 + N] where all of these lie."""
    targets: Tensor
    """[B, N + 1] the tokens and their end."""
    centres: Tensor
    """[B, N + 1] the text position being spoken, below 0 where there is none."""

    @property
    def num_prefix(self) -> int:
        return self.text.shape[1] + 1


class SemanticTraining:
    """Losses of semantic training, step by step."""

    def __init__(
        self,
        model: CausalGPT,
        clips: list[Clip],
        config: SemanticConfig,
        training: SemanticTrainingConfig,
        spelled: list[Clip] | None = None,
    ) -> None:
        """`spelled`: texts whose tokens say which phone begins at each character; none for a model that can spell."""
        self._model = model
        if not hasattr(model, "probe"):
            model.add_module("probe", nn.Linear(model.config.hidden_size, NUM_PHONES))
        self._config = config
        self._training = training
        self._examples = sorted(_examples(clips, config), key=lambda e: len(e.tokens) + len(e.text))
        self._spelled = sorted(_spellings(spelled or [], config), key=lambda s: len(s.text))

    def __call__(self, step: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """Losses of one step: loss, spelling, entropy, guide; and the share of tokens that are right."""
        training = self._training
        if not self._spelled:
            return self._speaking(rng)
        if step < training.spelling_steps:
            spelling = self._spelling(training.spelling_alone_positions, rng)
            return {"loss": spelling, "spelling": spelling}
        losses = self._speaking(rng)
        spelling = self._spelling(training.spelling_positions, rng)
        return losses | {"loss": losses["loss"] + training.spelling_weight * spelling, "spelling": spelling}

    def _spelling(self, positions: int, rng: np.random.Generator) -> Tensor:
        """Cross-entropy of the probe over so many positions of text."""
        config, spelled = self._config, self._spelled
        middle = int(rng.integers(len(spelled)))
        width = min(config.max_text_tokens, len(spelled[middle].text) + DELAY_CHARS)
        pool = spelled[max(0, middle - len(spelled) // 20) : middle + 1]
        rows = [pool[i] for i in rng.integers(0, len(pool), max(1, positions // width))]
        text = np.full((len(rows), width), config.text_pad_token, np.int64)
        history = np.full((len(rows), width), config.pad_token, np.int64)
        phones = np.full((len(rows), width), IGNORED, np.int64)
        for row, spelling in enumerate(rows):
            count = len(spelling.text)
            text[row, :count] = spelling.text
            end = min(count + DELAY_CHARS, width)
            phones[row, DELAY_CHARS:end] = spelling.phones[: end - DELAY_CHARS]
            if rng.random() < self._training.history_share:
                before = self._history(rng)[:width]
                history[row, : len(before)] = before
        embeddings = self._model.embed(torch.from_numpy(text)) + self._model.embed(torch.from_numpy(history))
        states = first_blocks(self._model, embeddings, torch.arange(width)[None], NUM_SPELLING_BLOCKS)
        logits = self._model.get_submodule("probe")(states)
        return F.cross_entropy(logits.flatten(0, 1), torch.from_numpy(phones).flatten(), ignore_index=IGNORED)

    def _speaking(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """Losses of one batch of alignments."""
        training = self._training
        batch = self._lay(self._draw(rng), bool(rng.random() < training.whole_padding_share), rng)
        hidden, guided = self._forward(batch)
        logits = self._model.logits(hidden[:, batch.num_prefix - 1 :], slice(0, self._config.pad_token + 1)).flatten(
            0, 1
        )
        wanted = batch.targets.flatten()
        entropy = F.cross_entropy(logits, wanted, ignore_index=IGNORED, label_smoothing=training.label_smoothing)
        columns = batch.positions[:, : batch.num_prefix - 1]
        guide = self._guide_loss(guided[0], columns, batch.centres)
        guide = guide + self._guide_loss(guided[1], columns - DELAY_CHARS, batch.centres)
        with torch.no_grad():
            right = (logits.argmax(-1) == wanted)[wanted != IGNORED].float().mean()
        return {"loss": entropy + training.guide_weight * guide, "entropy": entropy, "guide": guide, "right": right}

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

    def _lay(self, examples: list[_Example], whole: bool, rng: np.random.Generator) -> _Batch:
        """Inputs and targets of a batch, with all of the text's padding or a few positions of it."""
        config = self._config
        no_history = np.zeros(0, np.int64)
        histories = [
            self._history(rng) if rng.random() < self._training.history_share else no_history for _ in examples
        ]
        longest = max(max(len(e.text), len(h)) for e, h in zip(examples, histories, strict=True))
        longest = min(config.max_text_tokens, longest + DELAY_CHARS)
        prefix = np.arange(config.max_text_tokens)
        if not whole:
            # A few pads stay, and the positions of all that stays are true ones.
            num_pads = min(config.max_text_tokens - longest, int(rng.integers(1, 9)))
            pads = rng.choice(prefix[longest:], num_pads, replace=False)
            prefix = np.concatenate([prefix[:longest], np.sort(pads)])
        width, count = len(prefix), max(len(e.tokens) for e in examples)
        text = np.full((len(examples), width), config.text_pad_token, np.int64)
        history = np.full((len(examples), width), config.pad_token, np.int64)
        tokens = np.full((len(examples), count), config.pad_token, np.int64)
        targets = np.full((len(examples), count + 1), IGNORED, np.int64)
        centres = np.full((len(examples), count + 1), -1.0, np.float32)
        for row, (example, before) in enumerate(zip(examples, histories, strict=True)):
            n, c = len(example.tokens), len(example.text)
            text[row, :c] = example.text
            history[row, : len(before)] = before
            tokens[row, :n] = self._corrupted(example.tokens, rng)
            targets[row, :n] = example.tokens
            targets[row, n] = config.pad_token
            centres[row, :n] = example.at
        positions = np.concatenate([prefix, config.max_text_tokens + np.arange(count + 1)])
        return _Batch(
            text=torch.from_numpy(text),
            history=torch.from_numpy(history),
            tokens=torch.from_numpy(tokens),
            positions=torch.from_numpy(positions)[None],
            targets=torch.from_numpy(targets),
            centres=torch.from_numpy(centres),
        )

    def _corrupted(self, tokens: npt.NDArray[np.int64], rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """[N] the tokens, some of them of another moment near by, some random: a model that has only seen true ones
        goes by the last token instead of the text, and says a word again or leaves one out after its first mistake."""
        hit = np.nonzero(rng.random(len(tokens)) < rng.random() * self._training.max_corrupted)[0]
        near = tokens[np.clip(hit + rng.integers(-NEAR_TOKENS, NEAR_TOKENS + 1, len(hit)), 0, len(tokens) - 1)]
        strange = rng.integers(0, self._config.vocab_size, len(hit))
        corrupted: npt.NDArray[np.int64] = tokens.copy()
        corrupted[hit] = np.where(rng.random(len(hit)) < 0.5, near, strange)
        return corrupted

    def _history(self, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        example = self._examples[int(rng.integers(len(self._examples)))]
        return example.tokens[-int(rng.integers(1, self._config.max_history_tokens + 1)) :]

    def _forward(self, batch: _Batch) -> tuple[Tensor, list[Tensor]]:
        """Hidden states [B, T, C]; the guided heads' log attention [B, N + 1, P] of the last N + 1 positions."""
        model, num_prefix = self._model, batch.num_prefix
        summed = model.embed(batch.text) + model.embed(batch.history)
        infer = model.embed(torch.full((len(summed), 1), self._config.infer_token))
        embeddings = torch.cat([summed, infer, model.embed(batch.tokens)], 1)
        guided: dict[tuple[int, int], Tensor] = {}
        heads = (self._config.alignment_heads[0], GUIDED_DELAYED_HEAD)

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            for head in (head for of_layer, head in heads if of_layer == layer):
                query, keys = q[:, num_prefix - 1 :, head], k[:, :, head]
                scores = query @ keys.transpose(1, 2) / query.shape[-1] ** 0.5
                rows = torch.arange(num_prefix - 1, q.shape[1])
                hidden = torch.arange(q.shape[1])[None] > rows[:, None]
                log_weights = scores.masked_fill(hidden, -torch.inf).log_softmax(-1)
                guided[layer, head] = log_weights[..., : num_prefix - 1]
            return causal(layer, q, k, v)

        hidden = forward_at(model, embeddings, batch.positions, attend)
        return hidden, [guided[head] for head in heads]

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
        tokens = clip.tokens.astype(np.int64)
        whole = np.clip(chars.astype(np.int64), 0, len(clip.text) - 1)
        out.append(
            _Example(
                text=np.array(encoding.ids, np.int64) + config.text_offset,
                tokens=tokens,
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


def _spellings(clips: list[Clip], config: SemanticConfig) -> list[_Spelling]:
    tokenizer = build_tokenizer()
    out = []
    for clip in clips:
        encoding = tokenizer.encode(clip.text, add_special_tokens=False)
        if not 0 < len(encoding.ids) <= config.max_text_tokens:
            continue
        phones = np.full(len(encoding.ids), SILENT, np.int64)
        token_of_char = _token_of_char(encoding.offsets, len(clip.text)).astype(np.int64)
        begins = clip.tokens >= 0
        phones[token_of_char[begins]] = _PHONE_OF_TOKEN[clip.tokens[begins].astype(np.int64)]
        out.append(_Spelling(text=np.array(encoding.ids, np.int64) + config.text_offset, phones=phones))
    return out
