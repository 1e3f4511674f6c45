"""`bark-stream say`: text in, a sound file or sound out."""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bark_stream.audio_file import AudioWriter, audio_format, check_target
from bark_stream.cli import say_file
from bark_stream.cli.own_voices import add_voices_argument
from bark_stream.cli.speaking import load_to_speak, temperatures, warn_of_stand_in
from bark_stream.config import ChunkPolicy, SamplingConfig
from bark_stream.errors import ConfigError, EmptyText, OutputError
from bark_stream.events import Chunk, Event
from bark_stream.pcm import to_pcm_16
from bark_stream.voice import save_voice

if TYPE_CHECKING:
    from bark_stream.bark import Speech

PLAYERS = (
    ("pw-cat", "--playback", "--raw", "--format=s16", "--channels=1", "--rate={rate}", "-"),
    ("paplay", "--raw", "--format=s16le", "--channels=1", "--rate={rate}"),
    ("aplay", "-q", "-t", "raw", "-f", "S16_LE", "-c", "1", "-r", "{rate}"),
    ("ffplay", "-loglevel", "error", "-nodisp", "-autoexit", "-f", "s16le", "-ar", "{rate}", "-"),
)
"""Programs that play raw samples from stdin; the first one found is used."""


def add_parser(subparsers: Any) -> None:
    parser: argparse.ArgumentParser = subparsers.add_parser("say", help="speak a text into a file or a loudspeaker")
    parser.add_argument("text", metavar="TEXT", nargs="?", help="what to say; - reads it from stdin")
    say_file.add_arguments(parser)
    parser.add_argument("--model", default="mini", help="name or folder (default: the built-in mini)")
    add_precision(parser)
    add_device(parser)
    parser.add_argument("--voice", help="a name (see `voices`) or .npz file (default: the model's own)")
    add_voices_argument(parser)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--temperature", type=float, help="of all stages; 0 takes the most likely token")
    parser.add_argument("--text-temperature", type=float)
    parser.add_argument("--waveform-temperature", type=float)
    parser.add_argument("--policy", choices=("realtime", "reference"), default="realtime")
    parser.add_argument("--carry", choices=("voice", "last", "anchored"), help="history from sentence to sentence")
    parser.add_argument("--max-seconds", type=float, help="stop after so much audio")
    parser.add_argument("--save-prompt", metavar="FILE.npz", help="keep what was said as a voice")
    parser.add_argument("-o", "--output", help=".wav, .ogg, .mp3 or .flac; - is stdout (default: speech.wav)")
    parser.add_argument("--play", action="store_true", help="play while it is being made")
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON object on stdout")
    parser.set_defaults(run=run)


def add_precision(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--precision",
        choices=("auto", "float32", "bfloat16", "int8"),
        default="auto",
        help="numbers the model computes in: float32 is the reference, int8 fast (default: auto, the fastest here)",
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="cpu",
        help="where the model computes; auto takes a GPU that is there (default: %(default)s)",
    )


def run(arguments: argparse.Namespace) -> int:
    policy = getattr(ChunkPolicy, arguments.policy)()
    policy = replace(policy, carry=arguments.carry) if arguments.carry else policy
    output = arguments.output or (None if arguments.play else "speech.wav")
    if output == "-" and arguments.json:
        raise ConfigError("--json", "needs stdout for itself; give -o a file")
    if arguments.max_seconds is not None and not arguments.max_seconds > 0:
        raise ConfigError("--max-seconds", "must be above 0")
    temperatures(SamplingConfig(), arguments)
    if output is not None:
        audio_format(output)
    for target in (output, arguments.save_prompt):
        if target is not None:
            check_target(target)
    if arguments.file is not None:
        return say_file.run(arguments, output, policy)
    if arguments.text is None:
        raise EmptyText
    text = sys.stdin.read() if arguments.text == "-" else arguments.text
    if not text.strip():
        raise EmptyText

    # Only now the seconds that torch and a model take: everything above fails at once.
    started = time.perf_counter()
    from bark_stream.long_form.read_aloud import tags_of

    bark = load_to_speak(arguments)
    load_s = time.perf_counter() - started
    warn_of_stand_in(bark)
    voice = bark.voice(arguments.voice or bark.config.default_voice)
    with ExitStack() as stack:
        sinks = list(_sinks(output, arguments.play, bark.sample_rate_hz, tags_of([voice]), stack))
        speech = bark.synthesize(
            text,
            voice=voice,
            seed=arguments.seed,
            policy=policy,
            sampling=temperatures(bark.config.sampling, arguments),
            max_s=arguments.max_seconds,
            on_event=lambda event: _pass_on(event, sinks),
        )
    if arguments.save_prompt and speech.prompt is not None:
        origin = None if voice is None else voice.provenance
        save_voice(replace(speech.prompt, provenance=origin), arguments.save_prompt)
    report(speech, load_s, as_json=arguments.json)
    return 0


def figures(speech: Speech, load_s: float) -> dict[str, Any]:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "audio_s": round(speech.audio_s, 3),
        "load_s": round(load_s, 3),
        "ttfa_s": None if speech.ttfa_s is None else round(speech.ttfa_s, 4),
        "synth_s": round(speech.synth_s, 3),
        "rtf": round(speech.rtf, 3) if len(speech.pcm) else None,
        "peak_mb": round(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10), 1),
        "tokens_per_s": {
            stage.value: round(spent.num_tokens / spent.compute_s, 1) if spent.compute_s else None
            for stage, spent in speech.times.items()
        },
    }


def report(speech: Speech, load_s: float, *, as_json: bool) -> None:
    facts = figures(speech, load_s)
    if as_json:
        print(json.dumps(facts))
        return
    ttfa = "no audio" if speech.ttfa_s is None else f"first audio after {speech.ttfa_s * 1000:.0f} ms"
    rates = ", ".join(f"{stage} {rate}/s" for stage, rate in facts["tokens_per_s"].items() if rate is not None)
    print(
        f"{facts['audio_s']:.2f} s of speech, {ttfa}, RTF {facts['rtf']} ({rates}; loaded in {load_s:.2f} s)",
        file=sys.stderr,
    )


Sink = Callable[[NDArray[np.float32]], None]


def _pass_on(event: Event, sinks: list[Sink]) -> None:
    if isinstance(event, Chunk):
        for sink in sinks:
            sink(event.pcm)


def _sinks(
    output: str | None, play: bool, sample_rate_hz: int, tags: dict[str, str], stack: ExitStack
) -> Iterator[Sink]:
    if output is not None:
        yield stack.enter_context(AudioWriter(output, sample_rate_hz, tags=tags)).write
    if play:
        yield _player(sample_rate_hz, stack)


def _player(sample_rate_hz: int, stack: ExitStack) -> Sink:
    """A player program fed as the chunks come. Raises: OutputError when there is none."""
    command = next((player for player in PLAYERS if shutil.which(player[0])), None)
    if command is None:
        raise OutputError("--play", f"needs one of {', '.join(player[0] for player in PLAYERS)}")
    process = stack.enter_context(
        subprocess.Popen([word.format(rate=sample_rate_hz) for word in command], stdin=subprocess.PIPE)
    )
    pipe = process.stdin
    assert pipe is not None
    stack.callback(pipe.close)

    def write(pcm: NDArray[np.float32]) -> None:
        pipe.write(to_pcm_16(pcm).tobytes())
        pipe.flush()

    return write
