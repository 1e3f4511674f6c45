"""An HTTP answer that is spoken: its body grows while the engine speaks, and whoever goes away stops it.

Errors before the first sound are ordinary responses; later ones cut the body short, so that nobody takes it for whole.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from http import HTTPStatus

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from bark_server.doors.api_error import ApiError, of_client_error
from bark_server.doors.caller import Speech
from bark_server.errors import ClientError
from bark_server.hub import Hub
from bark_server.messages import Open
from bark_server.sound import SoundFormat, SoundStream
from bark_stream.provenance import VoiceOrigin

EVENT_STREAM = "text/event-stream"
CLONED_COMMENT = "Synthetic speech with a voice that was cloned from a person's, who agreed"
SEMANTIC_TOKENS_PER_S = 49.9
"""Of audio: what is counted as output."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """What is to be spoken, and how."""

    request: Open
    text: str
    sound: SoundFormat
    speed: float
    as_events: bool
    """Server-sent events instead of the bare sound."""


class SpokenResponse(Response):
    def __init__(self, hub: Hub, wish: Wish) -> None:
        super().__init__(media_type=EVENT_STREAM if wish.as_events else wish.sound.content_type)
        del self.headers["content-length"]
        self._hub = hub
        self._wish = wish
        self._num_samples = 0
        origin = _origin(hub, wish.request.voice)
        self._tags = {"comment": CLONED_COMMENT} if origin == "cloned" else {}
        if origin is not None:
            self.headers["x-voice-origin"] = origin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _unless_gone(self._speak(scope, receive, send), receive)

    async def _speak(self, scope: Scope, receive: Receive, send: Send) -> None:
        wish = self._wish
        async with Speech(self._hub, wish.request) as speech:
            speech.say(wish.text)
            speech.end()
            pieces = self._pieces(speech)
            try:
                first = await anext(pieces, None)
            except ClientError as error:
                await of_client_error(error).response()(scope, receive, send)
                return
            if first is None:
                await _nothing_to_say().response()(scope, receive, send)
                return
            await self._send(send, {"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await self._send_body(send, self._event(first))
            try:
                async for piece in pieces:
                    await self._send_body(send, self._event(piece))
            except ClientError as error:
                if not wish.as_events:
                    raise
                await self._send_body(send, _sse({"type": "error", **of_client_error(error).body}))
            else:
                await self._send_body(send, self._farewell())
            await self._send(send, {"type": "http.response.body", "body": b"", "more_body": False})

    async def _pieces(self, speech: Speech) -> AsyncIterator[bytes]:
        """Of the encoded sound. Encoding leaves the event loop to others."""
        rate_hz = self._hub.model.sample_rate_hz
        stream = SoundStream(self._wish.sound, rate_hz=rate_hz, speed=self._wish.speed, tags=self._tags)
        async for pcm in speech.pcm():
            self._num_samples += len(pcm)
            if piece := await asyncio.to_thread(stream.push, pcm):
                yield piece
        if self._num_samples and (piece := await asyncio.to_thread(stream.end)):
            yield piece

    def _event(self, piece: bytes) -> bytes:
        if not self._wish.as_events:
            return piece
        return _sse({"type": "speech.audio.delta", "audio": base64.b64encode(piece).decode()})

    def _farewell(self) -> bytes:
        """The last event. Input is counted in characters, output in semantic tokens."""
        if not self._wish.as_events:
            return b""
        num_in = len(self._wish.text)
        num_out = round(self._num_samples / self._hub.model.sample_rate_hz * SEMANTIC_TOKENS_PER_S)
        usage = {"input_tokens": num_in, "output_tokens": num_out, "total_tokens": num_in + num_out}
        return _sse({"type": "speech.audio.done", "usage": usage})

    async def _send_body(self, send: Send, body: bytes) -> None:
        if body:
            await self._send(send, {"type": "http.response.body", "body": body, "more_body": True})

    async def _send(self, send: Send, message: dict[str, object]) -> None:
        """Raises: TimeoutError when the client takes nothing for too long."""
        await asyncio.wait_for(send(message), self._hub.limits.reader_idle_ms / 1000)


def _origin(hub: Hub, voice: str | None) -> VoiceOrigin | None:
    """Of the voice that will speak; None where there is none of that name, which its opening will say."""
    name = hub.model.default_voice if voice is None else voice
    return hub.model.voice_origin(name) if name is not None and name in hub.model.voices else None


async def _unless_gone(work: Awaitable[None], receive: Receive) -> None:
    """Do the work until the client, whose request has been read, goes away."""
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(receive())
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
    finally:
        leaving.cancel()
        working.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


def _nothing_to_say() -> ApiError:
    message = "the text holds nothing that can be spoken"
    return ApiError(HTTPStatus.BAD_REQUEST, message, code="empty_text", param="input")


def _sse(event: dict[str, object]) -> bytes:
    return b"data: " + json.dumps(event).encode() + b"\n\n"
