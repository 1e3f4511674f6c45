"""`bark-stream train`: the recipe of the built-in model, step by step, and fine-tuning from recordings.

    prepare           texts -> shards: what the teacher reads, with its alignment
    finetune          any model and a folder of recordings with texts -> a model folder, by LoRA or in full
    pairs             a folder of recordings with texts -> shards, read by an existing model's encoders
    split             the codec's codebooks -> envelope first, then what is left
    refit             a finished model -> the same with codebooks fitted to other sound
    codec, encode, decoder, semantic, coarse, coarse_unconditional, coarse_guided, latent_mean, fine, semantic_encoder,
    recogniser, speaker_encoder, coarse_rewarded
    export            the newest checkpoints -> a model folder

Every step goes on where it was stopped. The needed packages come with the extra `train`.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bark_stream.errors import ConfigError
from bark_stream.training.parts import PARTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from bark_stream.training.run import Progress

FINETUNED = ("semantic", "coarse", "fine")


def add_parser(subparsers: Any) -> None:
    parser: argparse.ArgumentParser = subparsers.add_parser("train", help="train a model, or fine-tune one")
    steps = parser.add_subparsers(dest="train_step", metavar="STEP", required=True)
    prepare = _step(steps, "prepare", "texts -> sound and alignment", _prepare)
    prepare.add_argument("--sentences", type=Path, metavar="FILE", help="one sentence a line, beside made-up ones")
    prepare.add_argument("--kind", default="speech", help="speech, expressive, alignment or expressive_alignment")
    prepare.add_argument("--shards", type=int, default=60, help="of a hundred sentences each")
    prepare.add_argument("--seed", type=int, default=1)
    pairs = _step(steps, "pairs", "recordings with texts -> sound and tokens", _pairs)
    pairs.add_argument(
        "--recordings", type=Path, required=True, metavar="DIR", help="holds wavs and metadata.txt: wav|text"
    )
    pairs.add_argument("--model", default="mini", help="whose encoder names the tokens")
    _step(steps, "split", "codec -> the same codec, whose first two codebooks hold the envelope", _split)
    refit = _step(steps, "refit", "a model -> the same with codebooks fitted to the workspace's sound", _refit)
    refit.add_argument("--from", dest="start", required=True, metavar="MODEL")
    refit.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER", help="where the stages go on from")
    encode = _step(steps, "encode", "sound -> codes, with the trained codec", _encode)
    for shared in (prepare, encode):
        shared.add_argument("--every", type=int, default=1, help="only each so many-th shard, to share the work")
        shared.add_argument("--first", type=int, default=0, help="beginning with this one")
    for part in PARTS:
        parser_of_part = _step(steps, part, f"train the {part.replace('_', ' ')}", _train)
        parser_of_part.add_argument("--steps", type=int, help="of the whole run (default: the recipe's)")
        parser_of_part.add_argument("--learning-rate", type=float)
        parser_of_part.add_argument("--from", dest="start", metavar="MODEL", help="fine-tune this model's weights")
        parser_of_part.add_argument(
            "--precision",
            default="float32",
            choices=("float32", "bfloat16"),
            help="of products of matrices (%(default)s)",
        )
    finetune = _step(
        steps, "finetune", "any model and recordings with texts -> a model that speaks like them", _finetune
    )
    finetune.add_argument("--from", dest="start", required=True, metavar="MODEL", help="any that can be read")
    finetune.add_argument(
        "--recordings", type=Path, required=True, metavar="DIR", help="holds wavs and metadata.txt: wav|text"
    )
    finetune.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    finetune.add_argument("--rank", type=int, default=16, help="of the LoRA adapters (%(default)s)")
    finetune.add_argument("--full", action="store_true", help="let all weights learn, without adapters")
    finetune.add_argument("--steps", type=int, default=500, help="of each stage (%(default)s)")
    finetune.add_argument("--learning-rate", type=float, help="(1e-3; 1e-4 with --full)")
    finetune.add_argument("--device", default="cpu", help="cpu, cuda, …")
    finetune.add_argument("--stages", nargs="+", default=["semantic", "coarse", "fine"], choices=FINETUNED)
    finetune.add_argument("--storage", default="float32", choices=("float32", "float16", "int8"))
    export = _step(steps, "export", "newest checkpoints -> model folder", _export)
    export.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    export.add_argument("--storage", default="int8", choices=("float32", "float16", "int8"))


def _step(steps: Any, name: str, description: str, function: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = steps.add_parser(name, help=description)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="workspace: shards, codes and runs")
    parser.add_argument("--threads", type=int, help="of torch")
    parser.set_defaults(run=_run, step=function)
    return parser


def _run(arguments: argparse.Namespace) -> int:
    import torch

    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    try:
        arguments.step(arguments)
    except ModuleNotFoundError as exc:
        if exc.name in ("hibari", "onnx", "onnxruntime", "matplotlib", "scipy"):
            raise ConfigError("train", f"needs the package {exc.name}: pip install 'bark-stream[train]'") from exc
        raise
    return 0


def _prepare(arguments: argparse.Namespace) -> None:
    from bark_stream.training.prepare import KINDS, prepare

    if arguments.kind not in KINDS:
        raise ConfigError("--kind", f"is not one of {', '.join(KINDS)}")
    numbers = range(arguments.first, arguments.shards, arguments.every)
    with _Bar("prepare", len(numbers)) as bar:
        prepare(
            arguments.data / "shards",
            sentences=arguments.sentences,
            kind=arguments.kind,
            shards=numbers,
            seed=arguments.seed,
            on_shard=lambda number: bar.advance(f"shard {number}"),
        )


def _pairs(arguments: argparse.Namespace) -> None:
    from bark_stream.training.pairs import prepare_pairs

    with _Bar("pairs", None) as bar:
        prepare_pairs(arguments.recordings, arguments.data / "shards", arguments.model, on_clip=bar.advance)


def _split(arguments: argparse.Namespace) -> None:
    from bark_stream.training.stages import split_codec

    with _Bar("split", None):
        split_codec(arguments.data)


def _refit(arguments: argparse.Namespace) -> None:
    from bark_stream.training.refit import refit_model

    with _Bar("refit", None):
        refit_model(arguments.start, arguments.data, arguments.output)


def _encode(arguments: argparse.Namespace) -> None:
    from bark_stream.training.stages import encode_workspace

    with _Bar("encode", None) as bar:
        encode_workspace(
            arguments.data,
            every=arguments.every,
            first=arguments.first,
            on_shard=lambda done, total: bar.advance(f"{done} of {total}"),
        )


def _train(arguments: argparse.Namespace) -> None:
    from bark_stream.precision import resolve_precision
    from bark_stream.training.stages import default_pace, train_part

    part = arguments.train_step
    precision = resolve_precision(arguments.precision)
    pace = dataclasses.replace(default_pace(part), in_bfloat16=precision == "bfloat16")
    if arguments.steps is not None:
        pace = dataclasses.replace(pace, num_steps=arguments.steps)
    if arguments.learning_rate is not None:
        pace = dataclasses.replace(pace, learning_rate=arguments.learning_rate)
    start = None if arguments.start is None else _weights_of(arguments.start, part)
    with _Bar(part, pace.num_steps) as bar:
        train_part(part, arguments.data, pace, start=start, on_progress=bar.show)


def _finetune(arguments: argparse.Namespace) -> None:
    from bark_stream.training.finetune import FinetuneConfig, finetune

    config = FinetuneConfig(
        num_steps=arguments.steps,
        rank=None if arguments.full else arguments.rank,
        learning_rate=arguments.learning_rate or (1e-4 if arguments.full else 1e-3),
        device=arguments.device,
        stages=tuple(arguments.stages),
        storage=arguments.storage,
    )
    with _Bar("finetune", config.num_steps) as bar:
        finetune(
            arguments.start,
            arguments.recordings,
            arguments.data,
            arguments.output,
            config,
            on_progress=lambda stage, progress: bar.show(progress, stage),
        )


def _export(arguments: argparse.Namespace) -> None:
    from bark_stream.training.export import export_mini

    export_mini(arguments.data, arguments.output, arguments.storage)


def _weights_of(model: str, part: str) -> Mapping[str, Tensor]:
    from bark_stream.training.export import weights_to_start_from

    return weights_to_start_from(model, part)


class _Bar:
    """A rich progress bar, with losses beside it; plain lines where there is no terminal."""

    def __init__(self, name: str, total: int | None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=self._console,
        )
        self._task = self._progress.add_task(name, total=total, note="")

    def __enter__(self) -> _Bar:
        if self._console.is_terminal:
            self._progress.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._progress.stop()

    def advance(self, note: str = "") -> None:
        self._progress.update(self._task, advance=1, note=note)

    def show(self, progress: Progress, part: str = "") -> None:
        note = f"{part}  " if part else ""
        note += "  ".join(f"{name} {value:.3f}" for name, value in progress.losses.items())
        note += f"  {progress.seconds_per_step:.2f} s"
        if self._console.is_terminal:
            self._progress.update(self._task, completed=progress.step, note=note)
        elif progress.step % 50 == 0:
            self._console.print(f"{progress.step} of {progress.num_steps}  {note}")
