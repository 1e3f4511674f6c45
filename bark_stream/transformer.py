"""The GPT of Bark's three stages: a causal one (semantic, coarse) and one that looks both ways (fine).

Pre-norm GPT-2 with exact GELU and learned positions (Suno's model.py and model_fine.py); parameter names are Suno's, so
that a checkpoint loads as it is. Knows no tokens, no sampling: embeddings go in, logits come out. State is passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, TypeAlias, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from bark_stream.config import TransformerConfig
from bark_stream.errors import EngineError
from bark_stream.kv_cache import KVCache

Floats: TypeAlias = NDArray[np.float32]

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""(layer, q, k, v) -> mixed values; all [..., T, H, D]."""


MAX_SPAN_POSITIONS = 64
"""A longer prefix is laid in pieces, one a step, so that neither a cancel nor another stream waits for all of it."""


class Span(NamedTuple):
    """Positions of one slot inside a packed step."""

    slot: int
    num_positions: int
    start: int | None = None
    """Where they are laid over what the slot holds; None: after it."""


@dataclass(slots=True)
class Gaze:
    """Where chosen heads look from each span's last position: collected while a step computes them."""

    heads: tuple[tuple[int, int], ...]
    """(layer, head)."""
    num_positions: Mapping[int, int]
    """By slot: only the first so many positions count; slots that are not named are not watched."""
    weights: dict[int, Tensor] = field(default_factory=dict)
    """By slot: [num_positions] float32, the sum over the heads, each of which adds up to 1."""

    def look(self, layer: int, slot: int, query: Tensor, keys: Tensor) -> None:
        """Args: query: [H, D] of the last position; keys: [H, T, D] of the slot."""
        if slot not in self.num_positions:
            return
        for head in (head for of_layer, head in self.heads if of_layer == layer):
            scores = keys[head, : self.num_positions[slot]] @ query[head] / query.shape[-1] ** 0.5
            weights = scores.float().softmax(0)
            self.weights[slot] = self.weights[slot] + weights if slot in self.weights else weights


class DecodeGraph(Protocol):
    """Another way to make a decode step of a causal model, from its tables to its head."""

    def look_up(self, tokens: Sequence[int]) -> Floats:
        """Embeddings [N, C], without positions."""

    def decode(
        self,
        x: Floats,
        positions: Sequence[int],
        spans: Sequence[Span],
        starts: Sequence[int],
        cache: KVCache,
        gaze: Gaze | None,
    ) -> Floats:
        """x: [N, C] at these positions -> logits [len(spans), R]; the cache's lengths stay."""


class FineLayers(Protocol):
    """Another way to run the fine model's blocks."""

    def run(self, x: Floats) -> Floats:
        """All blocks and the last norm: [B, T, C] -> [B, T, C]."""


class Attention(nn.Module):
    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.head_size = config.head_size
        self.c_attn = nn.Linear(config.hidden_size, 3 * config.hidden_size, bias=config.bias)
        self.c_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=config.bias)

    def forward(self, x: Tensor, layer: int, attend: Attend) -> Tensor:
        q, k, v = self.c_attn(x).unflatten(-1, (3, self.num_heads, self.head_size)).unbind(-3)
        return cast(Tensor, self.c_proj(attend(layer, q, k, v).flatten(-2)))


class MLP(nn.Module):
    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.c_fc = nn.Linear(config.hidden_size, 4 * config.hidden_size, bias=config.bias)
        self.c_proj = nn.Linear(4 * config.hidden_size, config.hidden_size, bias=config.bias)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.c_proj(F.gelu(self.c_fc(x))))


class Block(nn.Module):
    def __init__(self, config: TransformerConfig, *, norm_bias: bool) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.hidden_size, bias=norm_bias)
        self.attn = Attention(config)
        self.ln_2 = nn.LayerNorm(config.hidden_size, bias=norm_bias)
        self.mlp = MLP(config)

    def forward(self, x: Tensor, layer: int, attend: Attend) -> Tensor:
        x = x + self.attn(self.ln_1(x), layer, attend)
        return cast(Tensor, x + self.mlp(self.ln_2(x)))


def _attend_whole(*, is_causal: bool) -> Attend:
    """Attention over whole sequences [B, T, H, D], without a cache."""

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (t.transpose(-2, -3) for t in (q, k, v))
        return F.scaled_dot_product_attention(q, k, v, is_causal=is_causal).transpose(-2, -3)

    return attend


