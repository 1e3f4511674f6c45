"""The server on the real engine: small random weights, a real port, real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import numpy as np
import pytest
from bark_server.app import BarkServer
from bark_server.config import ServerConfig
from bark_server.frames import unpack
from bark_server.logs import EventLog
from harness import decode_pcm
from websockets.asyncio.client import ClientConnection, connect

from bark_stream.bark import Bark
from bark_stream.config import ChunkPolicy
from bark_stream.engine import Engine
from bark_stream.events import Chunk
from bark_stream.sentences import SentenceStream

if TYPE_CHECKING:
    from bark_stream.checkpoint import Checkpoint

TEXT = "Hello there, my good old friend."


@pytest.fixture
async def served(tiny_checkpoint: Checkpoint) -> AsyncIterator[tuple[BarkServer, Bark]]:
    bark = Bark(tiny_checkpoint, num_slots=4)
    server = BarkServer(ServerConfig(port=0), lambda: Engine(bark), log=EventLog(io.StringIO()))
    await server.start()
    yield server, bark
    await server.close()


@contextlib.asynccontextmanager
async def _client(server: BarkServer) -> AsyncIterator[ClientConnection]:
    url = f"ws://127.0.0.1:{server.port}/v1/stream"
    async with connect(url, compression=None, max_queue=None) as client:
        await client.recv()
        yield client


async def test_served_audio_is_the_models(served: tuple[BarkServer, Bark]) -> None:
    """Over the wire comes what the model says without a server, sample for sample."""
    server, bark = served
    async with _client(server) as client:
        opening = {"type": "open", "context": "a", "format": "pcm_s16le", "seed": 3, "max_lead_ms": 0}
        for message in (opening, {"type": "text", "context": "a", "text": TEXT}, {"type": "close", "context": "a"}):
            await client.send(json.dumps(message))
        payloads, done = [], None
        while done is None:
            frame = await asyncio.wait_for(client.recv(), 60)
            if isinstance(frame, bytes):
                payloads.append(unpack(frame).payload)
            elif json.loads(frame)["type"] == "done":
                done = json.loads(frame)
    sentences = SentenceStream()
    (sentence,) = [*sentences.push(TEXT), *sentences.flush()]
    policy = ChunkPolicy.realtime()
    state = bark.begin(bark.config.default_voice, seed=3, policy=policy)
    events = list(bark.speak(sentence, state, policy=policy, sampling=bark.config.sampling))
    made = np.concatenate([event.pcm for event in events if isinstance(event, Chunk)])
    assert done["audio_samples"] == len(made)
    assert np.allclose(decode_pcm(payloads)[: len(made)], np.clip(made, -1, 1), atol=1e-3)


async def test_cancel_frees_the_engine(served: tuple[BarkServer, Bark]) -> None:
    """After `cancelled` the engine holds no stream of that context and makes nothing more for it."""
    server, _ = served
    async with _client(server) as client:
        await client.send(json.dumps({"type": "text", "context": "a", "text": TEXT * 20}))
        while not isinstance(await asyncio.wait_for(client.recv(), 60), bytes):
            pass
        await client.send(json.dumps({"type": "cancel", "context": "a"}))
        frame: str | bytes = b""
        while isinstance(frame, bytes) or json.loads(frame)["type"] != "cancelled":
            frame = await asyncio.wait_for(client.recv(), 60)
        assert server._engine is not None
        stats = server._engine.stats()
        assert (stats.num_streams, stats.num_running, stats.num_waiting) == (0, 0, 0)
