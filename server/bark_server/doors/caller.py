"""A client inside the server: a session without a socket, for doors that speak another protocol than ours.

    Caller   one session: messages in, frames out, as on a socket
    Speech   one context of it: text in, typed events and audio out, as an async iterator

Nothing is taken from the session before it is asked for, so a slow reader pauses the engine, and only for itself.
Knows the hub and neither engine nor any door.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import TypeAlias

import msgspec

from bark_server.errors import ClientError
from bark_server.frames import AudioFrame, unpack
from bark_server.hub import Hub
from bark_server.messages import (
    Cancel,
    Cancelled,
    ClientMessage,
    Close,
    Done,
    Error,
    Flush,
    Open,
    Opened,
    Ready,
    SentenceStarted,
    Text,
    Visemes,
    Words,
)
from bark_server.outlog import Frame

FRAMES_PER_TURN = 16
"""Taken at once; then others have their turn."""
CONTEXT = "c"
"""Name of the only context of a `Speech`."""

ServerMessage: TypeAlias = Ready | Opened | SentenceStarted | Words | Visemes | Done | Cancelled | Error
ServerEvent: TypeAlias = ServerMessage | AudioFrame

_decoder = msgspec.json.Decoder(ServerMessage)
_encoder = msgspec.json.Encoder()


def parse(frame: Frame) -> ServerEvent:
    """What a session's frame says."""
    if isinstance(frame, bytes):
        return unpack(frame)
    message: ServerMessage = _decoder.decode(frame)
    return message


class Caller:
    """One session. Has the shape of a `Link`; to be used in the event loop's thread."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()
        self._is_over = False
        self._session = hub.connect(self)

    def send(self, message: ClientMessage) -> None:
        """What goes wrong with it comes back as an `Error`."""
        self.send_raw(_encoder.encode(message))

    def send_raw(self, data: bytes | str) -> None:
        """A message as it came over a wire, be it nonsense."""
        if not self._is_over:
            self._session = self._hub.receive(self._session, data, self)
            self._woken.set()

    async def take(self) -> list[Frame]:
        """Wait for frames and take them: a few, oldest first; those of the call before have now arrived.

        Empty when the session is over. A call that is cancelled has taken nothing.
        """
        await asyncio.sleep(0)
        while not self._is_over:
            now, session = self._hub.now(), self._session
            position = session.ping_position(now)
            if position is not None:
                session.acknowledge(position, now)
            session.tick(now)
            frames = session.take(now, FRAMES_PER_TURN)
            if frames:
                return frames
            if session.ending is not None:
                self.close()
            else:
                await self._wait(session.next_wakeup_s(now) - now)
        return []

    @property
    def is_over(self) -> bool:
        return self._is_over

    def wake(self) -> None:
        self._woken.set()

    def taken_over(self) -> None:
        self._is_over = True
        self._woken.set()

    def close(self, *, is_final: bool = True) -> None:
        """Free what is being spoken. Unless that `is_final`, the session lives on for the resume window."""
        if not self._is_over:
            self._is_over = True
            self._hub.disconnect(self._session, self, is_final=is_final)
            self._woken.set()

    async def _wait(self, seconds: float) -> None:
        self._woken.clear()
        timer = self._loop.call_later(max(0.0, seconds), self._woken.set)
        try:
            await self._woken.wait()
        finally:
            timer.cancel()


class Speech:
    """One context in a session of its own. As a context manager it frees everything at its end.

    async with Speech(hub, Open(context=CONTEXT, voice="alice", format="pcm_s16le", max_lead_ms=0)) as speech:
        speech.say("Hello.")
        speech.end()
        async for event in speech: ...
    """

    def __init__(self, hub: Hub, request: Open) -> None:
        """`request.context` must be CONTEXT."""
        self._caller = Caller(hub)
        self._caller.send(request)

    def say(self, text: str) -> None:
        self._caller.send(Text(context=CONTEXT, text=text))

    def flush(self) -> None:
        """Speak what is there, though its sentence has not ended."""
        self._caller.send(Flush(context=CONTEXT))

    def end(self) -> None:
        """No more text."""
        self._caller.send(Close(context=CONTEXT))

    def cancel(self, played_ms: int | None = None) -> None:
        """Stop at once; the last event is `Cancelled`."""
        self._caller.send(Cancel(context=CONTEXT, played_ms=played_ms))

    def close(self) -> None:
        self._caller.close()

    async def __aiter__(self) -> AsyncIterator[ServerEvent]:
        """Everything from `Opened` to `Done` or `Cancelled`.

        Raises: ClientError for what the server refuses; a sentence that could not be spoken is an `Error` event.
        """
        while frames := await self._caller.take():
            for event in map(parse, frames):
                if isinstance(event, Ready):
                    continue
                if isinstance(event, Error) and event.code != "generation_failed":
                    raise client_error(event)
                yield event
                if isinstance(event, Done | Cancelled):
                    return

    async def __aenter__(self) -> Speech:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def client_error(error: Error) -> ClientError:
    """The exception that says what the message says."""
    return ClientError(error.code, error.message, context=error.context, retry_after_ms=error.retry_after_ms)
