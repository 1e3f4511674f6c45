"""`bark-stream say -f FILE`: a text of any length, or a dialogue, into one sound file with captions.

What is done is kept beside the output in `OUTPUT.part`; the same command goes on from there.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bark_stream import __version__
from bark_stream.cli.speaking import load_to_speak, temperatures, warn_of_stand_in
from bark_stream.config import ChunkPolicy
from bark_stream.errors import ConfigError
from bark_stream.long_form.captions import CaptionFormat
from bark_stream.long_form.script import dialogue, paragraphs

if TYPE_CHECKING:
    from bark_stream.bark import Bark
    from bark_stream.long_form.read_aloud import Progress
    from bark_stream.voice import Voice

CAPTIONS: tuple[CaptionFormat, ...] = ("srt", "vtt")
NOT_WITH_FILE = ("text", "play", "save_prompt", "max_seconds", "json")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("long texts")
    group.add_argument("-f", "--file", type=Path, help="speak this file, of any length; goes on where it was stopped")
    group.add_argument("--dialogue", action="store_true", help="its lines are `NAME: what they say`")
    group.add_argument(
        "--cast", action="append", default=[], metavar="NAME=VOICE", help="of a dialogue; others get the next preset"
    )
    group.add_argument(
        "--captions", action="append", default=[], choices=CAPTIONS, help="beside the sound file; may be repeated"
    )


def run(arguments: argparse.Namespace, output: str | None, policy: ChunkPolicy) -> int:
    for name in NOT_WITH_FILE:
        if getattr(arguments, name):
            raise ConfigError(name, "does not go with --file")
    if output is None or output == "-":
        raise ConfigError("-o", "must be a file when --file is given")
    cast = _cast(arguments.cast)
    target = Path(output)
    text_sha256 = _digest(arguments.file)

    # Only now the seconds that torch and a model take: everything above fails at once.
    from bark_stream.long_form.read_aloud import Manner, read_aloud
    from bark_stream.long_form.workspace import Workspace

    bark = load_to_speak(arguments)
    casting = _Casting(bark, arguments.voice, cast)
    warn_of_stand_in(bark)
    manner = Manner(
        policy=replace(policy, eager=False), sampling=temperatures(bark.config.sampling, arguments), seed=arguments.seed
    )
    job = {
        "text_sha256": text_sha256,
        "tool": f"bark-stream {__version__}",
        "model": arguments.model,
        "precision": bark.precision,
        "device": bark.device.type,
        "voice": arguments.voice,
        "dialogue": bool(arguments.dialogue or cast),
        "cast": cast,
        "manner": repr(manner),
    }
    read = dialogue if job["dialogue"] else paragraphs
    with (
        arguments.file.open(encoding="utf-8", errors="replace") as lines,
        Workspace(target.with_name(f"{target.name}.part"), job) as workspace,
        _Bar(arguments.file.stat().st_size) as bar,
    ):
        progress = read_aloud(
            bark,
            read(lines),
            target,
            workspace,
            casting.voice_of,
            manner,
            captions=tuple(dict.fromkeys(arguments.captions)),
            on_progress=bar.show,
        )
    print(f"{target}: {progress.audio_s:.1f} s of speech, {progress.num_sentences} sentences", file=sys.stderr)
    return 0


class _Casting:
    """Who speaks with which voice: as told, else the model's presets in turn."""

    def __init__(self, bark: Bark, reader: str | None, cast: Mapping[str, str]) -> None:
        self._bark = bark
        self._reader = reader or bark.config.default_voice
        self._cast = dict(cast)
        for voice in (self._reader, *cast.values()):
            bark.voice(voice)  # an unknown one is named before anything is spoken
        taken = {self._reader, *cast.values()}
        free = [name for name in bark.voices if name not in taken] or list(bark.voices)
        self._next = itertools.cycle(free)

    def voice_of(self, speaker: str | None) -> Voice | None:
        if speaker is None:
            return self._bark.voice(self._reader)
        if speaker not in self._cast:
            self._cast[speaker] = next(self._next)
        return self._bark.voice(self._cast[speaker])


def _cast(pairs: list[str]) -> dict[str, str]:
    cast: dict[str, str] = {}
    for pair in pairs:
        name, equals, voice = pair.partition("=")
        if not equals or not name.strip() or not voice.strip():
            raise ConfigError("--cast", f"{pair!r} is not NAME=VOICE")
        cast[name.strip()] = voice.strip()
    return cast


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while data := file.read(1 << 20):
                digest.update(data)
    except OSError as exc:
        raise ConfigError(str(path), f"cannot be read: {exc.strerror or exc}") from exc
    return digest.hexdigest()


class _Bar:
    """How much of the file is spoken; plain lines where there is no terminal."""

    def __init__(self, num_bytes: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        self._console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("say"),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        # Characters are counted, bytes are known: near enough for a bar.
        self._task = self._bar.add_task("say", total=max(1, num_bytes), note="")

    def __enter__(self) -> _Bar:
        self._bar.start()
        return self

    def __exit__(self, *exc: Any) -> None:
        self._bar.stop()

    def show(self, progress: Progress) -> None:
        rtf = f", RTF {progress.synth_s / progress.audio_s:.2f}" if progress.audio_s else ""
        note = f"{progress.num_sentences} sentences, {progress.audio_s:.0f} s{rtf}"
        self._bar.update(self._task, completed=progress.num_characters, note=note)
        if not self._console.is_terminal and progress.num_sentences % 50 == 0:
            self._console.print(note)
