"""`bark-stream fetch`: a model from the Hugging Face Hub."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_parser(subparsers: Any) -> None:
    parser: argparse.ArgumentParser = subparsers.add_parser("fetch", help="fetch a model from the Hugging Face Hub")
    parser.add_argument("repo", metavar="NAME", help="such as suno/bark-small")
    parser.add_argument(
        "--to",
        type=Path,
        metavar="FOLDER",
        help="where to (default: huggingface_hub's cache, where --model NAME finds it)",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    from bark_stream.checkpoint.fetch import fetch

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        folder = fetch(arguments.repo, arguments.to, progress=progress)
    print(folder)
    return 0
