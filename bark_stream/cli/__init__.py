"""The `bark-stream` command: one module per sub-command, each with `add_parser` and `run`.

A `BarkStreamError` becomes one clear line on stderr and exit code 2, never a traceback. The environment is read by the
sub-commands that need it and handed on as arguments.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from bark_stream import __version__
from bark_stream.errors import BarkStreamError

COMMANDS = ("say", "clone", "voices", "fetch", "convert", "random_model", "serve", "bench", "train")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one sub-command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="bark-stream", description="Bark that streams.")
    parser.add_argument("--version", action="version", version=f"bark-stream {__version__}")
    subparsers: Any = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        import_module(f"bark_stream.cli.{name}").add_parser(subparsers)
    arguments = parser.parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except BarkStreamError as error:
        print(f"bark-stream: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of our output has left; say nothing more, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
