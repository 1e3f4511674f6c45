"""Where the command line keeps voices of one's own: `--voices`, else $BARK_STREAM_VOICES, else the user's data."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path

from bark_stream.voice_store import VoiceStore

VARIABLE = "BARK_STREAM_VOICES"


def add_voices_argument(parser: argparse.ArgumentParser, *, default: str | None = None) -> None:
    """Args: default: `argparse.SUPPRESS` below a parser that has the argument already."""
    parser.add_argument(
        "--voices",
        type=Path,
        metavar="DIR",
        default=default,
        help=f"where your own voices are (default: ${VARIABLE}, or your data folder)",
    )


def own_voices(arguments: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> VoiceStore:
    if arguments.voices is not None:
        return VoiceStore(arguments.voices)
    if environment.get(VARIABLE):
        return VoiceStore(environment[VARIABLE])
    data = environment.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return VoiceStore(Path(data) / "bark-stream" / "voices")
