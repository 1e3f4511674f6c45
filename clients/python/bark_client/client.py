"""The client: one socket, many speakers, and a new socket when the old one breaks.

    async with BarkClient("ws://127.0.0.1:8765") as client:
        async for packet in client.speak("Good evening.", voice="mira"): ...

What is said, and how to go on after a break, is the session's business; this module moves the frames.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from contextlib import suppress
from functools import partial
from itertools import count
from random import Random
from types import TracebackType
from typing import TypeAlias

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode

from bark_client.backoff import Backoff
from bark_client.connection import Connector, hang_up, next_ready
from bark_client.context import Context, Say
from bark_client.errors import (
    BarkClientError,
    ConnectionFailed,
    ConnectionLost,
    ProtocolViolation,
    ServerBusy,
    ServerError,
    Unauthorized,
)
from bark_client.messages import AudioFormat, Carry, Open, Ready
from bark_client.session import ClientSession, ContextEvent, Unheard

logger = logging.getLogger("bark_client")

GOODBYE_S = 1.0
"""How long a client that is closed tries to tell the server what it need not finish, and then that it goes."""

_OUR_FAULT = frozenset({1002, 1003, 1007, 1008, 1009})
"""Close codes after which a new socket would end the same way."""

_ASK_AGAIN_S = 0.1
TextSource: TypeAlias = str | Iterable[str] | AsyncIterable[str]


class BarkClient:
    """A connection to a bark-stream server. Use it with `async with`.

    It connects again by itself when the socket breaks, and the server sends exactly what was missing. When that takes
    too long, loops that were running raise ConnectionLost (ResumeExpired if the server is there but has forgotten); the
    next `speak` or `open` tries afresh.

    Packets wait in memory until a loop takes them: as much as the server runs ahead (`max_lead_ms`).
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        backoff: Backoff | None = None,
        connect_timeout_s: float = 10.0,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        """
        Args:
            url: `ws://host:port` or `wss://…`; `http` and `https` mean the same. Without a path, the usual one.
            api_key: sent as `Authorization: Bearer`.
            backoff: how to come back when the socket breaks.
            connect_timeout_s: for one try, up to the server's first message.
            ssl_context: for `wss` with a certificate of one's own.
        Raises: ConnectionFailed for an address that cannot be one.
        """
        self._connector = Connector(url, api_key=api_key, timeout_s=connect_timeout_s, ssl_context=ssl_context)
        self._backoff = backoff or Backoff()
        self._random = Random()
        self._session = ClientSession()
        self._contexts: dict[str, Context] = {}
        self._names = count(1)
        self._socket: ClientConnection | None = None
        self._turn = (
            asyncio.Lock()
        )  # one speaks at a time, so that what the session notes and what is sent keep one order
        self._is_wanted = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._runner: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        state = "closed" if self._runner is None else "connected" if self.is_connected else "away"
        return f"<BarkClient {self._connector.url} {state}, {len(self._contexts)} live contexts>"

    @property
    def ready(self) -> Ready:
        """What the server said of itself: model, voices, sample rate, limits. Raises: ConnectionLost before that."""
        if self._session.ready is None:
            raise ConnectionLost("it was never made")
        return self._session.ready

    @property
    def is_connected(self) -> bool:
        return self._socket is not None

    async def __aenter__(self) -> BarkClient:
        """Raises: ConnectionFailed, Unauthorized, ServerBusy, ProtocolViolation."""
        socket, ready = await self._connector.connect()
        self._session.restore(ready)
        self._socket = socket
        self._runner = asyncio.create_task(self._run(socket), name="bark-client")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Cancel what is still being spoken, and go."""
        if self._runner is None:
            return
        for context in tuple(self._contexts.values()):
            context.abandon()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=GOODBYE_S)
        runner, self._runner = self._runner, None
        while not runner.done():  # `wait_for` loses some cancellations before Python 3.12
            runner.cancel()
            await asyncio.wait([runner], timeout=_ASK_AGAIN_S)
        await asyncio.gather(runner, return_exceptions=True)
        socket, self._socket = self._socket, None
        if socket is not None:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(hang_up(socket), GOODBYE_S)
        self._give_up(ConnectionLost("the client was closed"))

    async def open(
        self,
        *,
        context: str | None = None,
        voice: str | None = None,
        format: AudioFormat | None = None,
        bitrate: int | None = None,
        seed: int | None = None,
        text_temperature: float | None = None,
        waveform_temperature: float | None = None,
        carry: Carry | None = None,
        max_lead_ms: int | None = None,
        visemes: bool | None = None,
    ) -> Context:
        """Start a turn whose text comes later; any number may run side by side.

        Args:
            context: its name; one is made up by default.
            voice: one of `ready.voices`.
            format: `opus` or `pcm_s16le`.
            bitrate: bit/s, Opus only.
            seed: the same text, voice and seed give the same speech.
            text_temperature: how freely the words are intoned.
            waveform_temperature: how freely the sound is drawn.
            carry: what a sentence remembers of the ones before.
            max_lead_ms: how far audio comes ahead of its playback; 0 for as fast as it is made.
            visemes: whether mouth shapes are wanted, from models that can tell them.
        Raises: ValueError when a context of that name is alive, ConnectionLost when the client is closed.
        """
        turn = self._start(
            Open(
                context=context or self._new_name(),
                voice=voice,
                format=format,
                bitrate=bitrate,
                seed=seed,
                text_temperature=text_temperature,
                waveform_temperature=waveform_temperature,
                carry=carry,
                max_lead_ms=max_lead_ms,
                visemes=visemes,
            )
        )
        await self.say(lambda session: session.announce(turn.name))
        return turn

    def speak(
        self,
        text: TextSource,
        *,
        context: str | None = None,
        voice: str | None = None,
        format: AudioFormat | None = None,
        bitrate: int | None = None,
        seed: int | None = None,
        text_temperature: float | None = None,
        waveform_temperature: float | None = None,
        carry: Carry | None = None,
        max_lead_ms: int | None = None,
        visemes: bool | None = None,
    ) -> Context:
        """Speak a text, or what an iterator gives while it gives it. Loop over the result for packets, or its `pcm()`.

        The arguments are those of `open`. An error of the iterator comes out of the loop.
        """
        turn = self._start(
            Open(
                context=context or self._new_name(),
                voice=voice,
                format=format,
                bitrate=bitrate,
                seed=seed,
                text_temperature=text_temperature,
                waveform_temperature=waveform_temperature,
                carry=carry,
                max_lead_ms=max_lead_ms,
                visemes=visemes,
            )
        )
        turn.feeder = self._keep(asyncio.create_task(self._feed(turn, text), name=f"bark-client-{turn.name}"))
        return turn

    async def say(self, say: Say) -> None:
        """Let the session note something; its frames go out now, or are made up for when there is a socket again."""
        async with self._turn:
            frames = say(self._session)
            if self._socket is not None:
                await self._send(self._socket, frames)

    def say_soon(self, say: Say) -> None:
        self._keep(asyncio.create_task(self.say(say)))

    def _new_name(self) -> str:
        return next(name for number in self._names if (name := f"c{number}") not in self._contexts)

    def _start(self, options: Open) -> Context:
        if self._runner is None or self._runner.done():
            raise ConnectionLost("the client is not open")
        context = Context(self, self._session.open(options))
        self._contexts[options.context] = context
        self._is_wanted.set()
        return context

    async def _feed(self, context: Context, text: TextSource) -> None:
        try:
            await self.say(lambda session: session.announce(context.name))
            async for piece in _pieces(text):
                # A send that has begun is finished even when the turn is cancelled: what is noted must be sent.
                await asyncio.shield(self._keep(asyncio.create_task(context.send(piece))))
            await context.close()
        except Exception as error:  # whatever the caller's iterator raises is the caller's to see
            context.fail(error)

    def _keep(self, task: asyncio.Task[None]) -> asyncio.Task[None]:
        """Tasks that nobody holds may vanish."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _send(self, socket: ClientConnection, frames: list[str]) -> None:
        self._session.sent()
        with suppress(ConnectionClosed):  # `restore` sends it again
            for frame in frames:
                await socket.send(frame)

    async def _run(self, socket: ClientConnection) -> None:
        """Nobody may wait for a client that has died."""
        try:
            await self._read_and_come_back(socket)
        except Exception as error:
            self._give_up(ConnectionLost(f"the client failed: {error!r}"))
            raise

    async def _read_and_come_back(self, socket: ClientConnection) -> None:
        """Read until the socket breaks, connect again, and so on. When cancelled, `_socket` is left to be closed."""
        while True:
            code = CloseCode.NORMAL_CLOSURE
            try:
                reason = await self._read(socket)
            except ProtocolViolation as violation:
                code = CloseCode.PROTOCOL_ERROR
                reason = str(violation)
                self._give_up(violation)
            self._socket = None
            await hang_up(socket, code)
            logger.info("connection closed (%s)", reason)
            socket = await self._come_back()

    async def _read(self, socket: ClientConnection) -> str:
        """Hand over what comes in until the socket closes; returns why it did."""
        try:
            while True:
                for name, event in self._session.receive(await socket.recv()):
                    if name is None:
                        if isinstance(event, ServerError):
                            logger.warning("the server reports %s", event.server_code)
                    elif isinstance(event, Unheard):
                        self.say_soon(partial(ClientSession.announce, name=name))
                    elif not isinstance(event, Ready):
                        self._hand_over(name, event)
        except ConnectionClosed as closed:
            if closed.rcvd is not None and closed.rcvd.code in _OUR_FAULT:
                self._give_up(ConnectionLost(f"closed by the server: {closed.rcvd}"))
            return str(closed)

    async def _come_back(self) -> ClientConnection:
        """A new socket as soon as somebody wants one."""
        while True:
            if not self._session.has_live_contexts:
                self._is_wanted.clear()
                await self._is_wanted.wait()
            try:
                return await self._reconnect()
            except BarkClientError as error:
                self._give_up(error)

    async def _reconnect(self) -> ClientConnection:
        """Raises: ConnectionLost when the patience is spent, Unauthorized, ProtocolViolation."""
        problem: BarkClientError | None = None
        num_tries = 0
        for delay_s in self._backoff.delays(self._random):
            asked_s = problem.retry_after_s if isinstance(problem, ServerBusy) else None
            await asyncio.sleep(max(delay_s, min(asked_s or 0.0, self._backoff.max_s)))
            num_tries += 1
            try:
                return await self._restore(*await self._connector.connect())
            except Unauthorized:
                raise
            except (ConnectionFailed, ServerError) as error:
                problem = error
            except ConnectionClosed as closed:
                problem = ConnectionLost(str(closed))
        raise ConnectionLost(f"{num_tries} tries to come back failed, the last with: {problem}") from problem

    async def _restore(self, socket: ClientConnection, ready: Ready) -> ClientConnection:
        """Bring the session over to a new socket."""
        try:
            resume = self._session.resume_message()
            if resume is not None:
                await socket.send(resume)
                with suppress(ServerError):  # resume_expired: the new session stands
                    ready = await next_ready(socket)
            async with self._turn:
                frames, lost = self._session.restore(ready)
                self._socket = socket
                await self._send(socket, frames)
        except BaseException:
            self._socket = None
            socket.transport.abort()
            raise
        for name, error in lost:
            self._hand_over(name, error)
        return socket

    def _hand_over(self, name: str, event: ContextEvent) -> None:
        context = self._contexts.get(name)
        if context is None:
            return
        context.take(event)
        if context.is_over:
            del self._contexts[name]

    def _give_up(self, error: BarkClientError) -> None:
        """Every turn ends here."""
        for name in self._session.abandon():
            self._hand_over(name, error)


async def _pieces(text: TextSource) -> AsyncIterator[str]:
    if isinstance(text, str):
        yield text
    elif isinstance(text, AsyncIterable):
        async for piece in text:
            yield piece
    else:
        for piece in text:
            yield piece
