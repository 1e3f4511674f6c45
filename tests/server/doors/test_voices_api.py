"""Cloning over HTTP: a real studio of a tiny model, a real port, an engine that plays a prepared sound."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from bark_server.app import BarkServer
from bark_server.config import ServerConfig
from bark_server.doors.http import HttpDoor
from bark_server.limits import Limits
from bark_server.logs import EventLog
from bark_server.prepared import PreparedEngine
from counting_ear import CountingEar
from harness import RATE_HZ, voice_like

from bark_stream.audio_file import AudioWriter
from bark_stream.checkpoint import Checkpoint
from bark_stream.cloning.studio import Studio
from bark_stream.errors import ConfigError
from bark_stream.provenance import VoiceOrigin
from bark_stream.voice_store import VoiceStore

SAMPLE = (Path(__file__).parents[2] / "samples" / "woman.ogg").read_bytes()
CONSENT = "A. Speaker, by mail, 2026-11-01"
KEY = {"Authorization": "Bearer may-clone"}
SPEAKING_KEY = {"Authorization": "Bearer may-speak"}


class StoreEngine(PreparedEngine):
    """Knows the voices that a store has now."""

    def __init__(self, store: VoiceStore) -> None:
        self._store = store
        super().__init__(voice_like(RATE_HZ))

    @property
    def voices(self) -> tuple[str, ...]:
        return ("en_speaker_0", "prepared", *self._store.names())

    @voices.setter
    def voices(self, voices: tuple[str, ...]) -> None:
        """They are the store's."""

    def voice_origin(self, voice: str) -> VoiceOrigin:
        return "cloned" if voice in self._store else "preset"


class Cloning:
    """A server that may clone, and its client."""

    def __init__(self, checkpoint: Checkpoint, folder: Path, **limits: int) -> None:
        torch.set_num_threads(1)
        self.store = VoiceStore(folder / "voices")
        config = ServerConfig(
            port=0,
            http_port=0,
            allow_cloning=True,
            api_keys=("may-speak",),
            cloning_keys=("may-clone",),
            limits=Limits(**limits),
        )
        self.log = io.StringIO()
        self.server = BarkServer(
            config,
            lambda: StoreEngine(self.store),
            log=EventLog(self.log),
            make_studio=lambda: Studio(checkpoint, self.store, CountingEar()),
        )

    async def __aenter__(self) -> httpx.AsyncClient:
        await self.server.start()
        (door,) = [door for door in self.server._doors if isinstance(door, HttpDoor)]
        self.client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{door.port}/v1", headers=KEY, timeout=60)
        return self.client

    async def __aexit__(self, *exc: object) -> None:
        await self.client.aclose()
        await self.server.close()


