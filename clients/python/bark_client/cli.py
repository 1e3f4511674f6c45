"""`bark-client`: speak a text, or what is piped in while it is being written, into a file or the loudspeaker."""

from __future__ import annotations

import argparse
import asyncio
import codecs
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any

from bark_client.client import BarkClient
from bark_client.context import Context
from bark_client.errors import BarkClientError, OutputFailed
from bark_client.messages import Sentence
from bark_client.outputs import Output, output_for

DEFAULT_URL = "ws://127.0.0.1:8765"
KEY_VARIABLE = "BARK_STREAM_API_KEY"
_READ_BYTES = 4_096
_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], Coroutine[Any, Any, int]] = options.run
    try:
        return asyncio.run(run(options))
    except BarkClientError as problem:
        print(f"bark-client: {problem}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bark-client", description="Speak with a bark-stream server.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    say = commands.add_parser("say", help="speak a text")
    say.set_defaults(run=_say)
    say.add_argument("text", metavar="TEXT|-", help="what to say; - reads standard input and speaks while it comes")
    where = say.add_mutually_exclusive_group(required=True)
    where.add_argument("-o", "--output", metavar="FILE", help=".ogg, .opus or .wav; - for Ogg on standard output")
    where.add_argument("--play", action="store_true", help="play it")
    say.add_argument("--voice", help="one of the voices that `bark-client voices` lists")
    say.add_argument("--seed", type=int, help="the same text, voice and seed give the same speech")
    say.add_argument("--captions", action="store_true", help="print each sentence when its audio comes")
    voices = commands.add_parser("voices", help="list the server's voices")
    voices.set_defaults(run=_list_voices)
    for command in (say, voices):
        command.add_argument("--url", default=DEFAULT_URL, help="the server (default: %(default)s)")
        command.add_argument(
            "--api-key", default=os.environ.get(KEY_VARIABLE), help=f"default: ${KEY_VARIABLE}", metavar="KEY"
        )
    return parser


async def _list_voices(options: argparse.Namespace) -> int:
    async with BarkClient(options.url, api_key=options.api_key) as client:
        print("\n".join(client.ready.voices))
    return 0


async def _say(options: argparse.Namespace) -> int:
    output = output_for(None if options.play else options.output)
    is_whole = False
    try:
        async with BarkClient(options.url, api_key=options.api_key) as client:
            started_s = time.monotonic()
            speech = client.speak(
                _standard_input() if options.text == "-" else options.text,
                voice=options.voice,
                seed=options.seed,
                format=output.format,
                max_lead_ms=None if options.play else 0,  # a file waits for nobody's ears
            )
            first_s = await _listen(speech, output, captions=options.captions)
            if speech.done is None or first_s is None:
                raise OutputFailed(options.output or "loudspeaker", "there was nothing to say")
            await asyncio.to_thread(output.finish, speech.done)
            is_whole = True
    finally:
        if not is_whole:
            output.discard()
    audio_s = speech.done.audio_ms / 1000
    print(f"{audio_s:.2f} s of speech, the first after {first_s - started_s:.2f} s", file=sys.stderr)
    return 0


async def _listen(speech: Context, output: Output, *, captions: bool) -> float | None:
    """Write packets as they come; returns when the first came."""
    first_s = None
    async for packet in speech:
        if first_s is None:
            first_s = time.monotonic()
        if speech.opened is not None:
            await asyncio.to_thread(output.write, packet, speech.opened)
        for caption in packet.captions if captions else ():
            if isinstance(caption, Sentence):
                print(f"{caption.start_ms / 1000:8.2f} s  {caption.text.strip()}", file=sys.stderr)
    return first_s


async def _standard_input() -> AsyncIterator[str]:
    """What comes in, as soon as it comes, whole characters."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    while block := await asyncio.to_thread(os.read, sys.stdin.fileno(), _READ_BYTES):
        if text := decoder.decode(block):
            yield text
    if rest := decoder.decode(b"", final=True):
        yield rest
