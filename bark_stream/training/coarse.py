"""Training of the coarse stage: semantic tokens -> two codebooks, in Bark's windows.

In Bark's window [semantic slice][infer][coarse tokens] both parts begin at the same moment, so where to look is
a fixed function of position. `init_coarse` writes that into the weights: positions hold true time, and the
heads of the first layer look at the semantic tokens around the time of the code to come. Without it the model
learns to babble long before it listens. Knows no text.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from bark_stream.coarse_window import flat_codes
from bark_stream.config import ModelConfig
from bark_stream.training.codec import sum_of_vectors
from bark_stream.training.gpt import forward_at, init_gpt
from bark_stream.training.semantic_tokens import SemanticVocabulary
from bark_stream.training.streams import Stream, shares
from bark_stream.transformer import CausalGPT

NUM_FREQUENCIES = 31
SHORTEST_WAVE_S, LONGEST_WAVE_S = 0.05, 8.0
POSITION_SIZE = 0.1
"""Amplitude of the sinusoids in the position table."""
HEAD_OFFSETS_TOKENS = (0.0, -1.5, 1.5, 3.5, 7.0)
"""Which semantic token each head of the first layer looks at, from the time of the next code."""
PEAK_SCORE = 30.0
"""Attention score at exactly the right token."""
SECTION_SCORE = 6.0
"""Score lost by a coarse token, which those heads should leave alone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CoarseTrainingConfig:
    """What a step of coarse training sees."""

    batch_size: int = 8
    min_frames: int = 90
    max_frames: int = 220
    """Frames of a window, history included; every one is a target."""
    fresh_share: float = 0.15
    """Windows that begin with a sentence, without history."""
    max_corrupted: float = 0.3
    """Largest share of input frames replaced by random codes."""
    own_share: float = 0.5
    """Batches in which some input frames hold what the model itself would have drawn."""
    max_own: float = 0.6
    """Largest share of such frames in a batch."""
    min_lookahead_tokens: int = 8
    """Fewest semantic tokens visible beyond the window's end."""
    whole_padding_share: float = 0.2
    """Batches with all padding of the semantic slice, as at inference."""
    label_smoothing: float = 0.0
    is_unconditional: bool = False
    """Without any semantic tokens: what goes on from the codes alone (see `guidance`)."""


class CoarseBatch(NamedTuple):
    """Windows side by side."""

    semantic: Tensor
    """[B, S] int64."""
    slots: Tensor
    """[N] those of the S slots that are laid."""
    inputs: Tensor
    """[B, T * 2] int64, flattened, codebook offsets added."""
    targets: Tensor
    """[B, T * 2] int64, likewise; below 0 where there is nothing to learn."""


