"""ElevenLabs' protocol on the WebSocket's port: its own client, and sockets that say what others' clients say."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bark_server.app import BarkServer
from bark_server.doors.characters import CharacterClock
from bark_server.limits import Limits
from bark_server.messages import SentenceStarted, Words, WordTime
from bark_server.prepared import S_PER_CHARACTER
from certificates import self_signed
from elevenlabs.client import ElevenLabs
from harness import RATE_HZ, voice_like
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from bark_stream.audio_file import read_audio

HELLO = "Hello there, my good old friend. How are you doing on this fine day? "
HELLO_S = (len(HELLO) - 2) * S_PER_CHARACTER
MULTI = "multi-stream-input"


def _url(server: BarkServer, kind: str, query: str, voice: str = "prepared") -> str:
    return f"ws://127.0.0.1:{server.port}/v1/text-to-speech/{voice}/{kind}?{query}"


@contextlib.asynccontextmanager
async def _client(
    server: BarkServer, kind: str = "stream-input", query: str = "output_format=pcm_24000", **options: Any
) -> AsyncIterator[ClientConnection]:
    async with connect(_url(server, kind, query), max_queue=None, **options) as client:
        yield client


async def _say(client: ClientConnection, **fields: Any) -> None:
    await client.send(json.dumps(fields))


async def _until_final(client: ClientConnection, context: str | None = None) -> list[dict[str, Any]]:
    """Messages of one context, up to its last."""
    heard: list[dict[str, Any]] = []
    while not heard or not heard[-1].get("isFinal"):
        message = json.loads(await asyncio.wait_for(client.recv(), 20))
        if message.get("contextId") == context:
            heard.append(message)
    return heard


def _sound(messages: list[dict[str, Any]]) -> bytes:
    return b"".join(base64.b64decode(message.get("audio", "")) for message in messages)


def _text(messages: list[dict[str, Any]]) -> str:
    return "".join("".join(message["alignment"]["chars"]) for message in messages if "alignment" in message)


@pytest.mark.filterwarnings("ignore:ConnectionClosed.code is deprecated:DeprecationWarning")
async def test_own_client_hears_all_of_the_text(live: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The official package's `convert_realtime`, unchanged, over TLS, with its key; MP3 unless it asks otherwise."""
    certificate = self_signed(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    server = await live.start(elevenlabs=True, tls_cert=certificate, api_keys=("sesame",))

    def speak() -> bytes:
        client = ElevenLabs(base_url=f"https://127.0.0.1:{server.port}", api_key="sesame")
        tokens = iter(HELLO.split(" "))
        words = (f"{token} " for token in tokens if token)
        return b"".join(client.text_to_speech.convert_realtime("prepared", text=words, model_id="eleven_flash_v2_5"))

    pcm, rate_hz = read_audio(io.BytesIO(await asyncio.to_thread(speak)))
    assert rate_hz == 44_100
    assert len(pcm) / rate_hz == pytest.approx(HELLO_S, abs=0.15)


async def test_stream_input_ends_with_its_text(live: Any) -> None:
    """The engine's sound to the sample, then `isFinal`, then the socket closes by itself."""
    server = await live.start(elevenlabs=True)
    async with _client(server) as client:
        await _say(
            client, text=" ", voice_settings={"stability": 0.5}, generation_config={"chunk_length_schedule": [50]}
        )
        for word in HELLO.split():
            await _say(client, text=f"{word} ", try_trigger_generation=True)
        await _say(client, text="")
        messages = await _until_final(client)
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert client.close_code == 1000
    pcm = np.frombuffer(_sound(messages), dtype="<i2") / 32767
    assert len(pcm) / RATE_HZ == pytest.approx(HELLO_S, abs=0.07)
    assert np.abs(pcm - np.resize(voice_like(RATE_HZ), len(pcm))).max() < 1e-4


@pytest.mark.parametrize(
    ("output_format", "num_bytes_per_s"),
    [
        ("pcm_16000", 32_000),
        ("pcm_44100", 88_200),
        ("ulaw_8000", 8_000),
        ("mp3_44100_128", 16_000),
    ],
)
async def test_output_format_is_as_asked(live: Any, output_format: str, num_bytes_per_s: int) -> None:
    """Rates and bit rates as their names say."""
    server = await live.start(elevenlabs=True)
    async with _client(server, query=f"output_format={output_format}") as client:
        await _say(client, text=HELLO)
        await _say(client, text="")
        sound = _sound(await _until_final(client))
    assert len(sound) == pytest.approx(HELLO_S * num_bytes_per_s, rel=0.25)


async def test_output_as_opus_is_readable(live: Any) -> None:
    """Ogg Opus, as long as the text."""
    server = await live.start(elevenlabs=True)
    async with _client(server, query="output_format=opus_48000_64") as client:
        await _say(client, text=HELLO)
        await _say(client, text="")
        pcm, rate_hz = read_audio(io.BytesIO(_sound(await _until_final(client))))
    assert len(pcm) / rate_hz == pytest.approx(HELLO_S, abs=0.1)


@pytest.mark.parametrize("sync", [False, True])
async def test_alignment_follows_the_sound(live: Any, sync: bool) -> None:
    """Every character once and in order; times count from where the message before ended, or from the start."""
    server = await live.start(elevenlabs=True)
    query = f"output_format=pcm_24000&sync_alignment={str(sync).lower()}"
    async with _client(server, query=query) as client:
        await _say(client, text=HELLO)
        await _say(client, text="")
        messages = await _until_final(client)
    assert _text(messages).rstrip() == HELLO.rstrip()
    aligned_ms, sound_ms = 0.0, 0.0
    for message in messages[:-1]:
        sound_ms += len(base64.b64decode(message["audio"])) / 2 / RATE_HZ * 1000
        if "alignment" not in message:
            continue
        alignment = message["alignment"]
        assert message["normalizedAlignment"] == alignment
        starts = alignment["charStartTimesMs"]
        assert starts == sorted(starts)
        end_ms = starts[-1] + alignment["charDurationsMs"][-1]
        aligned_ms = end_ms if sync else aligned_ms + end_ms
        assert min(starts) >= 0
        assert aligned_ms == pytest.approx(sound_ms, abs=2)
    assert aligned_ms == pytest.approx(sound_ms, abs=2)


async def test_speed_is_kept_by_sound_and_alignment(live: Any) -> None:
    """`voice_settings.speed` of a context's first message."""
    server = await live.start(elevenlabs=True)
    async with _client(server, query="output_format=pcm_24000&sync_alignment=true") as client:
        await _say(client, text=" ", voice_settings={"speed": 1.2})
        await _say(client, text=HELLO)
        await _say(client, text="")
        messages = await _until_final(client)
    assert len(_sound(messages)) / 2 / RATE_HZ == pytest.approx(HELLO_S / 1.2, rel=0.05)
    last = [message["alignment"] for message in messages if "alignment" in message][-1]
    assert last["charStartTimesMs"][-1] == pytest.approx(HELLO_S / 1.2 * 1000, rel=0.05)


async def test_auto_mode_speaks_each_text_at_once(live: Any) -> None:
    """No flush and no further text is needed."""
    server = await live.start(elevenlabs=True)
    async with _client(server, MULTI, "output_format=pcm_24000&auto_mode=true") as client:
        await _say(client, text=" ", context_id="a")
        await _say(client, text="How are you", context_id="a")
        message = json.loads(await asyncio.wait_for(client.recv(), 10))
    assert message["contextId"] == "a"
    assert message["audio"]


async def test_contexts_run_side_by_side(live: Any) -> None:
    """Far more than five at once on one socket, each with all of its sound, and the socket stays."""
    server = await live.start(elevenlabs=True)
    names = [f"turn-{number}" for number in range(12)]
    async with _client(server, MULTI) as client:
        for name in names:
            await _say(client, text=" ", context_id=name, voice_settings={})
            await _say(client, text="Well, hello there.", context_id=name)
            await _say(client, context_id=name, flush=True)
        heard: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
        for name in names:
            await _say(client, context_id=name, close_context=True)
        while not all(messages and messages[-1].get("isFinal") for messages in heard.values()):
            message = json.loads(await asyncio.wait_for(client.recv(), 20))
            heard[message["contextId"]].append(message)
        assert {len(_sound(messages)) for messages in heard.values()} == {2 * int(18 * S_PER_CHARACTER * RATE_HZ)}
        await _say(client, text="Again. ", context_id=names[0])
        await _say(client, close_socket=True)
        assert _sound(await _until_final(client, names[0]))
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert client.close_code == 1000


async def test_context_too_many_is_refused_alone(live: Any) -> None:
    """An error with its name; those that speak go on, and the socket stays."""
    server = await live.start(elevenlabs=True, speed=8.0, limits=Limits(max_contexts_per_session=5))
    async with _client(server, MULTI) as client:
        for number in range(6):
            await _say(client, text="Hello you. ", context_id=f"turn-{number}")
        message: dict[str, Any] = {}
        while "error" not in message:
            message = json.loads(await asyncio.wait_for(client.recv(), 10))
        assert (message["error"], message["contextId"]) == ("max_active_conversations", "turn-5")
        await _say(client, close_socket=True)
        finals = 0
        with contextlib.suppress(ConnectionClosed):
            while True:
                finals += bool(json.loads(await client.recv()).get("isFinal"))
        assert finals == 5


async def test_close_context_twice_interrupts(live: Any) -> None:
    """The first lets it speak out; the second says that nobody listens, and frees the engine."""
    server = await live.start(elevenlabs=True, speed=2.0)
    async with _client(server, MULTI) as client:
        await _say(client, text=HELLO * 5, context_id="a")
        await client.recv()
        await _say(client, context_id="a", close_context=True)
        await client.recv()
        assert live.engines[0].stats().num_streams == 1
        await _say(client, context_id="a", close_context=True)
        messages = await _until_final(client, "a")
        assert len(_sound(messages)) / 2 / RATE_HZ < 10
        assert live.engines[0].stats().num_streams == 0


async def test_keepalive_opens_nothing(live: Any) -> None:
    """Blank messages without a context, and empty ones in a context, are no speech."""
    server = await live.start(elevenlabs=True)
    async with _client(server, MULTI) as client:
        await _say(client, text="")
        await _say(client, context_id="b", flush=True)
        await _say(client, text="", context_id="c")
        await _say(client, text="Yes. ", context_id="a")
        await _say(client, text="", context_id="a")
        await _say(client, context_id="a", close_context=True)
        await _say(client, context_id="unknown", close_context=True)
        assert _sound(await _until_final(client, "a"))
    assert live.log.getvalue().count("context_opened") == 1


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("{", "bad_json"),
        ("[]", "bad_field"),
        ('{"text": 7}', "bad_field"),
        ('{"text":"a","context_id":""}', "bad_field"),
    ],
)
async def test_nonsense_is_answered_and_harms_nobody(live: Any, message: str, code: str) -> None:
    """The socket stays, and so does what is being spoken."""
    server = await live.start(elevenlabs=True)
    async with _client(server, MULTI) as client:
        await _say(client, text="Hello you. ", context_id="a")
        await client.send(message)
        await _say(client, context_id="a", close_context=True)
        heard = []
        while not heard or not heard[-1].get("isFinal"):
            heard.append(json.loads(await asyncio.wait_for(client.recv(), 10)))
    assert [entry["error"] for entry in heard if "error" in entry] == [code]
    assert _sound(heard)


