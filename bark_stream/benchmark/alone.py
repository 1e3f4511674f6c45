"""One speaker alone: when the first sound comes, how fast the rest, and where the time goes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bark_stream.bark import Bark, Speech
from bark_stream.benchmark.workload import TEXT, lasting
from bark_stream.config import ChunkPolicy, SamplingConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class AloneFigures:
    audio_s: float
    """Of each run."""
    num_runs: int
    ttfa_p50_ms: float
    """From the text to the first chunk, without a network."""
    ttfa_p99_ms: float
    rtf: float
    """Median of compute time / audio time."""
    tokens_per_s: dict[str, float]
    """By stage, of the median run; codec: frames of 1/75 s."""
    share: dict[str, float]
    """By stage, of the compute time."""


def measure_alone(bark: Bark, policy: ChunkPolicy, *, seconds: float, num_runs: int) -> AloneFigures:
    """Speaks `seconds` of audio `num_runs` times, and once before that does not count."""
    runs = [_speak(bark, lasting(policy, seconds)) for _ in range(num_runs + 1)][1:]
    runs.sort(key=lambda speech: speech.rtf)
    middle = runs[len(runs) // 2]
    ttfa_ms = [1000 * (speech.ttfa_s or 0.0) for speech in runs]
    total_s = sum(spent.compute_s for spent in middle.times.values())
    return AloneFigures(
        audio_s=middle.audio_s,
        num_runs=num_runs,
        ttfa_p50_ms=float(np.percentile(ttfa_ms, 50)),
        ttfa_p99_ms=float(np.percentile(ttfa_ms, 99)),
        rtf=middle.rtf,
        tokens_per_s={stage.value: spent.num_tokens / spent.compute_s for stage, spent in middle.times.items()},
        share={stage.value: spent.compute_s / total_s for stage, spent in middle.times.items()},
    )


def _speak(bark: Bark, policy: ChunkPolicy) -> Speech:
    voice = bark.config.default_voice or next(iter(bark.voices), None)
    return bark.synthesize(TEXT, voice=voice, policy=policy, sampling=SamplingConfig.greedy())
