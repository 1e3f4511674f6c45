"""`bark-stream serve`: the streaming server."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from bark_server.config import add_arguments, from_arguments

from bark_stream.cli.own_voices import add_voices_argument, own_voices
from bark_stream.cli.say import add_device, add_precision
from bark_stream.errors import ConfigError

if TYPE_CHECKING:
    from bark_server.speech import Engine, Studio

MISSING = "needs the server's libraries: pip install 'bark-stream[serve]'"


def add_parser(subparsers: Any) -> None:
    parser: argparse.ArgumentParser = subparsers.add_parser("serve", help="answer over WebSocket, text in, Opus out")
    parser.add_argument("--model", default="mini", help="name or folder (default: the built-in mini)")
    add_precision(parser)
    add_device(parser)
    parser.add_argument(
        "--num-slots", type=int, default=8, help="sentences that are spoken at the same time (%(default)s)"
    )
    add_voices_argument(parser)
    add_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    try:
        from bark_server.app import run as serve
        from bark_server.logs import EventLog
    except ModuleNotFoundError as missing:
        raise ConfigError("serve", MISSING) from missing

    config = from_arguments(arguments, os.environ)
    store = own_voices(arguments) if config.allow_cloning or arguments.voices is not None else None

    def make_engine() -> Engine:
        from bark_stream.bark import load
        from bark_stream.engine import Engine as BarkEngine
        from bark_stream.threads import use_threads

        bark = load(
            arguments.model,
            num_slots=arguments.num_slots,
            precision=arguments.precision,
            device=arguments.device,
            voices=None if store is None else store.folder,
        )
        use_threads(bark.config)
        return BarkEngine(bark)

    def make_studio() -> Studio:
        from bark_stream.checkpoint import load_checkpoint
        from bark_stream.cloning.studio import Studio as BarkStudio

        return BarkStudio(load_checkpoint(arguments.model), store or own_voices(arguments))

    return serve(config, make_engine, log=EventLog(), make_studio=make_studio)
