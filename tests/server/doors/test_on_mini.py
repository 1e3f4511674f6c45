"""The doors on the built-in model: what comes out is speech, in voices and with times of the model's own."""

from __future__ import annotations

import asyncio
import base64
import io
import json

import numpy as np
import openai
import pytest
from bark_server.app import BarkServer
from bark_server.config import ServerConfig
from bark_server.doors.http import HttpDoor
from bark_server.doors.wyoming import WyomingDoor
from bark_server.logs import EventLog
from numpy.typing import NDArray
from websockets.asyncio.client import connect
from wyoming.client import AsyncTcpClient
from wyoming.tts import Synthesize, SynthesizeVoice

from bark_stream.audio_file import read_audio
from bark_stream.bark import load
from bark_stream.engine import Engine

TEXT = "Good morning."


@pytest.mark.slow
async def test_every_door_speaks_with_mini() -> None:
    """One server, three doors at the same time, each with another voice: sound of a likely length and loudness."""
    config = ServerConfig(port=0, http_port=0, wyoming_port=0, elevenlabs=True)
    server = BarkServer(config, lambda: Engine(load("mini", num_slots=4)), log=EventLog(io.StringIO()))
    await server.start()
    try:
        spoken = await asyncio.gather(_openai(server), _elevenlabs(server), _wyoming(server))
    finally:
        await server.close()
    for pcm in spoken:
        assert 0.4 * 24_000 < len(pcm) < 6 * 24_000
        assert np.sqrt(np.mean(pcm**2)) > 0.005


async def _openai(server: BarkServer) -> NDArray[np.float64]:
    (port,) = [door.port for door in server._doors if isinstance(door, HttpDoor)]
    async with openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="-", max_retries=0) as client:
        response = await client.audio.speech.create(model="tts-1", voice="ash", input=TEXT, response_format="mp3")
    pcm, rate_hz = read_audio(io.BytesIO(response.content))
    assert rate_hz == 24_000
    return pcm


async def _elevenlabs(server: BarkServer) -> NDArray[np.float64]:
    query = "output_format=pcm_24000&sync_alignment=true"
    url = f"ws://127.0.0.1:{server.port}/v1/text-to-speech/en_speaker_2/stream-input?{query}"
    sound, characters = b"", ""
    async with connect(url) as client:
        await client.send(json.dumps({"text": TEXT}))
        await client.send(json.dumps({"text": ""}))
        async for data in client:
            message = json.loads(data)
            sound += base64.b64decode(message.get("audio", ""))
            characters += "".join(message.get("alignment", {"chars": []})["chars"])
    assert characters.rstrip() == TEXT
    return np.frombuffer(sound, dtype="<i2") / 32767


async def _wyoming(server: BarkServer) -> NDArray[np.float64]:
    (port,) = [door.port for door in server._doors if isinstance(door, WyomingDoor)]
    sound = b""
    async with AsyncTcpClient("127.0.0.1", port, read_timeout=60) as client:
        await client.write_event(Synthesize(TEXT, voice=SynthesizeVoice(name="en_speaker_3")).event())
        while (event := await client.read_event()) is not None and event.type != "audio-stop":
            assert event.type != "error"
            sound += event.payload or b""
    return np.frombuffer(sound, dtype="<i2") / 32767
