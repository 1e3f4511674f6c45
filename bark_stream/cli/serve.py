"""`bark-stream serve`: the streaming server."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from bark_server.config import add_arguments, from_arguments

from bark_stream.cli.say import add_precision
from bark_stream.errors import ConfigError

if TYPE_CHECKING:
    from bark_server.speech import Engine

MISSING = "needs the server's libraries: pip install 'bark-stream[serve]'"


def add_parser(subparsers: Any) -> None:
    parser: argparse.ArgumentParser = subparsers.add_parser("serve", help="answer over WebSocket, text in, Opus out")
    parser.add_argument("--model", default="mini", help="name or folder (default: the built-in mini)")
    add_precision(parser)
    parser.add_argument(
        "--num-slots", type=int, default=8, help="sentences that are spoken at the same time (%(default)s)"
    )
    add_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    try:
        from bark_server.app import run as serve
        from bark_server.logs import EventLog
    except ModuleNotFoundError as missing:
        raise ConfigError("serve", MISSING) from missing

    def make_engine() -> Engine:
        from bark_stream.bark import load
        from bark_stream.engine import Engine as BarkEngine
        from bark_stream.threads import use_threads

        bark = load(arguments.model, num_slots=arguments.num_slots, precision=arguments.precision)
        use_threads(bark.config)
        return BarkEngine(bark)

    return serve(from_arguments(arguments, os.environ), make_engine, log=EventLog())
