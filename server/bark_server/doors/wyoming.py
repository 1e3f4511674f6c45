"""The Wyoming door, through which Home Assistant speaks: text in events, whole or in pieces, 16-bit PCM out.

    describe                                               -> info
    synthesize                                             -> audio-start, audio-chunk …, audio-stop
    synthesize-start, synthesize-chunk …, synthesize-stop  -> the same while text comes, then synthesize-stopped

The protocol has no keys, no TLS and no word for an interruption: whoever wants silence closes the connection. Knows the
hub and no engine.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bark_server.doors.caller import CONTEXT, SAMPLE_BYTES, Speech
from bark_server.doors.door import Reception
from bark_server.doors.wyoming_events import Event, encode_event, read_event
from bark_server.errors import ClientError
from bark_server.hub import Hub
from bark_server.messages import Open
from bark_server.services import Model

NAME = "bark-stream"
ATTRIBUTION = {"name": "Suno", "url": "https://github.com/suno-ai/bark"}
DEFAULT_LANGUAGE = "en"
"""Of voices whose names do not tell."""
_LANGUAGE = re.compile(r"(?:^|/)([a-z]{2})_speaker_")


class WyomingDoor:
    def __init__(self, reception: Reception, *, port: int) -> None:
        self._reception = reception
        self._port = port
        self._server: asyncio.Server | None = None
        self._talks: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """The port that is listened on."""
        if self._server is None:
            return self._port
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def url(self) -> str:
        return f"tcp://{self._reception.config.host}:{self.port}"

    async def start(self) -> None:
        """Raises: OSError when the port cannot be had."""
        config = self._reception.config
        self._server = await asyncio.start_server(
            self._talk, config.host, self._port, limit=config.limits.max_body_bytes
        )

    async def close(self) -> None:
        """Hang up and stop listening."""
        if self._server is not None:
            self._server.close()
        for talk in self._talks:
            talk.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._talks) >= self._reception.config.limits.max_connections:
            writer.close()
            return
        self._talks.add(task)
        try:
            await _Talk(self._reception, reader, writer).run()
        except (ConnectionError, asyncio.TimeoutError, asyncio.CancelledError):
            pass  # Somebody hung up.
        finally:
            self._talks.discard(task)
            writer.close()


class _Talk:
    """One connection. Its requests are spoken one after the other."""

    def __init__(self, reception: Reception, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reception = reception
        self._limits = reception.config.limits
        self._reader = reader
        self._writer = writer
        self._is_in_stream = False
        """Between `synthesize-start` and `synthesize-stop`."""
        self._speech: Speech | None = None
        """Of the text that comes in pieces, unless it has failed."""
        self._speaking: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Raises: ConnectionError, TimeoutError when nothing comes or nothing is read for too long."""
        try:
            while (event := await self._next()) is not None:
                await self._obey(event)
        except ClientError as error:
            await self._write(_error(error))
        finally:
            if self._speaking is not None:
                self._speaking.cancel()
                await asyncio.gather(self._speaking, return_exceptions=True)

    async def _next(self) -> Event | None:
        """Raises: ClientError for what is no event."""
        reading = read_event(self._reader, max_bytes=self._limits.max_body_bytes)
        return await asyncio.wait_for(reading, self._limits.session_idle_ms / 1000)

    async def _obey(self, event: Event) -> None:
        """Events that are not known are passed over."""
        if event.type == "describe":
            await self._describe()
        elif event.type == "ping":
            await self._write(encode_event("pong", {"text": event.data.get("text")}))
        # Inside a stream it is the whole text once more, for servers that cannot take it in pieces.
        elif event.type == "synthesize" and not self._is_in_stream:
            await self._start(event, is_whole=True)
        elif event.type == "synthesize-start":
            self._end_stream()
            self._is_in_stream = True
            await self._start(event, is_whole=False)
        elif event.type == "synthesize-chunk" and self._speech is not None:
            self._speech.say(_text(event))
        elif event.type == "synthesize-stop":
            self._end_stream()

    def _end_stream(self) -> None:
        self._is_in_stream = False
        if self._speech is not None:
            self._speech.end()
            self._speech = None

    async def _describe(self) -> None:
        hub = self._reception.hub()
        if hub is None:
            await self._write(_error(ClientError("overloaded", "warming up")))
        else:
            await self._write(encode_event("info", _info(hub.model)))

    async def _start(self, event: Event, *, is_whole: bool) -> None:
        """Begin to speak as soon as the request before has been spoken."""
        if self._speaking is not None:
            await self._speaking
        refusal, hub = self._reception.refusal(key=None), self._reception.hub()
        if refusal is not None or hub is None:
            reason = "warming up" if refusal is None else refusal.reason
            await self._refuse(ClientError("overloaded", reason), is_whole=is_whole)
            return
        speech = Speech(hub, Open(context=CONTEXT, voice=_voice(event, hub.model), format="pcm_s16le", max_lead_ms=0))
        if is_whole:
            speech.say(_text(event))
            speech.end()
        else:
            self._speech = speech
        self._speaking = asyncio.ensure_future(self._speak(hub, speech, is_whole=is_whole))

    async def _speak(self, hub: Hub, speech: Speech, *, is_whole: bool) -> None:
        sound = {"rate": hub.model.sample_rate_hz, "width": SAMPLE_BYTES, "channels": 1}
        num_samples = 0
        async with speech:
            await self._write(encode_event("audio-start", {**sound, "timestamp": 0}))
            try:
                async for pcm in speech.pcm():
                    time_ms = round(num_samples * 1000 / hub.model.sample_rate_hz)
                    await self._write(encode_event("audio-chunk", {**sound, "timestamp": time_ms}, _payload(pcm)))
                    num_samples += len(pcm)
            except ClientError as error:
                self._speech = None if self._speech is speech else self._speech
                await self._write(_error(error))
            await self._write(_end(is_whole))

    async def _refuse(self, error: ClientError, *, is_whole: bool) -> None:
        """Clients wait for the end, whatever happened."""
        await self._write(_error(error) + _end(is_whole))

    async def _write(self, data: bytes) -> None:
        self._writer.write(data)
        await asyncio.wait_for(self._writer.drain(), self._limits.reader_idle_ms / 1000)


