"""One sentence on its way to sound: what each stage has made of it, and what it cost. Knows no model."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from bark_stream.coarse import CoarseRun
from bark_stream.codec import CodecState
from bark_stream.config import ChunkPolicy, SamplingConfig
from bark_stream.fine import FineRun
from bark_stream.guards import SilenceState
from bark_stream.semantic import SemanticRun
from bark_stream.state import SpeechState
from bark_stream.timing import SentenceTiming
from bark_stream.tone import Equaliser
from bark_stream.voice import Voice


class Stage(enum.Enum):
    SEMANTIC = "semantic"
    COARSE = "coarse"
    FINE = "fine"
    CODEC = "codec"


@dataclass(slots=True)
class StageTime:
    num_tokens: int = 0
    """Semantic tokens, coarse tokens, codec frames."""
    compute_s: float = 0.0
    num_steps: int = 0


@dataclass(slots=True)
class SentenceRun:
    """One sentence on its way to sound."""

    index: int
    state: SpeechState
    """Before this sentence."""
    policy: ChunkPolicy
    sampling: SamplingConfig
    history: Voice | None
    semantic: SemanticRun
    coarse: CoarseRun
    fine_generator: torch.Generator
    codec: CodecState
    equaliser: Equaliser | None
    """Of the voice's tone."""
    silence: SilenceState
    timing: SentenceTiming
    codes: NDArray[np.int64]
    """[num_codebooks, T] frames that are complete."""
    num_undecoded: int = 0
    """The newest of them, for the codec."""
    fine: FineRun | None = None
    """The frames after those, on their way through the fine stage."""
    num_filling: int = 0
    """So many of them will be complete; the rest is looked ahead at."""
    num_windows: int = 0
    num_samples: int = 0
    is_finished: bool = False
    guards: list[str] = field(default_factory=list)
    times: dict[Stage, StageTime] = field(default_factory=lambda: {stage: StageTime() for stage in Stage})

    @property
    def num_frames(self) -> int:
        return int(self.codes.shape[1])

    @property
    def compute_s(self) -> float:
        return sum(time_.compute_s for time_ in self.times.values())