def _attend_cached(cache: KVCache, spans: Sequence[Span], starts: Sequence[int], gaze: Gaze | None) -> Attend:
    """Attention of packed positions [N, H, D], each span over its own slot up to its own last position.

    Linear layers see all spans as one matrix; attention goes slot by slot, so that a stream's result does not depend
    on who else is in the step, and ragged lengths need no padding.
    """
    device = cache.keys.device
    masks = [_causal_mask(start, span.num_positions, device) for span, start in zip(spans, starts, strict=True)]

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        # 200 times a second for each layer: every view less counts.
        q, k, v = (t.transpose(0, 1)[None] for t in (q, k, v))  # [1, H, N, D]
        mixed = []
        first = 0
        for span, start, mask in zip(spans, starts, masks, strict=True):
            new_q, new_k, new_v = q, k, v
            if len(spans) > 1:
                new_q, new_k, new_v = (t.narrow(2, first, span.num_positions) for t in (q, k, v))
            keys, values = cache.write(layer, span.slot, start, new_k, new_v)
            if gaze is not None:
                gaze.look(layer, span.slot, new_q[0, :, -1], keys[0])
            mixed.append(F.scaled_dot_product_attention(new_q, keys, values, attn_mask=mask))
            first += span.num_positions
        whole = mixed[0] if len(mixed) == 1 else torch.cat(mixed, 2)
        return whole[0].transpose(0, 1)

    return attend


def _causal_mask(start: int, num_positions: int, device: torch.device) -> Tensor | None:
    """[num_positions, start + num_positions] bool: what each may look at; None for a single one, which sees all."""
    if num_positions == 1:
        return None
    return torch.ones(num_positions, start + num_positions, dtype=torch.bool, device=device).tril(start)


class CausalGPT(nn.Module):
    """Semantic and coarse stages."""

    graph: DecodeGraph | None = None
    """Makes the decode steps in place of this module's own parts, which it then need not have."""

    def __init__(self, config: TransformerConfig, rows: slice = slice(None)) -> None:
        """Args: rows: of the head that can be drawn."""
        super().__init__()
        self.config = config
        self.rows = rows
        self.transformer = nn.ModuleDict(
            {
                "wte": nn.Embedding(config.input_vocab_size, config.hidden_size),
                "wpe": nn.Embedding(config.block_size, config.hidden_size),
                "h": nn.ModuleList(Block(config, norm_bias=config.bias) for _ in range(config.num_layers)),
                "ln_f": nn.LayerNorm(config.hidden_size, bias=config.bias),
            }
        )
        self.lm_head = nn.Linear(config.hidden_size, config.output_vocab_size, bias=False)

    @property
    def dtype(self) -> torch.dtype:
        """Of what goes from layer to layer, and of keys and values."""
        return torch.float32 if self.graph is not None else self._wpe.dtype

    @property
    def device(self) -> torch.device:
        """Where keys and values must lie."""
        return torch.device("cpu") if self.graph is not None else self._wpe.device

    def embed(self, tokens: Tensor) -> Tensor:
        """tokens: [..., T] int64 below input_vocab_size. Returns [..., T, C] without positions."""
        return cast(Tensor, self.transformer["wte"](tokens))

    def forward(self, embeddings: Tensor) -> Tensor:
        """Whole sequences at once, as in training.

        Args: embeddings: [B, T, C], T at most block_size.
        Returns: hidden states [B, T, C] after the last norm.
        """
        positions = torch.arange(embeddings.shape[1], device=embeddings.device)
        return self._blocks(embeddings + self.transformer["wpe"](positions), _attend_whole(is_causal=True))

    def step(self, embeddings: Tensor, spans: Sequence[Span], cache: KVCache, gaze: Gaze | None = None) -> Tensor:
        """Positions of running streams, pieces of prefixes and decode steps alike, packed one after another.

        Args:
            embeddings: [N, C]; N is the sum of the spans' positions.
            spans: whose positions these are, in order.
            cache: updated in place.
            gaze: gets the weights of its heads.
        Returns: [len(spans), C] hidden state of each span's last position, after the last norm.
        Raises: EngineError if a slot would overflow, or a span starts beyond what its slot holds.
        """
        starts, positions, lasts = _lay(spans, cache)
        wpe = F.embedding(torch.tensor(positions, device=embeddings.device), self._wpe)
        hidden = self._blocks(embeddings + wpe, _attend_cached(cache, spans, starts, gaze), last_positions=lasts)
        _advance(spans, starts, cache)
        return hidden

    def decode(
        self,
        tokens: Sequence[int],
        spans: Sequence[Span],
        cache: KVCache,
        gaze: Gaze | None = None,
        *,
        summed: Sequence[tuple[int, int]] = (),
    ) -> Floats:
        """`step` and the head's drawable rows, for inference. Tokens go to a GPU and logits come back, once for all.

        Args:
            tokens: N of them, one for each of the spans' positions.
            summed: (index into `tokens`, another token): their embeddings are added.
        Returns: logits [len(spans), R] of each span's last position.
        """
        indices, others = [index for index, _ in summed], [token for _, token in summed]
        if self.graph is not None:
            x = self.graph.look_up(tokens)
            if summed:
                x[indices] += self.graph.look_up(others)
            starts, positions, _ = _lay(spans, cache)
            logits = self.graph.decode(x, positions, spans, starts, cache, gaze)
            _advance(spans, starts, cache)
            return logits
        with torch.inference_mode():
            embeddings = self.embed(torch.tensor(tokens, device=self.device))
            if summed:
                embeddings[indices] += self.embed(torch.tensor(others, device=self.device))
            return self.logits(self.step(embeddings, spans, cache, gaze), self.rows).cpu().numpy()

    def logits(self, hidden: Tensor, rows: slice) -> Tensor:
        """Only the rows of the head that can be drawn: hidden [B, C] -> [B, len(rows)] float32."""
        return F.linear(hidden, self.lm_head.weight[rows]).float()

    @property
    def _wpe(self) -> Tensor:
        return cast(Tensor, self.transformer["wpe"].weight)

    def _blocks(self, x: Tensor, attend: Attend, last_positions: list[int] | None = None) -> Tensor:
        for layer, block in enumerate(cast(nn.ModuleList, self.transformer["h"])):
            x = block(x, layer, attend)
        if last_positions is not None and len(last_positions) < x.shape[0]:
            x = x[last_positions]
        return cast(Tensor, self.transformer["ln_f"](x))


