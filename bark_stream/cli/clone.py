"""`bark-stream clone`: a voice from a few seconds of somebody who agreed."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from bark_stream.cli.own_voices import add_voices_argument, own_voices
from bark_stream.errors import MissingConsent, VoiceExists
from bark_stream.voice_store import check_voice_name


def add_parser(subparsers: Any) -> None:
    parser: argparse.ArgumentParser = subparsers.add_parser("clone", help="make a voice from a few seconds of somebody")
    parser.add_argument("sample", type=Path, metavar="SAMPLE", help="sound file: 3 to 15 s of one person, clean")
    parser.add_argument("--name", required=True, help="of the voice")
    parser.add_argument("--consent", default="", metavar="TEXT", help="who agreed, and when; kept inside the voice")
    parser.add_argument("--model", default="mini", help="the one that shall speak (default: the built-in mini)")
    parser.add_argument("--hubert", help="folder or Hub name, for models without an ear of their own")
    parser.add_argument("--quantizer", help="file or OWNER/REPOSITORY/FILE on the Hub, beside HuBERT")
    parser.add_argument("--replace", action="store_true", help="a voice of that name")
    add_voices_argument(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    store = own_voices(arguments)
    check_voice_name(arguments.name)
    if not arguments.consent.strip():
        raise MissingConsent
    if arguments.name in store and not arguments.replace:
        raise VoiceExists(arguments.name)

    # Only now the seconds that torch and a model take: everything above fails at once.
    from bark_stream.checkpoint import load_checkpoint
    from bark_stream.cloning.clone import clone
    from bark_stream.cloning.hubert import HUBERT, QUANTIZER, load_hubert_encoder

    checkpoint = load_checkpoint(arguments.model)
    if checkpoint.voices.is_of_model(arguments.name):
        raise VoiceExists(arguments.name)
    encoder = None
    if arguments.hubert or arguments.quantizer:
        encoder = load_hubert_encoder(arguments.hubert or HUBERT, arguments.quantizer or QUANTIZER)
    voice = clone(arguments.sample, name=arguments.name, consent=arguments.consent, model=checkpoint, encoder=encoder)
    print(store.save(voice, replace=arguments.replace))
    return 0
