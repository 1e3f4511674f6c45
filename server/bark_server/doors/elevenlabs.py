"""ElevenLabs' WebSocket protocol, which agent frameworks speak, on the WebSocket's port:

    /v1/text-to-speech/VOICE/stream-input          one text, one sound; the socket closes with it
    /v1/text-to-speech/VOICE/multi-stream-input    many contexts; what goes wrong in one stays in it

Every socket is a session, every context one of its contexts. Knows no engine.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from http import HTTPStatus

from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers

from bark_server.doors.caller import Caller, ServerEvent, parse
from bark_server.doors.door import Refusal
from bark_server.doors.elevenlabs_context import HeardContext
from bark_server.doors.elevenlabs_messages import Failed, Request, Said, read_said, read_target, write
from bark_server.errors import ClientError
from bark_server.frames import AudioFrame
from bark_server.hub import Hub
from bark_server.messages import Cancel, Close, Error, Flush, Open, Opened, Ready, Text

UNNAMED = "default"
"""Context of messages that name none."""
POLICY = 1008
_NAMES = {"idle_timeout": "input_timeout_exceeded", "too_many_contexts": "max_active_conversations"}
"""The original's words for our codes, where it has some."""


class ElevenLabs:
    """A `Dialect`."""

    def speaks(self, target: str) -> bool:
        try:
            return read_target(target) is not None
        except ClientError:
            return True

    def key(self, headers: Headers) -> str | None:
        return headers.get("xi-api-key")

    def objection(self, hub: Hub, target: str) -> Refusal | None:
        try:
            request = read_target(target)
        except ClientError as error:
            return Refusal(HTTPStatus.BAD_REQUEST, error.message)
        if request is None or request.voice not in hub.model.voices:
            return Refusal(HTTPStatus.NOT_FOUND, "no voice of that name")
        return None

    async def converse(self, hub: Hub, socket: ServerConnection) -> None:
        request = None if socket.request is None else read_target(socket.request.path)
        if request is not None:
            await _Conversation(hub, socket, request).run()


@dataclass(slots=True)
class _Spoken:
    """A context from the client's side."""

    heard: HeardContext | None = None
    """None until the server has opened it."""
    is_closed: bool = False
    has_text: bool = False
    speed: float = 1.0


class _Conversation:
    """One socket."""

    def __init__(self, hub: Hub, socket: ServerConnection, request: Request) -> None:
        self._hub = hub
        self._socket = socket
        self._request = request
        self._caller = Caller(hub)
        self._contexts: dict[str, _Spoken] = {}
        self._streams: dict[int, str] = {}
        self._is_leaving = False
        """The socket closes after the last context."""

    async def run(self) -> None:
        """Raises: ConnectionClosed, or TimeoutError of a client that reads nothing."""
        listening = asyncio.ensure_future(self._listen())
        speaking = asyncio.ensure_future(self._speak())
        try:
            await asyncio.wait({listening, speaking}, return_when=asyncio.FIRST_COMPLETED)
            for task in (listening, speaking):
                if task.done():
                    task.result()
        finally:
            self._caller.close()
            for task in (listening, speaking):
                task.cancel()
            await asyncio.gather(listening, speaking, return_exceptions=True)

    # What the client says.

    async def _listen(self) -> None:
        while True:
            try:
                self._obey(read_said(await self._socket.recv(decode=False)))
            except ClientError as error:
                await self._send(_failed(error, None))
            await self._caller.room()

    def _obey(self, said: Said) -> None:
        if said.close_socket:
            self._is_leaving = True
            for name in [name for name, context in self._contexts.items() if not context.is_closed]:
                self._close(name)
            self._caller.wake()
            return
        self._obey_in(said.context_id if self._request.has_contexts and said.context_id else UNNAMED, said)

    def _obey_in(self, name: str, said: Said) -> None:
        if said.close_context:
            self._close(name)
            return
        if name not in self._contexts:
            if self._request.has_contexts and not said.text:
                return  # Nothing to flush, or to keep alive, that was not over already.
            self._open(name, said)
        if said.text == "" and not self._request.has_contexts:
            self._close(name)
            return
        self._say(name, said.text or "")
        if said.flush or (self._request.query.auto_mode and (said.text or "").strip()):
            self._caller.send(Flush(context=name))

    def _open(self, name: str, said: Said) -> None:
        speed = said.voice_settings.speed if said.voice_settings is not None else None
        self._contexts[name] = _Spoken(speed=speed or 1.0)
        # Conversations are interrupted, so they run no further ahead than others; a single text is for a file, too.
        lead_ms = None if self._request.has_contexts else 0
        self._caller.send(
            Open(
                context=name,
                voice=self._request.voice,
                format="pcm_s16le",
                seed=self._request.query.seed,
                max_lead_ms=lead_ms,
            )
        )

    def _say(self, name: str, text: str) -> None:
        context = self._contexts[name]
        # A context opens with a blank, which is not spoken.
        if context.has_text or text.strip():
            context.has_text = True
            self._caller.send(Text(context=name, text=text))

    def _close(self, name: str) -> None:
        """No more text. Again: nobody listens any more; a framework that was interrupted says so."""
        context = self._contexts.get(name)
        if context is None:
            return
        self._caller.send(Cancel(context=name) if context.is_closed else Close(context=name))
        context.is_closed = True

    # What the client hears.

    async def _speak(self) -> None:
        while frames := await self._caller.take():
            for event in map(parse, frames):
                await self._take_in(event)
            for name in list(self._contexts):
                await self._speak_of(name)
            if self._is_leaving and not self._contexts:
                break
        await self._socket.close(1000)

    async def _take_in(self, event: ServerEvent) -> None:
        if isinstance(event, Ready):
            return
        if isinstance(event, Error):
            await self._fail(event)
            return
        if isinstance(event, Opened):
            self._streams[event.stream] = event.context
            rate_hz, context = event.sample_rate, self._contexts[event.context]
            context.heard = HeardContext(
                event.context if self._request.has_contexts else None,
                self._request.query,
                rate_hz=rate_hz,
                speed=context.speed,
            )
        name = self._streams.get(event.stream) if isinstance(event, AudioFrame) else event.context
        heard = self._contexts[name].heard if name in self._contexts else None
        if heard is not None:
            heard.take_in(event)

    async def _speak_of(self, name: str) -> None:
        heard = self._contexts[name].heard
        if heard is None:
            return
        for message in await heard.messages():
            await self._send(write(message))
        if heard.is_over:
            del self._contexts[name]
            self._streams = {stream: context for stream, context in self._streams.items() if context != name}
            self._is_leaving = self._is_leaving or not self._request.has_contexts

    async def _fail(self, error: Error) -> None:
        """Of one context, and of that alone. One that never opened is forgotten."""
        name = error.context
        reported = name if self._request.has_contexts else None
        await self._send(_failed(ClientError(error.code, error.message, context=name), reported))
        if name in self._contexts and self._contexts[name].heard is None:
            del self._contexts[name]
            self._is_leaving = self._is_leaving or not self._request.has_contexts

    async def _send(self, message: str) -> None:
        await asyncio.wait_for(self._socket.send(message), self._hub.limits.reader_idle_ms / 1000)


def _failed(error: ClientError, context: str | None) -> str:
    name = _NAMES.get(error.wire_code, error.wire_code)
    return write(Failed(error=name, message=error.message, code=POLICY, context_id=context))
