"""The MQTT door with a real broker, a real server and real clients."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import ssl
import subprocess
import sys
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from bark_server.app import BarkServer
from bark_server.config import ServerConfig
from bark_server.doors.mqtt_address import MqttAddress
from bark_server.doors.mqtt_link import MAX_LINES
from bark_server.frames import AudioFrame, unpack
from bark_server.limits import Limits
from bark_server.logs import EventLog
from broker import MOSQUITTO, Broker
from conformance import Heard, Turn, check
from harness import RATE_HZ, decode_opus

pytestmark = pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed")

HELLO = "Hello there, my good old friend. How are you doing on this fine day? "
WAIT_S = 20


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    broker = Broker(tmp_path)
    await broker.start()
    yield broker
    await broker.stop()


class Ear:
    """Hears what the server tells clients; and speaks for them."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self._client = client
        self.messages: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.audio: dict[str, list[AudioFrame]] = defaultdict(list)
        self.order: dict[str, list[str]] = defaultdict(list)
        """What came, by client: types of messages, and `audio`."""
        self.states: list[str] = []
        self._news = asyncio.Event()

    async def listen(self) -> None:
        async for message in self._client.messages:
            topic, payload = str(message.topic), message.payload
            assert isinstance(payload, bytes)
            client, _, kind = topic.removeprefix("bark/").rpartition("/")
            if topic == "bark/status":
                self.states.append(json.loads(payload)["state"])
            elif kind == "audio":
                self.audio[client].append(unpack(payload))
                self.order[client].append("audio")
            elif kind == "out":
                self.messages[client].append(json.loads(payload))
                self.order[client].append(self.messages[client][-1]["type"])
            self._news.set()

    async def send(self, client: str, kind: str, **fields: Any) -> None:
        await self._client.publish(f"bark/{client}/in", json.dumps({"type": kind, **fields}), qos=2)

    async def say(self, client: str, **fields: Any) -> None:
        await self._client.publish(f"bark/{client}/say", json.dumps(fields), qos=2)

    async def publish(self, topic: str, payload: bytes) -> None:
        await self._client.publish(topic, payload, qos=2)

    async def until(self, client: str, kind: str, count: int = 1) -> dict[str, Any]:
        """The message of this type: the `count`-th."""
        while len(found := [m for m in self.messages[client] if m["type"] == kind]) < count:
            await self.news()
        return found[count - 1]

    async def until_state(self, state: str) -> None:
        while not self.states or self.states[-1] != state:
            await self.news()

    async def news(self) -> None:
        self._news.clear()
        await asyncio.wait_for(self._news.wait(), WAIT_S)


@contextlib.asynccontextmanager
async def listening(port: int, *, is_awaited: bool = True, **settings: Any) -> AsyncIterator[Ear]:
    client = aiomqtt.Client("127.0.0.1", port, max_inflight_messages=100, **settings)
    async with client:
        await client.subscribe([("bark/+/out", 1), ("bark/+/audio", 1), ("bark/status", 1)])
        ear = Ear(client)
        listener = asyncio.create_task(ear.listen())
        if is_awaited:
            await ear.until_state("online")
        yield ear
    # What the client has acknowledged before it left is to be heard, too.
    with contextlib.suppress(aiomqtt.MqttError):
        await listener


def _address(broker: Broker, login: str = "", scheme: str = "mqtt") -> MqttAddress:
    return MqttAddress.parse(f"{scheme}://{login}127.0.0.1:{broker.port}/bark")


async def test_speech_comes_as_on_a_socket(live: Any, broker: Broker) -> None:
    """Messages in, the same events and frames out, in the same order: `opened`, captions, audio, `done`."""
    await live.start(mqtt=_address(broker))
    async with listening(broker.port) as ear:
        await ear.send("kitchen", "open", context="a", format="pcm_s16le")
        await ear.send("kitchen", "text", context="a", text=HELLO)
        await ear.send("kitchen", "close", context="a")
        done = await ear.until("kitchen", "done")
    order, audio = ear.order["kitchen"], ear.audio["kitchen"]
    assert order[:3] == ["ready", "opened", "sentence"]
    assert order[-1] == "done"
    assert [frame.sequence for frame in audio] == list(range(len(audio)))
    assert sum(len(frame.payload) for frame in audio) // 2 >= done["audio_samples"] > RATE_HZ
    assert ear.messages["kitchen"][0]["session"] == "", "what opens a session is told nobody"