@pytest.mark.parametrize(
    ("kind", "query", "voice", "status"),
    [
        (MULTI, "output_format=mp3_1_1", "prepared", 400),
        (MULTI, "auto_mode=perhaps", "prepared", 400),
        (MULTI, "seed=-1", "prepared", 400),
        (MULTI, "", "nobody", 404),
        ("stream-input", "", "..%2Fprepared", 404),
        ("other-input", "", "prepared", 404),
    ],
)
async def test_request_that_cannot_be_is_refused(live: Any, kind: str, query: str, voice: str, status: int) -> None:
    """Before the upgrade, so that every client says why."""
    server = await live.start(elevenlabs=True)
    with pytest.raises(InvalidStatus) as refused:
        await connect(_url(server, kind, query, voice))
    assert refused.value.response.status_code == status


async def test_key_is_needed_when_there_are_keys(live: Any) -> None:
    """In its own header; 401 before the upgrade otherwise."""
    server = await live.start(elevenlabs=True, api_keys=("sesame",))
    async with _client(server, additional_headers={"xi-api-key": "sesame"}) as client:
        await _say(client, text="Hi. ")
    for headers in ({}, {"xi-api-key": "wrong"}):
        with pytest.raises(InvalidStatus, match="401"):
            await connect(_url(server, MULTI, ""), additional_headers=headers)


