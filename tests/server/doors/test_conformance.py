"""Every door says what our own protocol says: the recorded sessions through each."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import httpx
from bark_server.app import BarkServer
from bark_server.doors.http import HttpDoor
from bark_server.doors.wyoming import WyomingDoor
from conformance import Heard, Turn, check
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from wyoming.client import AsyncTcpClient
from wyoming.tts import SynthesizeChunk, SynthesizeStart, SynthesizeStop, SynthesizeVoice


async def test_openai_door_says_the_recorded_sessions(live: Any) -> None:
    """The whole text in a request; an interruption closes the response."""
    await check(live, _speak_openai, http_port=0)


async def test_elevenlabs_door_says_the_recorded_sessions(live: Any) -> None:
    """Slice by slice in a context; an interruption closes it twice."""
    await check(live, _speak_elevenlabs, elevenlabs=True)


async def test_wyoming_door_says_the_recorded_sessions(live: Any) -> None:
    """Slice by slice; an interruption hangs up."""
    await check(live, _speak_wyoming, wyoming_port=0)


async def _speak_openai(server: BarkServer, turn: Turn) -> Heard:
    (port,) = [door.port for door in server._doors if isinstance(door, HttpDoor)]
    body = {"model": "tts-1", "voice": turn.voice, "input": turn.text, "response_format": "pcm"}
    async with httpx.AsyncClient(verify=False) as http:
        url = f"http://127.0.0.1:{port}/v1/audio/speech"
        async with http.stream("POST", url, json=body) as response:
            pieces = response.aiter_bytes()
            pcm = await anext(pieces, b"")
            if response.status_code != 200:
                return Heard(b"", has_failed=True)
            async for piece in pieces:
                if turn.is_cancelled:
                    break
                pcm += piece
    return Heard(pcm)


async def _speak_elevenlabs(server: BarkServer, turn: Turn) -> Heard:
    query = "output_format=pcm_24000"
    url = f"ws://127.0.0.1:{server.port}/v1/text-to-speech/{turn.voice}/multi-stream-input?{query}"
    try:
        async with connect(url) as client:
            await client.send(json.dumps({"text": " ", "context_id": "a"}))
            for text in turn.slices:
                await client.send(json.dumps({"text": text, "context_id": "a"}))
            return await _hear_elevenlabs(client, turn)
    except InvalidStatus:
        return Heard(b"", has_failed=True)


async def _hear_elevenlabs(client: Any, turn: Turn) -> Heard:
    pcm, has_failed = b"", False
    close = json.dumps({"context_id": "a", "close_context": True})
    await client.send(close)
    while True:
        message = json.loads(await asyncio.wait_for(client.recv(), 20))
        has_failed = has_failed or "error" in message
        pcm += base64.b64decode(message.get("audio", ""))
        if message.get("isFinal"):
            return Heard(pcm, has_failed)
        if turn.is_cancelled:
            await client.send(close)


async def _speak_wyoming(server: BarkServer, turn: Turn) -> Heard:
    (port,) = [door.port for door in server._doors if isinstance(door, WyomingDoor)]
    pcm, has_failed = b"", False
    async with AsyncTcpClient("127.0.0.1", port, read_timeout=20) as client:
        await client.write_event(SynthesizeStart(voice=SynthesizeVoice(name=turn.voice)).event())
        for text in turn.slices:
            await client.write_event(SynthesizeChunk(text).event())
        await client.write_event(SynthesizeStop().event())
        while (event := await client.read_event()) is not None and event.type != "synthesize-stopped":
            has_failed = has_failed or event.type == "error"
            pcm += event.payload or b""
            if turn.is_cancelled and pcm:
                break
    return Heard(pcm, has_failed)