async def test_opus_is_complete(live: Any, broker: Broker) -> None:
    """Decoded, the packets are as long as what was spoken."""
    await live.start(mqtt=_address(broker))
    async with listening(broker.port) as ear:
        await ear.say("toy", text=HELLO, voice="other", id="greeting")
        done = await ear.until("toy", "done")
    opened = next(m for m in ear.messages["toy"] if m["type"] == "opened")
    assert (opened["context"], opened["voice"], done["context"]) == ("greeting", "other", "greeting")
    pcm = decode_opus([frame.payload for frame in ear.audio["toy"]], opened["pre_skip"])
    assert len(pcm) >= done["audio_samples"]


async def test_lines_of_one_client_wait_for_each_other(live: Any, broker: Broker) -> None:
    """Three lines at once are three contexts in their order, whose audio does not mix."""
    await live.start(mqtt=_address(broker))
    async with listening(broker.port) as ear:
        for text in ("One.", "Two, and a little more.", "Three."):
            await ear.say("npc", text=text)
        await ear.until("npc", "done", 3)
    spoken = [m["text"].strip() for m in ear.messages["npc"] if m["type"] == "sentence"]
    assert spoken == ["One.", "Two, and a little more.", "Three."]
    streams = [frame.stream for frame in ear.audio["npc"]]
    assert streams == sorted(streams)


async def test_a_waiting_line_can_be_cancelled(live: Any, broker: Broker) -> None:
    """It is answered like any other, and not one sound of it is made."""
    await live.start(mqtt=_address(broker), speed=1.0)
    async with listening(broker.port) as ear:
        await ear.say("npc", text=HELLO, id="first")
        await ear.say("npc", text="Never to be heard.", id="second")
        await ear.until("npc", "sentence")
        await ear.send("npc", "cancel", context="second")
        assert (await ear.until("npc", "cancelled"))["unspoken"] == "Never to be heard."
        await ear.send("npc", "cancel", context="first", played_ms=0)
        assert (await ear.until("npc", "cancelled", 2))["spoken"] == ""
    assert {frame.stream for frame in ear.audio["npc"]} == {1}


async def test_recorded_sessions_are_said(live: Any, broker: Broker) -> None:
    """Every turn of the recorded sessions, over the broker's topics: the same sound, the same failures."""
    numbers = itertools.count(1)

    async def speak(server: BarkServer, turn: Turn) -> Heard:
        client = f"turn{next(numbers)}"
        async with listening(broker.port) as ear:
            await ear.send(client, "open", context="c", voice=turn.voice, format="pcm_s16le", max_lead_ms=0)
            while not {"opened", "error"} & set(ear.order[client]):
                await ear.news()
            if "error" in ear.order[client]:
                return Heard(b"", has_failed=True)  # text would open the context with a voice that there is
            for text in turn.slices:
                await ear.send(client, "text", context="c", text=text)
            await ear.send(client, "close", context="c")
            while turn.is_cancelled and not ear.audio[client]:
                await ear.news()
            if turn.is_cancelled:
                await ear.send(client, "cancel", context="c")
            while not {"done", "cancelled", "error"} & set(ear.order[client]):
                await ear.news()
        pcm = b"".join(frame.payload for frame in ear.audio[client])
        ends = [message["audio_samples"] for message in ear.messages[client] if message["type"] == "done"]
        return Heard(pcm[: 2 * ends[0]] if ends else pcm, has_failed="error" in ear.order[client])

    await check(live, speak, mqtt=_address(broker))


async def test_cancel_is_the_end_of_the_audio(live: Any, broker: Broker) -> None:
    """Nothing of a context comes after its `cancelled`."""
    await live.start(mqtt=_address(broker), speed=4.0)
    async with listening(broker.port) as ear:
        await ear.send("a", "text", context="c", text=HELLO * 5)
        while len(ear.audio["a"]) < 20:
            await ear.news()
        await ear.send("a", "cancel", context="c", played_ms=100)
        await ear.until("a", "cancelled")
        await ear.say("b", text="Still there.")
        await ear.until("b", "done")
    assert ear.order["a"][-1] == "cancelled"