def _end(is_whole: bool) -> bytes:
    return encode_event("audio-stop") + (b"" if is_whole else encode_event("synthesize-stopped"))


def _error(error: ClientError) -> bytes:
    return encode_event("error", {"text": error.message, "code": error.wire_code})


def _payload(pcm: NDArray[np.int16]) -> bytes:
    return pcm.astype("<i2").tobytes()


def _text(event: Event) -> str:
    text = event.data.get("text")
    return text if isinstance(text, str) else ""


def _voice(event: Event, model: Model) -> str | None:
    """By name, else the first of the language, else the model's own."""
    wanted = event.data.get("voice")
    wanted = wanted if isinstance(wanted, dict) else {}
    name, language = wanted.get("name"), wanted.get("language")
    if isinstance(name, str):
        return name
    if isinstance(language, str) and model.default_voice is not None:
        candidates = [model.default_voice, *model.voices]
        return next((voice for voice in candidates if _language(voice) == language[:2].lower()), model.default_voice)
    return None


def _language(voice: str) -> str:
    match = _LANGUAGE.search(voice)
    return DEFAULT_LANGUAGE if match is None else match.group(1)


def _info(model: Model) -> dict[str, Any]:
    voices = [{**_artifact(voice), "languages": [_language(voice)]} for voice in model.voices]
    program = {**_artifact(NAME), "description": f"Bark that streams ({model.name})"}
    return {"tts": [{**program, "voices": voices, "supports_synthesize_streaming": True}]}


def _artifact(name: str) -> dict[str, Any]:
    return {"name": name, "description": name, "attribution": ATTRIBUTION, "installed": True, "version": None}
