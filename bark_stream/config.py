"""What a model is (`ModelConfig`, read from its folder) and how it is used (`SamplingConfig`, `ChunkPolicy`).

Frozen, keyword-only, checked once. Nothing here knows a number of a particular Bark: the numbers come with the
checkpoint.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal, get_args

from bark_stream.errors import ConfigError

Carry = Literal["voice", "last", "anchored"]
SamplingOrder = Literal["suno", "hugging_face"]


def require(condition: bool, field_name: str, problem: str) -> None:
    """Raises: ConfigError unless `condition` holds."""
    if not condition:
        raise ConfigError(field_name, problem)


@dataclass(frozen=True, kw_only=True, slots=True)
class TransformerConfig:
    """One GPT-2 style transformer: pre-norm, exact GELU, learned positions."""

    num_layers: int
    num_heads: int
    hidden_size: int
    block_size: int
    """Positions in the context window."""
    input_vocab_size: int
    output_vocab_size: int
    bias: bool = False
    """Bias in the linear layers and the causal layer norms."""

    def __post_init__(self) -> None:
        for name in (
            "num_layers",
            "num_heads",
            "hidden_size",
            "block_size",
            "input_vocab_size",
            "output_vocab_size",
        ):
            require(getattr(self, name) > 0, name, "must be positive")
        require(self.hidden_size % self.num_heads == 0, "hidden_size", "must be a multiple of num_heads")

    @property
    def head_size(self) -> int:
        return self.hidden_size // self.num_heads


@dataclass(frozen=True, kw_only=True, slots=True)
class SemanticConfig:
    """Text tokens -> semantic tokens."""

    transformer: TransformerConfig
    vocab_size: int
    """Semantic tokens that stand for sound, 0 … vocab_size-1."""
    pad_token: int
    """Fills a short history; as an output it ends the sentence."""
    infer_token: int
    text_pad_token: int
    text_offset: int
    """Added to the tokenizer's ids."""
    max_text_tokens: int
    max_history_tokens: int
    max_new_tokens: int
    rate_hz: float
    alignment_heads: tuple[tuple[int, int], ...] = ()
    """(layer, head) pairs whose attention follows the text, where the training made some."""

    def __post_init__(self) -> None:
        require(self.vocab_size <= self.pad_token, "pad_token", "must not be a semantic token")
        require(
            self.pad_token < self.transformer.output_vocab_size,
            "pad_token",
            "lies outside the output vocabulary",
        )
        require(
            self.max_text_tokens == self.max_history_tokens,
            "max_history_tokens",
            "must equal max_text_tokens (they are summed)",
        )
        require(
            self.num_prefix_positions + self.max_new_tokens - 1 <= self.transformer.block_size,
            "max_new_tokens",
            "does not fit the context window",
        )

    @property
    def num_prefix_positions(self) -> int:
        """Text summed with history, then the infer token."""
        return self.max_text_tokens + 1

    @property
    def drawn_rows(self) -> slice:
        """Of the head: the semantic tokens, and the end behind them (in Bark right behind them)."""
        return slice(0, self.pad_token + 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class CoarseConfig:
    """Semantic tokens -> coarse codebooks, flattened frame by frame, in windows."""

    transformer: TransformerConfig
    semantic_pad_token: int
    infer_token: int
    rate_hz: float
    num_codebooks: int
    max_semantic_tokens: int
    """Semantic tokens that a window can see."""
    max_history_tokens: int
    """Coarse tokens (not frames) that a window can look back on."""
    sliding_window_len: int
    """Coarse tokens made before the prefix is laid anew."""
    is_aligned: bool = False
    """The semantic slice and the history of a window begin at the same moment. Suno's counting leaves up to three
    frames between them, and Suno's weights know it."""

    def __post_init__(self) -> None:
        require(self.sliding_window_len % self.num_codebooks == 0, "sliding_window_len", "must be whole frames")
        require(
            self.num_prefix_positions + self.max_history_tokens + self.sliding_window_len
            <= self.transformer.block_size,
            "sliding_window_len",
            "does not fit the context window beside the history",
        )

    @property
    def num_prefix_positions(self) -> int:
        return self.max_semantic_tokens + 1


@dataclass(frozen=True, kw_only=True, slots=True)
class FineConfig:
    """Coarse codebooks -> all codebooks; not causal."""

    transformer: TransformerConfig
    num_codebooks: int
    num_codebooks_given: int
    """Codebooks for which there is no head (1 in Bark, though 2 are given by the coarse stage)."""
    max_history_frames: int
    window_frames: int

    def __post_init__(self) -> None:
        require(
            self.window_frames <= self.transformer.block_size,
            "window_frames",
            "does not fit the context window",
        )
        require(self.max_history_frames < self.window_frames, "max_history_frames", "must be below window_frames")


@dataclass(frozen=True, kw_only=True, slots=True)
class CodecConfig:
    """EnCodec's SEANet (encodec/model.py, 24 kHz)."""

    sample_rate_hz: int
    num_filters: int
    dimension: int
    ratios: tuple[int, ...]
    num_lstm_layers: int
    num_quantizers: int
    """Residual quantizers in the checkpoint; the engine uses the first `FineConfig.num_codebooks`."""
    codebook_size: int

    @property
    def hop_samples(self) -> int:
        return math.prod(self.ratios)

    @property
    def frame_rate_hz(self) -> float:
        return self.sample_rate_hz / self.hop_samples


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplingConfig:
    """How a token is drawn. A temperature of 0 means the most likely token."""

    text_temperature: float = 0.7
    waveform_temperature: float = 0.7
    fine_temperature: float = 0.5
    top_k: int | None = None
    top_p: float | None = None
    min_eos_p: float | None = 0.2
    """The sentence ends when its end is at least this likely."""
    order: SamplingOrder = "suno"
    """`suno`: top-p, top-k, then temperature. `hugging_face`: temperature, top-k, then top-p; min_eos_p before all."""

    def __post_init__(self) -> None:
        for name in ("text_temperature", "waveform_temperature", "fine_temperature"):
            value = getattr(self, name)
            require(math.isfinite(value) and value >= 0, name, f"must be a number of at least 0, not {value}")
        require(self.top_k is None or self.top_k > 0, "top_k", "must be positive")
        require(self.top_p is None or 0 < self.top_p <= 1, "top_p", "must be above 0 and at most 1")
        require(self.min_eos_p is None or 0 < self.min_eos_p <= 1, "min_eos_p", "must be above 0 and at most 1")
        require(
            self.order in get_args(SamplingOrder),
            "order",
            f"is not one of {get_args(SamplingOrder)}",
        )

    @classmethod
    def greedy(cls) -> SamplingConfig:
        return cls(text_temperature=0, waveform_temperature=0, fine_temperature=0, min_eos_p=None)


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """One Bark: three transformers, a codec, and what they agree on."""

    name: str
    semantic: SemanticConfig
    coarse: CoarseConfig
    fine: FineConfig
    codec: CodecConfig
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    """What the checkpoint's makers suggest."""
    voice_aliases: dict[str, str] = field(default_factory=dict)
    default_voice: str | None = None
    notice: str | None = None
    """Said to whoever speaks with this model, such as that it is not fully trained."""

    def __post_init__(self) -> None:
        require(
            self.coarse.num_codebooks <= self.fine.num_codebooks,
            "coarse.num_codebooks",
            "exceeds the fine codebooks",
        )
        require(
            self.fine.num_codebooks <= self.codec.num_quantizers,
            "fine.num_codebooks",
            "exceeds the codec's quantizers",
        )
        require(
            math.isclose(self.coarse.rate_hz, self.codec.frame_rate_hz),
            "coarse.rate_hz",
            "differs from the codec's frame rate",
        )
        require(
            self.codec.codebook_size <= self.fine.transformer.output_vocab_size,
            "codec.codebook_size",
            "exceeds the fine vocabulary",
        )
        require(
            self.coarse_rows.stop <= self.coarse.transformer.output_vocab_size,
            "coarse.transformer.output_vocab_size",
            "is too small",
        )

    @property
    def frames_per_semantic(self) -> float:
        """Codec frames that are heard with one semantic token: 75 / 49.9 in Bark."""
        return self.coarse.rate_hz / self.semantic.rate_hz

    @property
    def coarse_tokens_per_semantic(self) -> float:
        """Coarse tokens for one semantic token: 75 / 49.9 · 2 in Bark (generation.py, semantic_to_coarse_ratio)."""
        return self.frames_per_semantic * self.coarse.num_codebooks

    @property
    def coarse_rows(self) -> slice:
        """Of the coarse head: the codebooks, one behind the other."""
        first = self.semantic.vocab_size
        return slice(first, first + self.coarse.num_codebooks * self.codec.codebook_size)

    @property
    def sample_rate_hz(self) -> int:
        return self.codec.sample_rate_hz

    @property
    def codebook_pad(self) -> int:
        """The code that stands for "not known yet" in the fine stage's input."""
        return self.codec.codebook_size


@dataclass(frozen=True, kw_only=True, slots=True)
class ChunkPolicy:
    """Every departure from one-shot generation, by name. `reference()` makes none; `realtime()` is measured."""

    chunk_frames: tuple[int, ...] | None = (18, 24, 36, 60)
    """Codec frames of the first, second, … chunk; the last repeats. Cut to what the windows hold. None: the
    model's own coarse windows."""
    coarse_lookahead_tokens: int | None = 12
    """Semantic tokens that must be known beyond the chunk's end before its coarse window starts. None: all that the
    window can see."""
    reuse_coarse_prefix: bool = True
    """A coarse window goes on in the one before while there is room, rather than laying its prefix anew: codes made
    before stay as they were seen then, with fewer semantic tokens known."""
    fine_history_frames: int | None = 16
    """Frames already spoken that a fine pass sees before the new ones. None: Suno's windows over the whole sentence,
    after its coarse stage."""
    fine_lookahead_frames: int = 4
    """Newest frames that a fine pass sees but does not hand over yet."""
    carry: Carry = "anchored"
    """`voice`: each sentence from the preset. `last`: from the sentence before. `anchored`: what is said goes on from
    the sentence before, how it sounds from the preset, so that a voice does not drift."""
    warm_codec: bool = True
    """Run the voice's last frames through the codec at the start of a stream: no wait for reflect padding, no onset
    click."""
    eager: bool = True
    """The first sentence of a turn may leave at a clause."""
    trim_leading_silence: bool = True
    """Drop the silence before a stream's first sound."""
    max_silence_s: float | None = 1.5
    """A pause inside a sentence is cut to this."""
    max_s_per_character: float | None = 0.25
    """With `min_budget_s`, bounds a sentence's duration by its text."""
    min_budget_s: float = 3.0
    max_repeats: int | None = 4
    """A phrase of semantic tokens that comes this many times in a row is a loop; the sentence ends there."""

    def __post_init__(self) -> None:
        if self.chunk_frames is not None:
            require(
                len(self.chunk_frames) > 0 and min(self.chunk_frames) > 0,
                "chunk_frames",
                "must be positive numbers",
            )
        require(
            self.coarse_lookahead_tokens is None or self.coarse_lookahead_tokens >= 0,
            "coarse_lookahead_tokens",
            "must be at least 0",
        )
        require(self.fine_lookahead_frames >= 0, "fine_lookahead_frames", "must be at least 0")
        require(
            self.fine_history_frames is None or self.fine_history_frames >= 0,
            "fine_history_frames",
            "must be at least 0",
        )
        require(
            self.carry in get_args(Carry),
            "carry",
            f"is not one of {', '.join(get_args(Carry))}",
        )
        require(self.max_silence_s is None or self.max_silence_s > 0, "max_silence_s", "must be positive")
        require(
            self.max_s_per_character is None or self.max_s_per_character > 0,
            "max_s_per_character",
            "must be positive",
        )
        require(self.min_budget_s > 0, "min_budget_s", "must be positive")
        require(self.max_repeats is None or self.max_repeats >= 2, "max_repeats", "must be at least 2")

    @classmethod
    def reference(cls, carry: Carry = "voice") -> ChunkPolicy:
        """Suno's arithmetic and nothing else."""
        return cls(
            chunk_frames=None,
            coarse_lookahead_tokens=None,
            reuse_coarse_prefix=False,
            fine_history_frames=None,
            fine_lookahead_frames=0,
            carry=carry,
            warm_codec=False,
            eager=False,
            trim_leading_silence=False,
            max_silence_s=None,
            max_s_per_character=None,
            max_repeats=None,
        )

    @classmethod
    def realtime(cls, carry: Carry = "anchored") -> ChunkPolicy:
        """Small first chunk, short look-ahead, bounded fine windows, guards on."""
        return cls(carry=carry)
