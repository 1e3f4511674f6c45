"""The server as a whole: engine, hub, doors, metrics and logs; its life from warming up to its last word."""

from __future__ import annotations

import asyncio
import gc
import secrets
import signal
import sys
import threading
from collections.abc import Callable

from bark_server.config import ServerConfig
from bark_server.doors.door import Door, ListeningDoor, Reception
from bark_server.doors.elevenlabs import ElevenLabs
from bark_server.doors.mqtt import MqttDoor
from bark_server.doors.others import other_doors
from bark_server.doors.websocket import WebSocketDoor
from bark_server.hub import Hub
from bark_server.lag import LoopLag
from bark_server.logs import EventLog
from bark_server.metrics import Metrics
from bark_server.notices import Notice
from bark_server.pages import Pages, Voices, browser_dir, load_assets
from bark_server.speech import Engine, Studio
from bark_server.watchdog import Readiness
from bark_stream.errors import BarkStreamError, ConfigError
from bark_stream.events import Chunk, Event, SentenceFailed
from bark_stream.sentences import Sentence

SWEEP_S = 0.5
DRAIN_STEP_S = 0.05
SWITCH_INTERVAL_S = 0.001
"""How long the engine's thread may keep the interpreter while the event loop wants it."""
WARM_UP_TEXT = "Hello there."
WARM_UP_TIMEOUT_S = 120.0


class BarkServer:
    """`make_engine` may take its time: it runs in a thread, and `/readyz` says 503 until it has spoken once."""

    def __init__(
        self,
        config: ServerConfig,
        make_engine: Callable[[], Engine],
        *,
        log: EventLog,
        make_studio: Callable[[], Studio] | None = None,
    ) -> None:
        """Args: make_studio: where cloning is allowed; called once, in a thread."""
        self.metrics = Metrics()
        self.hub: Hub | None = None
        self._config = config
        self._make_engine = make_engine
        self._log = log
        self._engine: Engine | None = None
        self._make_studio = make_studio if config.allow_cloning else None
        self._studio: Studio | None = None
        self._readiness = Readiness(stall_s=config.limits.stall_ms / 1000)
        self._reception = Reception(
            config=config,
            hub=lambda: self.hub,
            not_ready=lambda: "draining" if self._readiness.is_draining else None,
            on_refused=lambda status, reason: log.write("refused", status=status, reason=reason),
            studio=lambda: self._studio,
        )
        pages = Pages(
            assets=load_assets(browser_dir(config.browser_dir)),
            not_ready=lambda: self._readiness.reason,
            exposition=self.metrics.exposition,
            voices=self._voices,
        )
        self._websocket = WebSocketDoor(
            self._reception, pages=pages, dialects=[ElevenLabs()] if config.elevenlabs else []
        )
        self._listening: list[ListeningDoor] = [self._websocket, *other_doors(config, self._reception)]
        self._doors: list[Door] = [*self._listening]
        self._lag = LoopLag(self.metrics.observe_lag)
        self._sweeper: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        return self._websocket.port

    async def start(self) -> None:
        """Listen, then load and warm the engine. Raises: OSError for the port, BarkStreamError for the engine."""
        for door in self._listening:
            await door.start()
            self._log.write("listening", url=door.url)
        loop = asyncio.get_running_loop()
        engine = await asyncio.to_thread(_warm_engine, self._make_engine)
        self._engine = engine
        if self._make_studio is not None:
            self._studio = await asyncio.to_thread(self._make_studio)
        self.hub = Hub(
            engine=engine,
            limits=self._config.limits,
            observe=self._observe,
            clock=loop.time,
            post=loop.call_soon_threadsafe,
            new_id=lambda: secrets.token_urlsafe(18),
        )
        self._show(engine, self.hub)
        await self._serve_broker(self.hub)
        self._sweeper = asyncio.create_task(self._sweep(self.hub))
        self._lag.start()
        self._readiness.is_warm = True
        self._log.write("ready", model=engine.model_name, num_voices=len(engine.voices))

    async def _serve_broker(self, hub: Hub) -> None:
        """The broker keeps what clients send until somebody listens, so this door opens when there is an engine."""
        if self._config.mqtt is not None:
            door = MqttDoor(self._config.mqtt, hub=hub, limits=self._config.limits, log=self._log.write)
            self.metrics.gauge("bark_mqtt_connected", "1 when the broker is there", lambda: float(door.is_connected))
            self._doors.append(door)
            await door.start()

    async def drain(self) -> None:
        """Take no new work, speak out what was accepted, for as long as the configuration allows."""
        self._readiness.is_draining = True
        self._log.write("draining")
        if self.hub is None:
            return
        self.hub.drain()
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + self._config.limits.drain_ms / 1000
        while not self.hub.is_quiet and loop.time() < deadline_s:
            await asyncio.sleep(DRAIN_STEP_S)

    async def close(self) -> None:
        """Close the sockets with 1001, free everything, join the engine."""
        self._readiness.is_draining = True
        self._lag.stop()
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
        await asyncio.gather(*(door.close() for door in self._doors))
        if self.hub is not None:
            self.hub.close()
        if self._engine is not None:
            await asyncio.to_thread(self._engine.close)
        self._log.write("closed")

    async def _sweep(self, hub: Hub) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            hub.sweep()
            self._readiness.stalled_s = hub.stalled_s()

    def _observe(self, session: str, notice: Notice) -> None:
        self.metrics.observe(notice)
        self._log.observe(session, notice)

    def _show(self, engine: Engine, hub: Hub) -> None:
        gauge = self.metrics.gauge
        gauge("bark_contexts", "Contexts being spoken", lambda: hub.admission.num_contexts)
        gauge("bark_connections", "Sockets", lambda: hub.num_links)
        gauge("bark_sessions", "Sessions, those without a socket included", lambda: len(hub.sessions))
        gauge("bark_ready", "1 when work is taken", lambda: float(self._readiness.reason is None))
        self.metrics.watch(engine.stats)

    def _voices(self) -> Voices | None:
        if self._engine is None:
            return None
        return Voices(model=self._engine.model_name, default=self._engine.default_voice, voices=self._engine.voices)


