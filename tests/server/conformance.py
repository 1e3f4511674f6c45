"""What every door must do with the recorded sessions, as far as its protocol can say it: sound the same as our own.

A recorded session is a list of turns: text in its slices, an end or an interruption. A door that is tried brings one
function that speaks a turn; nothing else of a session (resume, visemes, playback reports) exists elsewhere.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bark_server.app import BarkServer
from bark_server.doors.caller import CONTEXT, Speech
from bark_server.errors import ClientError
from bark_server.messages import Open
from bark_server.prepared import PreparedEngine, PreparedStream
from harness import FAIL

from bark_stream.errors import EngineError
from bark_stream.events import Event, SentenceFailed

SESSIONS = Path(__file__).parents[1] / "sessions"
VOICES = {None: "prepared", "alice": "prepared", "bob": "other"}
"""Of the recorded engine, and those that stand for them here; others are as unknown here as there."""


@dataclass(slots=True)
class Turn:
    voice: str
    slices: list[str] = field(default_factory=list)
    is_cancelled: bool = False

    @property
    def text(self) -> str:
        return "".join(self.slices)


@dataclass(frozen=True, slots=True)
class Heard:
    pcm: bytes
    """24 kHz, 16 bit."""
    has_failed: bool = False
    """The client was told so."""


Speak = Callable[[BarkServer, Turn], Awaitable[Heard]]
"""Speaks a turn through a door. A turn that is cancelled is interrupted after its first sound."""


def turns(path: Path) -> list[Turn]:
    """The turns of a recorded session that say anything."""
    by_name: dict[str, Turn] = {}
    ended: list[Turn] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        message = json.loads(line).get("client", {})
        kind, name = message.get("type"), message.get("context", "")
        if kind == "open" and not (name in by_name and by_name[name].slices):
            voice = message.get("voice")
            by_name[name] = Turn(VOICES.get(voice, str(voice)))
        elif kind == "text" and "text" in message:
            by_name.setdefault(name, Turn(VOICES[None])).slices.append(message["text"])
        elif kind in ("close", "cancel") and name in by_name:
            turn = by_name.pop(name)
            turn.is_cancelled = kind == "cancel"
            ended.append(turn)
    return ended


async def check(live: Any, speak: Speak, **settings: Any) -> None:
    """Every recorded session through one door; the turns of a session at the same time."""
    server = await live.start(speed=8.0, **settings)
    _fail_at(live.engines[0])
    for path in sorted(SESSIONS.glob("*.jsonl")):
        spoken = turns(path)
        assert spoken, path.stem
        for turn, heard in zip(spoken, await asyncio.gather(*(speak(server, turn) for turn in spoken)), strict=True):
            expected = await _native(server, turn)
            where = f"{path.stem}: {turn.text}"
            assert heard.has_failed == expected.has_failed, where
            if turn.is_cancelled:
                assert 0 < len(heard.pcm) < len(expected.pcm), where
                assert expected.pcm.startswith(heard.pcm), where
            elif not heard.has_failed:
                assert heard.pcm == expected.pcm, where
        await _until_quiet(live.engines[0])
    unknown = await speak(server, Turn("nobody", ["Hello there."]))
    assert unknown.has_failed
    assert not unknown.pcm
    await _until_quiet(live.engines[0])
    assert server.hub is not None
    assert server.hub.admission.num_contexts == 0


async def _native(server: BarkServer, turn: Turn) -> Heard:
    """The whole turn as our own protocol says it."""
    assert server.hub is not None
    request = Open(context=CONTEXT, voice=turn.voice, format="pcm_s16le", max_lead_ms=0)
    async with Speech(server.hub, request) as speech:
        for text in turn.slices:
            speech.say(text)
        speech.end()
        try:
            return Heard(b"".join([piece.tobytes() async for piece in speech.pcm()]))
        except ClientError:
            return Heard(b"", has_failed=True)


async def _until_quiet(engine: PreparedEngine) -> None:
    """What was interrupted stops, and what was spoken is given back."""

    async def wait() -> None:
        while engine.stats().num_streams:
            await asyncio.sleep(0.01)

    await asyncio.wait_for(wait(), 20)


def _fail_at(engine: PreparedEngine) -> None:
    """Let the engine fail at the word at which the recorded one failed."""
    make: Any = engine._make

    def make_or_fail(stream: PreparedStream) -> list[Event]:
        if stream._sentences and FAIL in stream._sentences[0].text:
            return [SentenceFailed(stream._sentences.popleft().index, EngineError("no"))]
        events: list[Event] = make(stream)
        return events

    engine._make = make_or_fail  # type: ignore[method-assign]
