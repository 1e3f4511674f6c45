"""`bark-stream voices`: the voices of a model and one's own; what is one's own can be exported, renamed, deleted."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from bark_stream.audio_file import check_target
from bark_stream.cli.own_voices import add_voices_argument, own_voices
from bark_stream.errors import BadVoice
from bark_stream.voice import Voice, save_voice
from bark_stream.voice_store import VoiceStore


def add_parser(subparsers: Any) -> None:
    parser: argparse.ArgumentParser = subparsers.add_parser("voices", help="list voices, and look after your own")
    parser.add_argument("--model", default="mini", help="name or folder (default: the built-in mini)")
    add_voices_argument(parser)
    parser.set_defaults(run=run)
    steps = parser.add_subparsers(metavar="STEP")
    show = steps.add_parser("show", help="where a voice of your own comes from")
    show.set_defaults(run=_show)
    delete = steps.add_parser("delete", help="for good")
    delete.set_defaults(run=_delete)
    export = steps.add_parser("export", help="copy one into a file that every Bark tool reads")
    export.set_defaults(run=_export)
    rename = steps.add_parser("rename", help="give one another name")
    rename.set_defaults(run=_rename)
    for step in (show, delete, export, rename):
        step.add_argument("name", metavar="NAME")
        add_voices_argument(step, default=argparse.SUPPRESS)
    export.add_argument("target", type=Path, metavar="FILE.npz")
    rename.add_argument("new_name", metavar="NEW")


def run(arguments: argparse.Namespace) -> int:
    """One name a line: the model's, with aliases and the default marked, then one's own with their origin."""
    from bark_stream.checkpoint import load_checkpoint

    checkpoint = load_checkpoint(arguments.model)
    config = checkpoint.config
    for name in checkpoint.voices.names():
        notes = sorted(alias for alias, known in config.voice_aliases.items() if known == name)
        if name == config.default_voice:
            notes.append("default")
        print(f"{name} ({', '.join(notes)})" if notes else name)
    store = own_voices(arguments)
    for name in store.names():
        print(f"{name} ({_origin(store, name)})")
    return 0


def _origin(store: VoiceStore, name: str) -> str:
    try:
        voice = store.get(name)
    except BadVoice as bad:
        return f"damaged: {bad.problem}"
    if voice.provenance is None:
        return "your own"
    origin = voice.provenance
    return f"cloned {origin.created_at[:10]} for {origin.model}; consent: {origin.consent}"


def _show(arguments: argparse.Namespace) -> int:
    voice = own_voices(arguments).get(arguments.name)
    for fact, value in _facts(voice).items():
        print(f"{fact:<14} {value}")
    return 0


def _facts(voice: Voice) -> dict[str, object]:
    facts: dict[str, object] = {"name": voice.name, "tokens": len(voice.semantic), "frames": voice.coarse.shape[1]}
    if voice.provenance is not None:
        origin = voice.provenance
        facts |= {
            "consent": origin.consent,
            "cloned": origin.created_at,
            "sample": f"{origin.source_s:.1f} s, sha256 {origin.source_sha256}",
            "by": origin.tool,
            "for": origin.model,
            "encoder": origin.encoder,
        }
    return facts


def _delete(arguments: argparse.Namespace) -> int:
    own_voices(arguments).delete(arguments.name)
    return 0


def _export(arguments: argparse.Namespace) -> int:
    voice = own_voices(arguments).get(arguments.name)
    check_target(arguments.target)
    save_voice(voice, arguments.target)
    print(arguments.target)
    return 0


def _rename(arguments: argparse.Namespace) -> int:
    own_voices(arguments).rename(arguments.name, arguments.new_name)
    return 0