def _lay(spans: Sequence[Span], cache: KVCache) -> tuple[list[int], list[int], list[int]]:
    """Where each span starts in its slot, every position in its slot, and which of them are the spans' last.

    Raises: EngineError if a slot would overflow, or a span starts beyond what its slot holds.
    """
    starts = [cache.lengths[span.slot] if span.start is None else span.start for span in spans]
    positions: list[int] = []
    lasts: list[int] = []
    for span, start in zip(spans, starts, strict=True):
        if start > cache.lengths[span.slot]:
            raise EngineError(f"slot {span.slot} holds {cache.lengths[span.slot]} positions, none at {start}")
        if start + span.num_positions > cache.block_size:
            raise EngineError(f"slot {span.slot} is full: the context window has {cache.block_size} positions")
        positions.extend(range(start, start + span.num_positions))
        lasts.append(len(positions) - 1)
    return starts, positions, lasts


def _advance(spans: Sequence[Span], starts: Sequence[int], cache: KVCache) -> None:
    for span, start in zip(spans, starts, strict=True):
        cache.advance(span.slot, start + span.num_positions)


class FineGPT(nn.Module):
    """Fine stage: looks both ways, one embedding table per codebook, heads tied to the tables of the codebooks they
    predict."""

    layers: FineLayers | None = None
    """Runs the blocks in place of this module's own, which it then need not have."""

    def __init__(self, config: TransformerConfig, *, num_codebooks: int, num_codebooks_given: int) -> None:
        super().__init__()
        self.config = config
        self.num_codebooks_given = num_codebooks_given
        self.transformer = nn.ModuleDict(
            {
                "wtes": nn.ModuleList(
                    nn.Embedding(config.input_vocab_size, config.hidden_size) for _ in range(num_codebooks)
                ),
                "wpe": nn.Embedding(config.block_size, config.hidden_size),
                "h": nn.ModuleList(Block(config, norm_bias=True) for _ in range(config.num_layers)),
                "ln_f": nn.LayerNorm(config.hidden_size),
            }
        )
        self.lm_heads = nn.ModuleList(
            nn.Linear(config.hidden_size, config.output_vocab_size, bias=False)
            for _ in range(num_codebooks_given, num_codebooks)
        )
        wtes = cast(nn.ModuleList, self.transformer["wtes"])
        for index, head in enumerate(self.lm_heads):
            head.weight = wtes[index + 1].weight

    @property
    def device(self) -> torch.device:
        """Where codes must lie."""
        return cast(Tensor, self.transformer["wpe"].weight).device

    def forward(self, codebook: int, codes: Tensor, *, num_codes: int | None = None, first_frame: int = 0) -> Tensor:
        """Logits of one codebook from itself (so far) and those below it.

        Args:
            codebook: the one to predict, num_codebooks_given … num_codebooks-1.
            codes: [B, T, K] int64; the unknown ones hold the pad code.
            num_codes: rows of the head wanted; all without it.
            first_frame: of those whose logits are wanted.
        Returns: [B, T - first_frame, V] float32.
        """
        head = self.lm_heads[codebook - self.num_codebooks_given]
        hidden = self.hidden(codebook, codes, first_frame=first_frame)
        return F.linear(hidden, cast(Tensor, head.weight)[:num_codes]).float()

    def hidden(self, codebook: int, codes: Tensor, *, first_frame: int = 0) -> Tensor:
        """What the codebooks up to `codebook` say of each frame: [B, T, K] int64 -> [B, T - first_frame, C]."""
        wtes = cast(nn.ModuleList, self.transformer["wtes"])
        x = cast(Tensor, sum(wtes[k](codes[..., k]) for k in range(codebook + 1)))
        x = x + self.transformer["wpe"](torch.arange(codes.shape[1], device=codes.device))
        return self._blocks(x, _attend_whole(is_causal=False), first_frame)

    def _blocks(self, x: Tensor, attend: Attend, first_frame: int) -> Tensor:
        if self.layers is not None:
            return torch.from_numpy(self.layers.run(x.numpy()))[:, first_frame:]
        for layer, block in enumerate(cast(nn.ModuleList, self.transformer["h"])):
            x = block(x, layer, attend)
        return cast(Tensor, self.transformer["ln_f"](x[:, first_frame:]))
