"""`bark-stream convert`: any model that can be read, written in our own format."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

STORAGES = ("float32", "float16", "int8")


def add_parser(subparsers: Any) -> None:
    parser: argparse.ArgumentParser = subparsers.add_parser("convert", help="write a model as a bark-stream folder")
    parser.add_argument("source", metavar="SRC", help="name, or folder of Suno's, Hugging Face's or our own files")
    parser.add_argument("target", metavar="DST", type=Path, help="folder to write")
    add_storage(parser)
    parser.set_defaults(run=run)


def add_storage(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--storage",
        choices=STORAGES,
        default="float32",
        help="how weights are stored; int8 has a scale per row (default: float32, exact)",
    )


def run(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from bark_stream.checkpoint import load_checkpoint, save_checkpoint

    with Console(stderr=True).status(f"reading {arguments.source}") as status:
        checkpoint = load_checkpoint(arguments.source)
        status.update(f"writing {arguments.target}")
        save_checkpoint(checkpoint, arguments.target, arguments.storage)
    print(arguments.target)
    return 0