async def test_many_clients_speak_at_once(live: Any, broker: Broker) -> None:
    """Twenty clients over one connection, each with all of its own."""
    names = [f"npc{number}" for number in range(20)]
    await live.start(mqtt=_address(broker))
    async with listening(broker.port) as ear:
        for name in names:
            await ear.say(name, text=f"My name is {name}.")
        for name in names:
            await ear.until(name, "done")
    for name in names:
        assert ear.messages[name][2]["text"].strip() == f"My name is {name}."
        assert [frame.sequence for frame in ear.audio[name]] == list(range(len(ear.audio[name])))


async def test_what_is_wrong_is_answered_and_hurts_nobody(live: Any, broker: Broker) -> None:
    """Broken JSON, unknown fields and voices, frames too long, too many lines: one `error` each."""
    await live.start(mqtt=_address(broker), limits=Limits(max_message_bytes=1_000), speed=1.0)
    async with listening(broker.port) as ear:
        await ear.publish("bark/bad/in", b"\xff{")
        await ear.publish("bark/bad/say", b'{"text":')
        await ear.publish("bark/bad/say", b'{"text":"Hi.","path":"/etc/passwd"}')
        await ear.publish("bark/bad/say", b'{"text":"Hi.","voice":"../../etc/passwd"}')
        await ear.publish("bark/bad/in", b" " * 1_001)
        await ear.publish("bark/bad/in", b" " * 100_000)  # the broker keeps this from us
        await ear.publish("bark/bad/in", b'{"type":"resume","session":"","received":{}}')
        for _ in range(MAX_LINES + 2):
            await ear.say("keen", text=HELLO)
        await ear.until("keen", "error")
        await ear.until("bad", "error", 6)
        await ear.say("good", text="Hi.")
        await ear.until("good", "done")
    codes = [message["code"] for message in ear.messages["bad"] if message["type"] == "error"]
    assert codes == ["bad_json", "bad_json", "bad_field", "unknown_voice", "text_too_long", "bad_field"]
    assert [m["code"] for m in ear.messages["keen"] if m["type"] == "error"] == ["too_many_contexts"]


async def test_a_full_server_says_so(live: Any, broker: Broker) -> None:
    """Beyond `max_connections` a client gets `overloaded` and when to come again."""
    await live.start(mqtt=_address(broker), limits=Limits(max_connections=1))
    async with listening(broker.port) as ear:
        await ear.say("first", text="Hi.")
        await ear.until("first", "done")
        await ear.say("second", text="Hi.")
        error = await ear.until("second", "error")
    assert (error["code"], error["retryable"]) == ("overloaded", True)
    assert error["retry_after_ms"] > 0


async def test_sessions_that_are_idle_make_room(live: Any, broker: Broker) -> None:
    """A client that says nothing for long is forgotten, and greeted anew when it speaks again."""
    server = await live.start(mqtt=_address(broker), limits=Limits(session_idle_ms=1))
    async with listening(broker.port) as ear:
        await ear.say("a", text="Hi.")
        await ear.until("a", "done")
        while server.hub.num_links:
            await asyncio.sleep(0.02)
        await ear.say("a", text="Hi.")
        await ear.until("a", "done", 2)
    assert ear.order["a"].count("ready") == 2


async def test_status_is_kept_at_the_broker(live: Any, broker: Broker) -> None:
    """Whoever comes later sees that the server is there; and, after a proper goodbye, that it is gone."""
    server = await live.start(mqtt=_address(broker))
    async with listening(broker.port) as ear:
        await server.close()
        await ear.until_state("offline")
    async with listening(broker.port, is_awaited=False) as late:
        await late.until_state("offline")


async def test_a_killed_server_is_seen_to_be_gone(broker: Broker) -> None:
    """kill -9: the broker publishes the last will."""
    settings = json.dumps({"speed": None, "limits": {}, "mqtt": str(_address(broker))})
    script = Path(__file__).parents[1] / "serve_prepared.py"
    process = await asyncio.create_subprocess_exec(sys.executable, str(script), settings, stderr=subprocess.DEVNULL)
    async with listening(broker.port) as ear:
        process.kill()
        await process.wait()
        await ear.until_state("offline")


