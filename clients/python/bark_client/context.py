"""One turn of one speaker, as its listener holds it: text goes in, packets or PCM come out.

    async with client.open(voice="mira") as context:
        await context.send("Good evening.")
        await context.close()
        async for packet in context: ...

Knows no socket; what it says goes through the `Line` that it was given.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bark_client.errors import BarkClientError, GenerationFailed
from bark_client.messages import Cancelled, Done, Opened
from bark_client.opus import decoder_for
from bark_client.packet import Packet
from bark_client.session import ClientSession, ContextEvent, ContextRecord

Say: TypeAlias = Callable[[ClientSession], list[str]]


class Line(Protocol):
    """The way to the server."""

    async def say(self, say: Say) -> None:
        """Call `say` and send the frames it returns, now or when there is a socket again."""

    def say_soon(self, say: Say) -> None:
        """The same without waiting."""


class Context:
    """A turn that is being spoken. Leaving the loop over it, or its `async with`, cancels what is left."""

    def __init__(self, line: Line, record: ContextRecord) -> None:
        self._line = line
        self._record = record
        self._inbox: asyncio.Queue[Packet | Exception | None] = asyncio.Queue()
        self._ended = asyncio.Event()
        self._cancelled: Cancelled | None = None
        self._is_stopped = False
        self.feeder: asyncio.Task[None] | None = None
        """Sends what an iterator gives."""
        self.done: Done | None = None
        """How it went, once everything was spoken."""
        self.failures: list[GenerationFailed] = []
        """Sentences that could not be spoken; the others were. If none could, the loop raises the first."""

    def __repr__(self) -> str:
        state = "over" if self.is_over else "stopped" if self._is_stopped else "live"
        return f"<Context {self.name!r} {state}, {self._record.last_sequence + 1} packets>"

    @property
    def name(self) -> str:
        return self._record.name

    @property
    def opened(self) -> Opened | None:
        """What the server made of it: voice, format, rate. None until it has answered."""
        return self._record.opened

    @property
    def text(self) -> str:
        """All that was sent so far."""
        return self._record.text

    @property
    def is_over(self) -> bool:
        return self._ended.is_set()

    async def send(self, text: str) -> None:
        """Append text, in slices of any size. Nothing happens once the context is over or cancelled."""
        await self._line.say(lambda session: session.send_text(self.name, text))

    async def flush(self) -> None:
        """Speak what is there, even if no sentence has ended."""
        await self._line.say(lambda session: session.flush(self.name))

    async def close(self) -> None:
        """No more text: speak the rest."""
        await self._line.say(lambda session: session.close(self.name))

    async def played(self, played_ms: int) -> None:
        """Tell the server how far the listener is; it helps it to serve first who would run dry first."""
        await self._line.say(lambda session: session.report_played(self.name, played_ms))

    async def cancel(self, played_ms: int | None = None) -> Cancelled:
        """Interrupt. The loop over the context ends at once.

        Args:
            played_ms: how much of its audio the listener has heard; None for all that has arrived.
        Returns: which text was heard and which was not; together they are exactly the text that was sent.
        When the server can no longer say, because it has sent everything or is gone, the captions tell.
        """
        self._stop()
        if not self._ended.is_set():
            await self._line.say(lambda session: session.cancel(self.name, played_ms))
            await self._ended.wait()
        if self._cancelled is not None:
            return self._cancelled
        return self._split_here(played_ms)

    def heard(self, played_ms: int) -> tuple[str, str]:
        """The text so far, cut where a listener is who has played so much: heard, not heard."""
        end_ms = None if self.done is None else self.done.audio_ms
        return self._record.transcript.split(self.text, min(played_ms, self._audio_ms), end_ms)

    async def __aiter__(self) -> AsyncIterator[Packet]:
        """Packets as they come.

        Raises: ServerError when the server refuses the turn or a part of it, ConnectionLost, and whatever a text
            iterator raised. Leaving the loop, by an error too, cancels what is left.
        """
        try:
            while (item := await self._inbox.get()) is not None:
                if isinstance(item, Exception):
                    raise item
                yield item
            self._inbox.put_nowait(None)  # a second loop finds the end as well
        finally:
            self.abandon()

    async def pcm(self) -> AsyncIterator[NDArray[np.float32]]:
        """The audio itself.

        Yields: [T] float32 mono, -1 … 1, at `opened.sample_rate`; all together exactly the audio, without the encoder's
            delay and the padding of the last packet.
        Raises: CodecUnavailable, and as iteration does.
        """
        decoder, num_skip, num_samples = None, 0, 0
        held: NDArray[np.float32] | None = None
        async for packet in self:
            if decoder is None and self.opened is not None:
                decoder, num_skip = decoder_for(self.opened), self.opened.pre_skip
            if decoder is None:
                continue
            block = decoder.decode(packet.payload)
            num_skipped = min(num_skip, len(block))
            num_skip -= num_skipped
            block = block[num_skipped:]
            if packet.is_last:
                held = block  # how much of it is padding is told after it
            elif len(block):
                num_samples += len(block)
                yield block
        if held is not None and len(held := held[: self._num_samples_left(num_samples)]):
            yield held

    async def __aenter__(self) -> Context:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abandon()

    def take(self, event: ContextEvent) -> None:
        """The client hands over what came in for this context."""
        match event:
            case Packet():
                if not self._is_stopped:
                    self._inbox.put_nowait(event)
            case Done():
                self.done = event
                if self.failures and event.sentences == 0:
                    self._inbox.put_nowait(self.failures[0])
            case Cancelled():
                self._cancelled = event
            case GenerationFailed() if not self._record.is_over:
                self.failures.append(event)
            case BarkClientError():
                if not self._is_stopped:
                    self._inbox.put_nowait(event)
            case Opened():
                pass
        if self._record.is_over:
            self._stop_feeder()
            self._ended.set()
            self._inbox.put_nowait(None)

    def fail(self, error: Exception) -> None:
        """Something on this side failed; the listener is told and the rest is cancelled."""
        if not self._is_stopped:
            self._inbox.put_nowait(error)
        self._line.say_soon(lambda session: session.cancel(self.name))

    @property
    def _audio_ms(self) -> int:
        if self.done is not None:
            return self.done.audio_ms
        if self.opened is None:
            return 0
        return (self._record.last_sequence + 1) * self.opened.frame_ms

    def _num_samples_left(self, num_samples: int) -> int | None:
        if self.done is None or self.opened is None:
            return None
        total = self.done.audio_samples
        if total is None:
            total = self.done.audio_ms * self.opened.sample_rate // 1000
        return max(0, total - num_samples)

    def _split_here(self, played_ms: int | None) -> Cancelled:
        """The server is done with it or never began: the answer is ours."""
        audio_ms = self._audio_ms
        played_ms = audio_ms if played_ms is None else min(played_ms, audio_ms)
        spoken, unspoken = self.heard(played_ms)
        return Cancelled(context=self.name, audio_ms=audio_ms, played_ms=played_ms, spoken=spoken, unspoken=unspoken)

    def _stop(self) -> None:
        """No packet leaves the loop any more."""
        self._is_stopped = True
        self._stop_feeder()
        while not self._inbox.empty():
            self._inbox.get_nowait()
        self._inbox.put_nowait(None)

    def _stop_feeder(self) -> None:
        if self.feeder is not None and self.feeder is not asyncio.current_task():
            self.feeder.cancel()

    def abandon(self) -> None:
        """Nobody listens any more: cancel it without waiting for the answer."""
        if not self._ended.is_set() and self._record.cancel is None:
            self._stop()
            self._line.say_soon(lambda session: session.cancel(self.name))