async def test_door_is_shut_unless_asked_for(live: Any) -> None:
    """Without the flag the path is not there."""
    server = await live.start()
    with pytest.raises(InvalidStatus, match="404"):
        await connect(_url(server, MULTI, ""))


async def test_client_that_goes_away_stops_the_engine(live: Any) -> None:
    """Nothing is left running, and no session stays."""
    server = await live.start(elevenlabs=True, speed=2.0)
    async with _client(server, MULTI) as client:
        await _say(client, text=HELLO * 5, context_id="a")
        await client.recv()
    for _ in range(500):
        if not server.hub.sessions and not live.engines[0].stats().num_streams:
            break
        await asyncio.sleep(0.01)
    assert server.hub.sessions == ()
    assert live.engines[0].stats().num_streams == 0


def test_character_clock_places_every_character() -> None:
    """Characters of words within their times, blanks between them; a line break is a blank."""
    clock = CharacterClock()
    clock.begin(SentenceStarted(context="a", index=0, text="Oh,\nwell.", start_ms=0))
    clock.learn(_words(("Oh,", 0, 300)))
    clock.learn(_words(("well.", 400, 900)))
    early = clock.take(350)
    assert "".join(character.text for character in early) == "Oh, "
    assert [character.start_ms for character in early] == pytest.approx([0, 100, 200, 300])
    assert "".join(character.text for character in clock.take(900)) == "well."
    assert "".join(character.text for character in clock.take_rest()) == " "


def test_character_clock_with_words_that_were_spelled_out() -> None:
    """What the text does not hold is passed over; what was not placed is heard with what comes after it."""
    clock = CharacterClock()
    clock.begin(SentenceStarted(context="a", index=0, text="No 2 of us.", start_ms=100))
    clock.learn(_words(("No", 100, 200), ("two", 200, 400), ("of", 400, 500), ("us.", 500, 600)))
    taken = clock.take(1_000)
    assert "".join(character.text for character in taken) == "No 2 of us. "
    starts = [character.start_ms for character in taken]
    assert starts == sorted(starts)
    assert starts[5] == 400


def _words(*words: tuple[str, int, int]) -> Words:
    times = tuple(WordTime(text=text, start_ms=start, end_ms=end) for text, start, end in words)
    return Words(context="a", index=0, words=times, estimated=False)
