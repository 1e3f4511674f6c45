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
import numpy as np
from numpy.typing import NDArray

from bark_server.errors import ClientError
from bark_server.frames import LAST_OF_CONTEXT, AudioFrame, unpack
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
SAMPLE_BYTES = 2
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
        self._taken = asyncio.Event()
        self._is_over = False
        self._session = hub.connect(self, is_resumable=False)

    def send(self, message: ClientMessage) -> None:
        """What goes wrong with it comes back as an `Error`."""
        self.send_raw(_encoder.encode(message))

    def send_raw(self, data: bytes | str) -> None:
        """A message as it came over a wire, be it nonsense."""
        if not self._is_over:
            self._hub.receive(self._session, data, self)
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
            self._taken.set()
            if frames:
                return frames
            if session.ending is not None:
                self.close()
            else:
                await self._wait(session.next_wakeup_s(now) - now)
        return []

    async def room(self) -> None:
        """Wait until answers no longer pile up: whoever sends what a stranger sent waits here in between."""
        while self._session.is_congested and not self._is_over:
            self._taken.clear()
            await self._taken.wait()

    def wake(self) -> None:
        self._woken.set()

    def taken_over(self) -> None:
        """Never: nobody learns how this session could be had."""

    def close(self) -> None:
        """Free what is being spoken."""
        if not self._is_over:
            self._is_over = True
            self._hub.disconnect(self._session, self, is_final=True)
            self._woken.set()
            self._taken.set()

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
        self._is_cancelled = False

    def say(self, text: str) -> None:
        self._caller.send(Text(context=CONTEXT, text=text))

    def flush(self) -> None:
        """Speak what is there, though its sentence has not ended."""
        self._caller.send(Flush(context=CONTEXT))

    def end(self) -> None:
        """No more text."""
        self._caller.send(Close(context=CONTEXT))

    def cancel(self, played_ms: int | None = None) -> None:
        """Stop at once; the last event is `Cancelled`. Again: nothing more."""
        if not self._is_cancelled:
            self._is_cancelled = True
            self._caller.send(Cancel(context=CONTEXT, played_ms=played_ms))

    def close(self) -> None:
        self._caller.close()

    async def turns(self) -> AsyncIterator[list[ServerEvent]]:
        """Everything from `Opened` to `Done` or `Cancelled`, as much at once as there is to take.

        Raises: ClientError for what the server refuses; a sentence that could not be spoken is an `Error` event.
        """
        while frames := await self._caller.take():
            events = [parse(frame) for frame in frames]
            for event in events:
                if isinstance(event, Error) and event.code != "generation_failed":
                    raise client_error(event)
            yield [event for event in events if not isinstance(event, Ready)]
            if isinstance(events[-1], Done | Cancelled):
                return

    async def __aiter__(self) -> AsyncIterator[ServerEvent]:
        """The same one by one."""
        async for events in self.turns():
            for event in events:
                yield event

    async def pcm(self) -> AsyncIterator[NDArray[np.int16]]:
        """Only the sound, without the last packet's padding: [T] int16, T >= 1. Of a context with `pcm_s16le`.

        Raises: ClientError, also for a sentence that could not be spoken.
        """
        sound = PcmOfPackets()
        async for events in self.turns():
            for event in events:
                if isinstance(event, Error):
                    raise client_error(event)
                if isinstance(event, AudioFrame):
                    sound.push(event)
                elif isinstance(event, Done):
                    sound.end(event.audio_samples)
            if len(piece := sound.take()):
                yield piece

    async def __aenter__(self) -> Speech:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class PcmOfPackets:
    """Packets of 16-bit samples in, the samples out; those of the last packet once it is known how many there are."""

    def __init__(self) -> None:
        self._payloads: list[bytes] = []
        self._last: AudioFrame | None = None

    def push(self, packet: AudioFrame) -> None:
        if packet.flags & LAST_OF_CONTEXT:
            self._last = packet
        else:
            self._payloads.append(packet.payload)

    def end(self, num_samples: int) -> None:
        """The context has `num_samples` in all."""
        if self._last is not None:
            self._payloads.append(self._last.payload[: max(0, num_samples - self._last.timestamp) * SAMPLE_BYTES])
            self._last = None

    def take(self) -> NDArray[np.int16]:
        """[T] int16: what is there."""
        samples = np.frombuffer(b"".join(self._payloads), dtype="<i2").astype(np.int16)
        self._payloads.clear()
        return samples


def client_error(error: Error) -> ClientError:
    """The exception that says what the message says."""
    return ClientError(error.code, error.message, context=error.context, retry_after_ms=error.retry_after_ms)
