"""`bark-stream bench`: what a model costs on this machine."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from bark_stream.cli.say import add_device, add_precision
from bark_stream.errors import ConfigError


def add_parser(subparsers: Any) -> None:
    parser: argparse.ArgumentParser = subparsers.add_parser("bench", help="measure a model on this machine")
    parser.add_argument("--model", default="mini", help="name or folder (default: the built-in mini)")
    add_precision(parser)
    add_device(parser)
    parser.add_argument("--seconds", type=float, default=4.0, help="audio of each sentence (%(default)s)")
    parser.add_argument("--runs", type=int, default=5, help="sentences that are timed (%(default)s)")
    parser.add_argument(
        "--streams", type=int, nargs="+", default=[], metavar="N", help="also so many speakers at the same time"
    )
    parser.add_argument("--no-reference", action="store_true", help="leave one-shot generation out")
    parser.add_argument(
        "--against", choices=("transformers",), help="also Hugging Face's BarkModel, same weights, text and run"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw them (needs matplotlib)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    for name in ("seconds", "runs", "streams"):
        values = getattr(arguments, name)
        if any(not value > 0 for value in (values if isinstance(values, list) else [values])):
            raise ConfigError(f"--{name}", "must be above 0")

    from rich.console import Console

    from bark_stream.bark import Bark
    from bark_stream.benchmark.alone import measure_alone
    from bark_stream.benchmark.machine import device_peak_bytes, peak_bytes, this_machine
    from bark_stream.benchmark.report import Report, print_report, write_json, write_plot
    from bark_stream.benchmark.roofline import measure_roofline
    from bark_stream.benchmark.together import measure_together
    from bark_stream.benchmark.transformers_bark import measure_transformers
    from bark_stream.benchmark.workload import endless
    from bark_stream.checkpoint import load_checkpoint
    from bark_stream.config import ChunkPolicy
    from bark_stream.device import resolve_device
    from bark_stream.precision import resolve_precision
    from bark_stream.threads import use_threads

    device = resolve_device(arguments.device)
    precision = resolve_precision(arguments.precision, device)
    checkpoint = endless(load_checkpoint(arguments.model))
    use_threads(checkpoint.config)
    bark = Bark(checkpoint, num_slots=max(1, *arguments.streams, 1), precision=precision, device=device)
    policies = {"realtime": ChunkPolicy.realtime()}
    if not arguments.no_reference:
        policies["reference"] = ChunkPolicy.reference()
    alone = {
        name: measure_alone(bark, policy, seconds=arguments.seconds, num_runs=arguments.runs)
        for name, policy in policies.items()
    }
    report = Report(
        machine=this_machine(device),
        model=checkpoint.config.name,
        precision=precision,
        policies=alone,
        roofline=measure_roofline(checkpoint.config, precision, alone["realtime"].tokens_per_s["coarse"], device),
        together=[
            measure_together(bark, ChunkPolicy.realtime(), num_streams=num_streams, seconds=arguments.seconds)
            for num_streams in arguments.streams
        ],
        peak_bytes=peak_bytes(),
        device_peak_bytes=device_peak_bytes(device),
    )
    if arguments.against:
        report.against = measure_transformers(checkpoint, seconds=arguments.seconds, device=device)
    print_report(report, Console())
    if arguments.json is not None:
        write_json(report, arguments.json)
    if arguments.plot is not None:
        write_plot(report, arguments.plot)
    return 0
