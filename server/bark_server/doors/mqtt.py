"""The MQTT door: one connection to a broker, through which any number of clients speak.

    PREFIX/CLIENT/in     messages of the protocol, JSON       QoS 2: each text is spoken once
    PREFIX/CLIENT/say    lines to speak, for who wants no session
    PREFIX/CLIENT/out    messages to the client               QoS 1: repeated rather than lost
    PREFIX/CLIENT/audio  audio frames                         QoS 1; their sequence numbers show a repetition
    PREFIX/status        {"state": "online" | "offline"}      retained; "offline" is also the last will

The broker keeps what clients send while the connection is down, the library repeats what the broker has not taken, and
sessions live on in the hub meanwhile. Knows no engine.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import secrets
import ssl
import sys
from collections.abc import Callable

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from bark_server.doors.mqtt_address import MqttAddress
from bark_server.doors.mqtt_link import MqttLink
from bark_server.errors import ClientError
from bark_server.hub import Hub
from bark_server.limits import Limits
from bark_server.logs import quiet_logger
from bark_server.messages import encode, error_message
from bark_server.outlog import Frame
from bark_server.turns import Turns

MAX_CLIENT_CHARACTERS = 64
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 30.0
FAREWELL_S = 2.0
"""How long a door that closes waits for the broker."""
KEEPALIVE_S = 15
TOPIC_BYTES = 1_024
"""Room for a topic and its packet's header beside the longest message."""
MAX_IN_FLIGHT = 10
"""Messages under way in the connection at a time: the least that known brokers allow."""

# Messages of the library are about single packets; what matters is logged by us.
_quiet_logger = quiet_logger("bark_server.mqtt")


class MqttDoor:
    def __init__(
        self,
        address: MqttAddress,
        *,
        hub: Hub,
        limits: Limits,
        log: Callable[..., None],
    ) -> None:
        self._address = address
        self._hub = hub
        self._limits = limits
        self._log = log
        self._links: dict[str, MqttLink] = {}
        self._turns = Turns(asyncio.get_running_loop())
        self._client = _client(address, limits)
        self._connected = asyncio.Event()
        self._leaving: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None

    @property
    def is_connected(self) -> bool:
        return self._connected.is_set()

    @property
    def num_clients(self) -> int:
        return len(self._links)

    async def start(self) -> None:
        """Connect, and connect again, until `close`."""
        self._task = asyncio.create_task(self._run(), name="mqtt-door")

    async def close(self) -> None:
        """Say goodbye, if the broker listens; end every session."""
        links = list(self._links.values())
        for link in links:
            link.leave()
        if self.is_connected:
            try:
                await asyncio.wait_for(self._say_goodbye(links), FAREWELL_S)
            except (TimeoutError, asyncio.TimeoutError, aiomqtt.MqttError):
                self._log("mqtt_goodbye_failed")
        for link in links:
            link.abort()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _say_goodbye(self, links: list[MqttLink]) -> None:
        for link in links:
            await link.drain()
        await self._tell_status("offline")

    async def _run(self) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                async with self._client:
                    await self._arrive()
                    pause_s = FIRST_PAUSE_S
                    async for message in self._client.messages:
                        self._route(str(message.topic), _bytes(message.payload))
            except (aiomqtt.MqttError, ValueError) as problem:
                # The library raises ValueError for some hosts that cannot be.
                self._log("mqtt_lost", reason=str(problem))
            self._connected.clear()
            # Servers that lost the same broker do not come back at the same moment.
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _arrive(self) -> None:
        # Retained messages would be spoken again after every break.
        options = SubscribeOptions(qos=2, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND)
        await self._client.subscribe([(f"{self._address.prefix}/+/{kind}", options) for kind in ("in", "say")])
        self._connected.set()
        await self._tell_status("online")
        self._log("mqtt_connected", broker=str(self._address))

    async def _tell_status(self, state: str) -> None:
        await self._client.publish(self._address.status_topic, _status(state), qos=1, retain=True)

    def _route(self, topic: str, data: bytes) -> None:
        client, kind = self._address.client_of(topic)
        if not client or len(client) > MAX_CLIENT_CHARACTERS:
            self._log("mqtt_refused", reason="bad client name")
            return
        link = self._links.get(client) or self._connect(client)
        if link is None:
            return
        if kind == "say":
            link.say(data)
        else:
            link.receive(data)

    def _connect(self, client: str) -> MqttLink | None:
        if self._hub.num_links >= self._limits.max_connections:
            self._refuse(client)
            return None

        async def publish(frame: Frame) -> None:
            await self._publish(client, frame)

        link = MqttLink(self._hub, publish, self._turns, on_over=lambda: self._forget(client))
        self._links[client] = link
        link.wake()
        return link

    def _forget(self, client: str) -> None:
        self._links.pop(client, None)

    def _refuse(self, client: str) -> None:
        error = ClientError("overloaded", "the server is full", retry_after_ms=2_000)
        task = asyncio.create_task(self._publish(client, encode(error_message(error))))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _publish(self, client: str, frame: Frame) -> None:
        """Return when the broker has it: over as many connections as that takes."""
        topic = self._address.topic(client, "audio" if isinstance(frame, bytes) else "out")
        await self._connected.wait()
        try:
            await self._client.publish(topic, frame, qos=1, timeout=math.inf)
        except aiomqtt.MqttCodeError:
            # The connection has just broken: the library keeps the message and sends it over the next one.
            self._connected.clear()


def _client(address: MqttAddress, limits: Limits) -> aiomqtt.Client:
    # The broker keeps the session for as long as a client may be away; a process has one of its own, and the next
    # process does not inherit what was meant for this one.
    connect = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    connect.SessionExpiryInterval = math.ceil(limits.resume_window_ms / 1000)
    connect.MaximumPacketSize = limits.max_message_bytes + TOPIC_BYTES
    client = aiomqtt.Client(
        address.host,
        address.port,
        username=address.username,
        password=address.password,
        identifier=f"bark-stream-{secrets.token_hex(8)}",
        protocol=aiomqtt.ProtocolVersion.V5,
        will=aiomqtt.Will(address.status_topic, _status("offline"), qos=1, retain=True),
        tls_context=ssl.create_default_context() if address.is_tls else None,
        keepalive=KEEPALIVE_S,
        max_inflight_messages=MAX_IN_FLIGHT,
        clean_start=False,
        properties=connect,
        logger=_quiet_logger,
    )
    client.pending_calls_threshold = sys.maxsize
    return client


def _status(state: str) -> str:
    return json.dumps({"state": state})


def _bytes(payload: object) -> bytes:
    return payload if isinstance(payload, bytes) else b""