def run(
    config: ServerConfig,
    make_engine: Callable[[], Engine],
    *,
    log: EventLog,
    make_studio: Callable[[], Studio] | None = None,
) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code. Raises: BarkStreamError when it cannot start."""
    return asyncio.run(_run(lambda: BarkServer(config, make_engine, log=log, make_studio=make_studio)))


async def _run(make_server: Callable[[], BarkServer]) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = make_server()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    try:
        await _start_unless(stop, server)
        # A model is many objects that never die: looking through them again and again would hold the event loop up.
        gc.freeze()
        await stop.wait()
        await server.drain()
    except OSError as problem:
        raise ConfigError("host, port or TLS files", str(problem)) from problem
    finally:
        await server.close()
    return 0


async def _start_unless(stop: asyncio.Event, server: BarkServer) -> None:
    """Start, but do not keep somebody waiting who wants it to stop again."""
    starting, stopping = asyncio.create_task(server.start()), asyncio.create_task(stop.wait())
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if starting.done():
        starting.result()
    else:
        starting.cancel()


def _warm_engine(make_engine: Callable[[], Engine]) -> Engine:
    """Load the engine and let it speak once. Raises: BarkStreamError."""
    engine = make_engine()
    done, failures = threading.Event(), list[BarkStreamError]()

    def on_event(event: Event) -> None:
        if isinstance(event, SentenceFailed):
            failures.append(event.error)
        if not isinstance(event, Chunk):
            done.set()

    stream = engine.open(on_event=on_event, voice=engine.default_voice)
    stream.say(Sentence(index=0, text=WARM_UP_TEXT, source=WARM_UP_TEXT, start=0))
    if not done.wait(WARM_UP_TIMEOUT_S):
        failures.append(ConfigError("model", f"said nothing in {WARM_UP_TIMEOUT_S:g} s"))
    stream.close()
    if failures:
        engine.close()
        raise failures[0]
    return engine