@pytest.fixture
async def client(tiny_checkpoint: Checkpoint, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with Cloning(tiny_checkpoint, tmp_path) as client:
        yield client


def post(client: httpx.AsyncClient, sample: bytes = SAMPLE, **fields: str) -> Any:
    data = {"name": "alice", "consent": CONSENT, **fields}
    return client.post("/audio/voices", data=data, files={"audio_sample": ("../../evil.ogg", sample)})


async def names(client: httpx.AsyncClient) -> list[str]:
    return [voice["id"] for voice in (await client.get("/audio/voices")).json()["voices"]]


async def test_cloned_voice_is_listed_spoken_with_and_deleted(client: httpx.AsyncClient) -> None:
    """A voice that is cloned can be spoken with at once, says so in the sound file, and is gone when deleted."""
    made = await post(client)
    assert made.status_code == 201
    assert made.json()["origin"] == "cloned"
    assert made.json()["sample_s"] == pytest.approx(6.3, abs=0.5)
    assert await names(client) == ["en_speaker_0", "prepared", "alice"]
    body = {"model": "tts-1", "voice": "alice", "input": "Hm.", "response_format": "wav"}
    sound = await client.post("/audio/speech", json=body)
    assert sound.status_code == 200
    assert sound.headers["x-voice-origin"] == "cloned"
    assert b"cloned" in sound.content
    for response_format in ("mp3", "opus", "flac", "aac"):
        tagged = await client.post("/audio/speech", json={**body, "response_format": response_format})
        assert b"cloned" in tagged.content
    assert (await post(client)).status_code == 409
    gone = await client.delete("/audio/voices/alice")
    assert gone.json() == {"id": "alice", "object": "audio.voice", "deleted": True}
    assert await names(client) == ["en_speaker_0", "prepared"]
    assert (await client.post("/audio/speech", json=body)).status_code == 400


async def test_only_a_cloning_key_may_clone_or_delete(client: httpx.AsyncClient) -> None:
    """No key: 401. A key that may speak: 403, typed. Both may not delete either."""
    for headers, status, code in (
        ({"Authorization": ""}, 401, "invalid_api_key"),
        (SPEAKING_KEY, 403, "cloning_not_allowed"),
    ):
        client.headers = httpx.Headers(headers)
        for answer in (await post(client), await client.delete("/audio/voices/en_speaker_0")):
            assert answer.status_code == status
            assert answer.json()["error"]["code"] == code
    client.headers = httpx.Headers(KEY)
    assert await names(client) == ["en_speaker_0", "prepared"]


async def test_bad_requests_are_refused_by_name(client: httpx.AsyncClient) -> None:
    """Each fault has its status, code and field, and none leaves a voice."""
    short = io.BytesIO()
    with AudioWriter(short, 24_000) as writer:
        writer.write(np.sin(np.arange(24_000, dtype=np.float32) / 20) / 2)
    cases: list[tuple[Any, int, str, str | None]] = [
        (post(client, consent=" "), 400, "missing_consent", "consent"),
        (post(client, name="../alice"), 400, "bad_voice_name", "name"),
        (post(client, name="en_speaker_0"), 409, "voice_exists", "name"),
        (post(client, b"no sound"), 400, "bad_audio", "audio_sample"),
        (post(client, short.getvalue()), 400, "sample_too_short", "audio_sample"),
        (client.post("/audio/voices", json={"name": "alice"}), 400, "invalid_form", None),
        (client.post("/audio/voices", data={"name": "a"}, files={"x": b""}), 400, "missing_consent", "consent"),
        (
            client.post("/audio/voices", content=b"x", headers={"Content-Type": "multipart/form-data"}),
            400,
            "invalid_form",
            None,
        ),
        (client.delete("/audio/voices/en_speaker_0"), 404, "unknown_voice", "name"),
        (client.delete("/audio/voices/..%2Falice"), 404, "not_found", None),
    ]
    for request, status, code, param in cases:
        answer = await request
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
        assert answer.json()["error"]["param"] == param
    assert await names(client) == ["en_speaker_0", "prepared"]


async def test_samples_are_bounded_in_size_number_and_rate(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    """413, 507 and 429, each with the limit's number; the log holds neither name nor consent."""
    cloning = Cloning(tiny_checkpoint, tmp_path, max_sample_bytes=70_000, max_clones_per_hour=2, max_voices=1)
    async with cloning as client:
        assert (await post(client, SAMPLE + bytes(20_000))).status_code == 413
        assert (await post(client)).status_code == 201
        full = await post(client, name="bob")
        assert (full.status_code, full.json()["error"]["code"]) == (507, "too_many_voices")
        await client.delete("/audio/voices/alice")
        assert (await post(client)).status_code == 201
        await client.delete("/audio/voices/alice")
        late = await post(client)
        assert (late.status_code, late.json()["error"]["code"]) == (429, "rate_limited")
        assert 3500 < int(late.headers["Retry-After"]) <= 3600
        assert "Speaker" not in cloning.log.getvalue()


async def test_cloning_is_off_unless_allowed(live: Any) -> None:
    """A server that was not told to clone does not know the request."""
    server = await live.start(http_port=0, cloning_keys=("may-clone",))
    (door,) = [door for door in server._doors if isinstance(door, HttpDoor)]
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{door.port}/v1", headers=KEY) as client:
        assert (await post(client)).status_code == 405
        assert (await client.delete("/audio/voices/alice")).status_code == 404


@pytest.mark.parametrize("missing", [{"http_port": 0}, {"cloning_keys": ("k",)}])
def test_allow_cloning_without_keys_or_door_is_refused(missing: dict[str, Any]) -> None:
    """Nobody's mistake may let everybody clone."""
    with pytest.raises(ConfigError, match="cloning_keys"):
        ServerConfig(allow_cloning=True, **missing)