class CoarseTraining:
    """Losses of coarse training, step by step."""

    def __init__(
        self,
        model: CausalGPT,
        streams: list[Stream],
        config: ModelConfig,
        training: CoarseTrainingConfig,
        codebooks: Tensor,
    ) -> None:
        """`codebooks`: [K, 1024, D] the codec's code vectors."""
        self._model = model
        self._config = config
        self._codebooks = codebooks
        self._training = training
        self._streams = streams
        self._weights = shares(streams, np.array([len(s.semantic) for s in streams], np.float64))

    def __call__(self, step: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """Losses of one step: loss, and cross-entropy of each codebook."""
        batch = self.batch(rng)
        hidden = coarse_hidden(self._model, self._config, batch.semantic, batch.slots, batch.inputs)
        entropies = []
        for codebook in range(self._config.coarse.num_codebooks):
            rows = codebook_rows(self._config, codebook)
            logits = self._model.logits(hidden[:, codebook :: self._config.coarse.num_codebooks], rows)
            wanted = batch.targets[:, codebook :: self._config.coarse.num_codebooks] - rows.start
            entropies.append(
                F.cross_entropy(
                    logits.flatten(0, 1),
                    wanted.flatten(),
                    ignore_index=-1 - rows.start,
                    label_smoothing=self._training.label_smoothing,
                )
            )
        loss = torch.stack(entropies).mean()
        return {"loss": loss} | {f"codebook_{i}": e for i, e in enumerate(entropies)}

    def batch(self, rng: np.random.Generator) -> CoarseBatch:
        """Windows of one length, in some of which the model itself drew codes."""
        training, config = self._training, self._config
        num_frames = int(rng.integers(training.min_frames, training.max_frames + 1))
        longest = config.coarse.max_semantic_tokens
        lookahead = int(np.exp(rng.uniform(np.log(training.min_lookahead_tokens), np.log(longest))))
        rows = [self._window(num_frames, lookahead, rng) for _ in range(training.batch_size)]
        semantic = torch.from_numpy(np.stack([r[0] for r in rows]))
        if training.is_unconditional:
            semantic = torch.full_like(semantic, config.coarse.semantic_pad_token)
        inputs = torch.from_numpy(np.stack([r[1] for r in rows]))
        targets = torch.from_numpy(np.stack([r[2] for r in rows]))
        slots = self._slots(semantic, rng)
        if rng.random() < training.own_share:
            codes = torch.from_numpy(np.stack([r[3] for r in rows]))
            where = torch.from_numpy(rng.random(codes[:, 0].shape) < rng.random() * training.max_own)
            inputs, targets = self.mix_own(semantic, slots, inputs, targets, codes, where)
        return CoarseBatch(semantic, slots, inputs, targets)

    @torch.no_grad()
    def mix_own(
        self, semantic: Tensor, slots: Tensor, inputs: Tensor, targets: Tensor, codes: Tensor, where: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Inputs and targets in which some frames begin with what the model itself would draw.

        What follows in such a frame, as input and as target, is then what comes nearest to the true sound: a mistake
        is mended as far as it can be. Scheduled sampling with all draws at once (Duckworth et al., 2019), but with
        targets that know of the draw.

        Args:
            semantic: [B, S] int64.
            slots: [N] those of the S slots that are laid.
            inputs, targets: [B, T * 2] int64, flattened, codebook offsets added; targets below 0 are none.
            codes: [B, K, T] int64 all true codes.
            where: [B, T] bool.
        """
        config, num_codebooks = self._config, self._config.coarse.num_codebooks
        hidden = coarse_hidden(self._model, config, semantic, slots, inputs)
        where = where & (targets[:, ::num_codebooks] >= 0)
        own = _draw(self._model, config, hidden[:, ::num_codebooks], 0)[where]
        left = sum_of_vectors(self._codebooks, codes.transpose(0, 1)[:, where])
        inputs, targets = inputs.clone(), targets.clone()
        for codebook, vectors in enumerate(self._codebooks[:num_codebooks]):
            start = codebook_rows(config, codebook).start
            if codebook:
                own = torch.cdist(left, vectors).argmin(1)
                targets[:, codebook::num_codebooks][where] = start + own
            inputs[:, codebook::num_codebooks][where] = start + own
            left = left - vectors[own]
        return inputs, targets

    def _slots(self, semantic: Tensor, rng: np.random.Generator) -> Tensor:
        """Semantic slots of a batch: mostly those in use and a few pads, now and then all."""
        num_slots = semantic.shape[1]
        used = int((semantic != self._config.coarse.semantic_pad_token).any(0).sum())
        if rng.random() < self._training.whole_padding_share or used == num_slots:
            return torch.arange(num_slots)
        pads = rng.choice(np.arange(used, num_slots), min(num_slots - used, int(rng.integers(1, 9))), replace=False)
        return torch.cat([torch.arange(used), torch.from_numpy(np.sort(pads))])

    def _window(self, num_frames: int, lookahead: int, rng: np.random.Generator) -> tuple[npt.NDArray[np.int64], ...]:
        """One row: semantic slice [S], coarse inputs [L], coarse targets [L] (-1 where there is nothing to learn), and
        all true codes [K, T]."""
        config, training = self._config, self._training
        stream = self._streams[int(rng.choice(len(self._streams), p=self._weights))]
        if rng.random() < training.fresh_share:
            first = int(rng.choice(stream.starts))
            jitter = 0
        else:
            first = int(rng.integers(0, max(1, len(stream.semantic) - 60)))
            jitter = int(rng.integers(-1, 2))
        first_frame = max(0, round(first * config.frames_per_semantic) + jitter)
        true = stream.codes[:, first_frame : first_frame + num_frames].astype(np.int64)
        codes = true[: config.coarse.num_codebooks]
        visible = math.ceil(num_frames / config.frames_per_semantic) + lookahead
        semantic = semantic_slice(stream, first, config, visible)
        corrupted = codes.copy()
        rate = rng.random() * training.max_corrupted
        hit: npt.NDArray[np.bool_] = np.asarray(rng.random(codes.shape[1]) < rate)
        corrupted[:, hit] = rng.integers(0, config.codec.codebook_size, (len(codes), int(hit.sum())))
        missing = num_frames - codes.shape[1]
        inputs = flat_codes(np.pad(corrupted, ((0, 0), (0, missing))), config)
        targets = flat_codes(codes, config)
        # What follows a random code of the same frame has no right answer.
        targets.reshape(-1, len(codes))[hit, 1:] = -1
        targets = np.pad(targets, (0, missing * len(codes)), constant_values=-1)
        return semantic, inputs, targets, np.pad(true, ((0, 0), (0, missing)))


def semantic_slice(
    stream: Stream, first: int, config: ModelConfig, num_visible: int | None = None
) -> npt.NDArray[np.int64]:
    """[S] the semantic slots of a window that begins at a token: those after it, or the first so many, then pads."""
    slots = config.coarse.max_semantic_tokens
    known = stream.semantic[first:][:num_visible][:slots].astype(np.int64)
    return np.pad(known, (0, slots - len(known)), constant_values=config.coarse.semantic_pad_token)


class CoarseRemake:
    """Codes as the coarse stage makes them from semantic tokens, each frame's drawn after the true frames before it.

    So they stay in step with the true sound, and whoever learns from them learns which mistakes the stage makes.
    """

    def __init__(self, model: CausalGPT, config: ModelConfig) -> None:
        self._model = model.eval()
        self._config = config

    @torch.inference_mode()
    def __call__(self, semantic: Tensor, codes: Tensor, first_frame: int) -> Tensor:
        """Draw the coarse codebooks anew.

        Args:
            semantic: [B, S] int64 tokens from the moment at which the codes begin, padded with the pad token.
            codes: [B, K, T] int64 true codes.
            first_frame: of those to be drawn.
        Returns: [B, K, T] int64, a copy; codebooks of the fine stage as they were.
        """
        config = self._config
        num_rows, _, num_frames = codes.shape
        num_codebooks = config.coarse.num_codebooks
        offsets = torch.tensor([codebook_rows(config, codebook).start for codebook in range(num_codebooks)])
        flat = (codes[:, :num_codebooks].transpose(1, 2) + offsets).flatten(1)
        where = (torch.arange(num_frames) >= first_frame).expand(num_rows, num_frames)
        flat = redrawn(self._model, config, semantic, torch.arange(semantic.shape[1]), flat, where)
        made = codes.clone()
        made[:, :num_codebooks] = (flat.view(num_rows, num_frames, num_codebooks) - offsets).transpose(1, 2)
        return made


@torch.no_grad()
def redrawn(
    model: CausalGPT, config: ModelConfig, semantic: Tensor, slots: Tensor, codes: Tensor, where: Tensor
) -> Tensor:
    """Some frames of windows as the stage would draw them after the codes given, all at once.

    Args:
        semantic: [B, S] int64.
        slots: [N] those of the S slots that are laid.
        codes: [B, T * 2] int64, flattened, codebook offsets added.
        where: [B, T] bool, the frames to be drawn.
    Returns: a copy of the codes, those frames drawn.
    """
    made, num_codebooks = codes.clone(), config.coarse.num_codebooks
    if not where.any():
        return made
    for codebook in range(num_codebooks):
        # A codebook goes on from what was drawn before it in the same frame.
        hidden = coarse_hidden(model, config, semantic, slots, made)[:, codebook::num_codebooks]
        drawn = _draw(model, config, hidden[where], codebook)
        made[:, codebook::num_codebooks][where] = drawn + codebook_rows(config, codebook).start
    return made


def _draw(model: CausalGPT, config: ModelConfig, hidden: Tensor, codebook: int) -> Tensor:
    """[..., C] states -> [...] codes of one codebook, as warm as the stage draws them."""
    logits = model.logits(hidden, codebook_rows(config, codebook)) / config.sampling.waveform_temperature
    drawn: Tensor = torch.distributions.Categorical(logits=logits).sample()  # type: ignore[no-untyped-call]
    return drawn


def codebook_rows(config: ModelConfig, codebook: int) -> slice:
    """Rows of the tables and of the head that are a codebook's."""
    start = config.semantic.vocab_size + codebook * config.codec.codebook_size
    return slice(start, start + config.codec.codebook_size)


def coarse_hidden(model: CausalGPT, config: ModelConfig, semantic: Tensor, slots: Tensor, codes: Tensor) -> Tensor:
    """Whole windows at once, each code from those before it.

    Args:
        semantic: [B, S] int64.
        slots: [N] those of the S slots that are laid.
        codes: [B, L] int64, flattened, codebook offsets added; the last is not looked at.
    Returns: [B, L, C] the states that the codes are drawn from.
    """
    infer = torch.full((len(codes), 1), config.coarse.infer_token)
    after = config.coarse.max_semantic_tokens + torch.arange(codes.shape[1])
    ids = torch.cat([semantic[:, slots], infer, codes[:, :-1]], 1)
    return forward_at(model, model.embed(ids), torch.cat([slots, after])[None])[:, len(slots) :]


def init_coarse(model: CausalGPT, config: ModelConfig, codebooks: Tensor | None, seed: int) -> None:
    """Initial weights with time in the positions and the first layer's heads on the right semantic tokens.

    Args:
        codebooks: [K, 1024, D] the codec's code vectors, so that like codes start alike; or None.
    """
    generator = torch.Generator().manual_seed(seed)
    init_gpt(model, generator)
    coarse = config.coarse
    size, slots = model.config.hidden_size, coarse.max_semantic_tokens
    num_wave = 2 * NUM_FREQUENCIES
    section = num_wave
    positions = torch.arange(model.config.block_size)
    semantic_s = (positions[:slots] + 0.5) / config.semantic.rate_hz
    # Position slots + j holds the query for coarse token j.
    coarse_s = ((positions[slots:] - slots) // coarse.num_codebooks + 0.5) / coarse.rate_hz
    time_s = torch.cat([semantic_s, coarse_s])
    waves = torch.logspace(math.log10(SHORTEST_WAVE_S), math.log10(LONGEST_WAVE_S), NUM_FREQUENCIES)
    speeds = 2 * math.pi / waves
    with torch.no_grad():
        table = model.get_parameter("transformer.wpe.weight")
        table[:, :num_wave:2] = POSITION_SIZE * torch.cos(time_s[:, None] * speeds)
        table[:, 1:num_wave:2] = POSITION_SIZE * torch.sin(time_s[:, None] * speeds)
        table[:slots, section] = POSITION_SIZE
        table[slots:, section] = -POSITION_SIZE
        _init_embeddings(model, config, codebooks, section + 1, generator)
        _init_heads(model, speeds, section, 1.0 / config.semantic.rate_hz, size, generator)


def _init_heads(
    model: CausalGPT, speeds: Tensor, section: int, token_s: float, size: int, generator: torch.Generator
) -> None:
    """First layer: score = peak * mean cos(speed * (time of the next code + offset - time of the key)) + section."""
    c_attn = model.get_parameter("transformer.h.0.attn.c_attn.weight")
    c_proj = model.get_parameter("transformer.h.0.attn.c_proj.weight")
    head_size = size // model.config.num_heads
    # After the layer norm the position waves have about this amplitude.
    with torch.no_grad():
        rows = model.get_parameter("transformer.wte.weight")[:, section + 1 :]
        content = float((rows**2).sum(1).mean())
    position = POSITION_SIZE**2 * (NUM_FREQUENCIES + 1)
    amplitude = POSITION_SIZE / math.sqrt((content + position) / size)
    gain = math.sqrt(PEAK_SCORE * math.sqrt(head_size) / NUM_FREQUENCIES) / amplitude
    section_gain = math.sqrt(SECTION_SCORE * math.sqrt(head_size)) / amplitude
    weight = c_attn  # [3 * H * D, C]
    num_wave = 2 * len(speeds)
    for head in range(model.config.num_heads):
        offset_s = HEAD_OFFSETS_TOKENS[head % len(HEAD_OFFSETS_TOKENS)] * token_s
        query = weight[head * head_size : (head + 1) * head_size]
        key = weight[size + head * head_size : size + (head + 1) * head_size]
        query.zero_()
        key.zero_()
        for i, speed in enumerate(speeds.tolist()):
            cosine, sine = math.cos(speed * offset_s), math.sin(speed * offset_s)
            query[2 * i, 2 * i], query[2 * i, 2 * i + 1] = gain * cosine, -gain * sine
            query[2 * i + 1, 2 * i], query[2 * i + 1, 2 * i + 1] = gain * sine, gain * cosine
            key[2 * i, 2 * i] = key[2 * i + 1, 2 * i + 1] = gain
        query[num_wave, section] = -section_gain
        key[num_wave, section] = section_gain
    weight[2 * size :, section + 1 :].normal_(0.0, 1.0 / math.sqrt(size), generator=generator)
    weight[2 * size :, : section + 1] = 0.0
    c_proj.normal_(0.0, 0.5 * math.sqrt(content / size) / math.sqrt(head_size), generator=generator)


def _init_embeddings(
    model: CausalGPT, config: ModelConfig, codebooks: Tensor | None, first: int, generator: torch.Generator
) -> None:
    """Like tokens start alike: a semantic token is its phone, third and band; a code is its vector in the codec."""
    wte, head = model.get_parameter("transformer.wte.weight"), model.lm_head.weight
    size = wte.shape[1] - first
    wte[:, :first] = 0.0

    def draw(count: int) -> Tensor:
        return torch.empty(count, size).normal_(0.0, 0.04, generator=generator)

    meanings = SemanticVocabulary().meanings
    phones = {phone: i for i, phone in enumerate(sorted({m.phone.removeprefix("ˈ") for m in meanings}))}
    by_phone, by_part, by_stress = draw(len(phones)), draw(64), draw(2)
    by_band = draw(2)[0] * torch.linspace(-1.5, 1.5, 7)[:, None]
    for token, meaning in enumerate(meanings):
        phone = phones[meaning.phone.removeprefix("ˈ")]
        stressed = int(meaning.phone.startswith("ˈ"))
        wte[token, first:] = by_phone[phone] + 0.5 * (
            by_part[meaning.third] + by_band[meaning.band] + by_stress[stressed]
        )
    if codebooks is None:
        return
    num_codes = codebooks.shape[1]
    for index in range(config.coarse.num_codebooks):
        start = config.semantic.vocab_size + index * num_codes
        vectors = codebooks[index] - codebooks[index].mean(0)
        vectors = vectors / vectors.std().clamp(min=1e-6)
        mixing = torch.empty(vectors.shape[1], size).normal_(0.0, 1 / math.sqrt(vectors.shape[1]), generator=generator)
        wte[start : start + num_codes, first:] = 0.05 * vectors @ mixing + 0.02 * draw(num_codes) / 0.04
        head[start : start + num_codes, first:] = 0.02 * vectors @ mixing
