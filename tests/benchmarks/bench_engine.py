"""What does each stage cost? `make bench` measures the engine alone, on this machine, in this run.

1. Stages at the shape of bark-small, random weights: prefill, tokens per second, fine passes, codec; memory.
2. The incremental codec against one-shot decoding, and against decoding everything again for every chunk.
3. `mini`: time to first audio and real-time factor, streamed against one-shot.

Ratios are against something run beside it, since machines differ and are noisy. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from bark_stream.bark import Bark, load
from bark_stream.checkpoint import random_checkpoint
from bark_stream.codec import Codec, CodecState
from bark_stream.config import ChunkPolicy, SamplingConfig
from bark_stream.pipeline import Stage
from bark_stream.state import SpeechState
from bark_stream.threads import num_threads_for

OUTPUT = Path(__file__).resolve().parents[2] / "bench" / "engine.json"
SENTENCES = (
    "The kitchen light is now on.",
    "Your train leaves at half past nine from platform two.",
    "I would not go into that cave without a torch, traveller.",
    "Sorry, could you say that once more?",
)
CODEC_FRAMES = 375
"""Five seconds."""


def median_s(work: Callable[[], Any], num_runs: int = 5) -> float:
    """Median wall time of some runs, after one that is not counted."""
    work()
    times = []
    for _ in range(num_runs):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def bench_small(num_tokens: int) -> dict[str, float]:
    """One sentence at bark-small shape, stage by stage."""
    started = time.perf_counter()
    checkpoint = random_checkpoint("small")
    bark = Bark(checkpoint)
    figures = {"load_s": time.perf_counter() - started, "after_load_mb": peak_mb()}
    torch.set_num_threads(num_threads_for(bark.config))
    pipeline, voice = bark.pipeline, checkpoint.voices.get("en_speaker_0")
    run = pipeline.begin(
        0,
        "",
        np.array(bark.encode(SENTENCES[0])),
        SpeechState(voice=voice),
        ChunkPolicy.reference(),
        SamplingConfig.greedy(),
    )

    def step(stage: Stage) -> float:
        started = time.perf_counter()
        pipeline.step(stage, [run])
        return time.perf_counter() - started

    figures["semantic_prefill_s"] = step(Stage.SEMANTIC)
    figures["semantic_tokens_per_s"] = num_tokens / sum(step(Stage.SEMANTIC) for _ in range(num_tokens))
    pipeline.semantic.finish(run.semantic)
    figures["coarse_prefill_s"] = step(Stage.COARSE)
    figures["coarse_tokens_per_s"] = 50 / sum(step(Stage.COARSE) for _ in range(50))
    coarse = torch.randint(0, 1024, (2, 75)).numpy()
    greedy, generator = SamplingConfig.greedy(), torch.Generator()
    figures["fine_whole_window_s"] = median_s(
        lambda: pipeline.fine.finish(pipeline.fine.begin_whole(coarse, voice.fine, greedy, generator)), num_runs=1
    )
    figures["fine_bounded_window_s"] = median_s(
        lambda: pipeline.fine.finish(pipeline.fine.begin_next(coarse, voice.fine, 256, greedy, generator)), num_runs=3
    )
    figures["codec_s_per_audio_s"] = _codec_s(pipeline.codec, [CODEC_FRAMES]) / (CODEC_FRAMES / 75)
    figures["peak_mb"] = peak_mb()
    return figures


def _codes(codec: Codec) -> torch.Tensor:
    return torch.randint(0, codec.config.codebook_size, (1, 8, CODEC_FRAMES))


def _codec_s(codec: Codec, lengths: list[int]) -> float:
    codes = _codes(codec)

    def decode() -> None:
        state, first = CodecState(), 0
        for length in lengths:
            codec.decode(codes[..., first : first + length], state)
            first += length

    return median_s(decode, num_runs=3)


def bench_codec(codec: Codec) -> dict[str, float]:
    """Times relative to one-shot decoding of the same codes."""
    whole_s = _codec_s(codec, [CODEC_FRAMES])
    figures = {
        f"chunks of {chunk} frames / one-shot": _codec_s(codec, [chunk] * (CODEC_FRAMES // chunk)) / whole_s
        for chunk in (75, 25, 5)
    }
    codes = _codes(codec)
    again_s = median_s(lambda: [codec.decode_whole(codes[..., :end]) for end in range(25, CODEC_FRAMES + 1, 25)], 2)
    figures["decoding all again every 25 frames / one-shot"] = again_s / whole_s
    return figures


def bench_model(model: str) -> dict[str, float]:
    """TTFA and RTF of sentences of everyday length."""
    bark = load(model)
    torch.set_num_threads(num_threads_for(bark.config))
    figures: dict[str, float] = {}
    for name in ("realtime", "reference"):
        policy = getattr(ChunkPolicy, name)()
        bark.synthesize(SENTENCES[0], voice=bark.config.default_voice, policy=policy)
        speeches = [
            bark.synthesize(text, voice=bark.config.default_voice, policy=policy, seed=seed)
            for seed, text in enumerate(SENTENCES)
        ]
        figures[f"{name}_ttfa_ms"] = statistics.median((s.ttfa_s or 0) * 1000 for s in speeches)
        figures[f"{name}_rtf"] = sum(s.synth_s for s in speeches) / sum(s.audio_s for s in speeches)
    figures["ttfa, reference / realtime"] = figures["reference_ttfa_ms"] / figures["realtime_ttfa_ms"]
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--num-tokens", type=int, default=60, help="semantic decode steps that are timed")
    parser.add_argument("--skip-small", action="store_true", help="leave the bark-small shape out")
    arguments = parser.parse_args()
    console, results = Console(), {"machine": platform.processor() or platform.machine(), "torch": torch.__version__}
    parts: dict[str, dict[str, float]] = {arguments.model: bench_model(arguments.model)}
    parts[f"codec of {arguments.model}"] = bench_codec(load(arguments.model).pipeline.codec)
    if not arguments.skip_small:
        parts["bark-small shape, float32"] = bench_small(arguments.num_tokens)
    for title, figures in parts.items():
        table = Table("what", "figure", title=title)
        for name, value in figures.items():
            table.add_row(name, f"{value:,.3g}")
        console.print(table)
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(json.dumps({**results, **parts}, indent=2))
    console.print(f"written to {OUTPUT.parent.name}/{OUTPUT.name}")


if __name__ == "__main__":
    main()
