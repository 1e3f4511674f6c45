"""`bark-stream random-model`: a model that was never trained, for trying out and timing."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from bark_stream.cli.convert import add_storage


def add_parser(subparsers: Any) -> None:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "random-model", help="write a model with random weights (it makes noise), for tests and timings"
    )
    parser.add_argument(
        "--shape",
        choices=("tiny", "small", "large"),
        default="tiny",
        help="small and large are Bark's own two (default: %(default)s)",
    )
    parser.add_argument("target", metavar="DST", type=Path, help="folder to write")
    parser.add_argument("--seed", type=int, default=0)
    add_storage(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from bark_stream.checkpoint import random_checkpoint, save_checkpoint

    save_checkpoint(random_checkpoint(arguments.shape, arguments.seed), arguments.target, arguments.storage)
    print(arguments.target)
    return 0