async def test_a_broker_that_restarts_in_mid_sentence_costs_nothing(live: Any, broker: Broker) -> None:
    """Text sent while the door is away and audio made meanwhile arrive, all of it, if some twice."""
    server = await live.start(mqtt=_address(broker), speed=8.0)
    async with listening(broker.port, identifier="listener", clean_session=False) as ear:
        await ear.send("a", "open", context="c", max_lead_ms=0)
        await ear.send("a", "text", context="c", text=HELLO * 4)
        while len(ear.audio["a"]) < 30:
            await ear.news()
    await broker.stop()
    await asyncio.sleep(0.5)
    await broker.start()
    async with listening(broker.port, is_awaited=False, identifier="listener", clean_session=False) as again:
        await again.send("a", "text", context="c", text="And this came while nobody was there. ")
        await again.send("a", "close", context="c")
        done = await again.until("a", "done")
    frames = ear.audio["a"] + again.audio["a"]
    sequences = list(dict.fromkeys(frame.sequence for frame in frames))
    assert sequences == list(range(len(sequences)))
    pre_skip = next(message["pre_skip"] for message in ear.messages["a"] if message["type"] == "opened")
    by_sequence = {frame.sequence: frame.payload for frame in frames}
    pcm = decode_opus([by_sequence[sequence] for sequence in sequences], pre_skip)
    assert len(pcm) >= done["audio_samples"]
    texts = {m["index"]: m["text"] for m in ear.messages["a"] + again.messages["a"] if m["type"] == "sentence"}
    assert "".join(texts.values()).strip() == (HELLO * 4 + "And this came while nobody was there.").strip()
    assert server.hub.admission.num_contexts == 0


async def test_passwords_are_asked_for_and_never_logged(live: Any, tmp_path: Path) -> None:
    """A broker that refuses is tried again; neither the log nor a printed configuration holds the password."""
    passwords = tmp_path / "passwords"
    subprocess.run(
        ["mosquitto_passwd", "-b", "-c", str(passwords), "me", "correct-horse"], check=True, capture_output=True
    )
    broker = Broker(tmp_path, "allow_anonymous false", f"password_file {passwords}")
    await broker.start()
    try:
        await live.start(mqtt=_address(broker, "me:wrong-horse@"))
        while "mqtt_lost" not in live.log.getvalue():
            await asyncio.sleep(0.02)
        await live.start(mqtt=_address(broker, "me:correct-horse@"))
        async with listening(broker.port, username="me", password="correct-horse") as ear:
            await ear.say("a", text="Hi.")
            await ear.until("a", "done")
    finally:
        await live.stop()
        await broker.stop()
    assert "horse" not in live.log.getvalue()


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # the library leaves refused sockets open
async def test_tls(live: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """mqtts: the broker's certificate is checked against the system's authorities (here: one of our own)."""
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    broker = Broker(tmp_path, "allow_anonymous true", f"certfile {certificate}", f"keyfile {key}")
    await broker.start()
    try:
        await live.start(mqtt=_address(broker, scheme="mqtts"))
        while "CERTIFICATE_VERIFY_FAILED" not in live.log.getvalue():
            await asyncio.sleep(0.02)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        await live.start(mqtt=_address(broker, scheme="mqtts"))
        async with listening(broker.port, tls_context=ssl.create_default_context()) as ear:
            await ear.say("a", text="Hi.")
            await ear.until("a", "done")
    finally:
        await live.stop()
        await broker.stop()


async def test_a_server_starts_without_its_broker(live: Any, tmp_path: Path) -> None:
    """Its other doors are open meanwhile; the broker is found once it is there."""
    broker = Broker(tmp_path)
    await live.start(mqtt=_address(broker))
    await broker.start()
    try:
        async with listening(broker.port) as ear:
            await ear.say("a", text="Hi.")
            await ear.until("a", "done")
    finally:
        await live.stop()
        await broker.stop()


@pytest.mark.slow
async def test_mini_speaks(broker: Broker) -> None:
    """The built-in model behind the same door."""
    torch = pytest.importorskip("torch")
    from bark_stream import load
    from bark_stream.engine import Engine

    torch.set_num_threads(1)
    server = BarkServer(
        ServerConfig(port=0, mqtt=_address(broker)), lambda: Engine(load("mini", num_slots=2)), log=EventLog()
    )
    await server.start()
    try:
        async with listening(broker.port) as ear:
            await ear.say("a", text="Yes.")
            done = await ear.until("a", "done")
    finally:
        await server.close()
    assert done["audio_samples"] > 0
    assert ear.audio["a"][-1].flags & 1
