"""`bark-stream voices`: the voices of a model."""

from __future__ import annotations

import argparse
from typing import Any


def add_parser(subparsers: Any) -> None:
    parser: argparse.ArgumentParser = subparsers.add_parser("voices", help="list the voices of a model")
    parser.add_argument("--model", default="mini", help="name or folder (default: the built-in mini)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """One name a line, its aliases behind it, the default marked."""
    from bark_stream.checkpoint import load_checkpoint

    checkpoint = load_checkpoint(arguments.model)
    config = checkpoint.config
    for name in checkpoint.voices.names():
        notes = sorted(alias for alias, known in config.voice_aliases.items() if known == name)
        if name == config.default_voice:
            notes.append("default")
        print(f"{name} ({', '.join(notes)})" if notes else name)
    return 0
