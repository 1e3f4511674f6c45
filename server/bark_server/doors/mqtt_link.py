"""One MQTT client's session: messages and lines in, frames out. Knows no broker: frames go to `publish`.

A line is `{"text", "voice", "id", "format"}`: a context of its own that is opened, spoken and closed. The lines of one
client are spoken one after the other.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from bark_server.errors import ClientError
from bark_server.hub import Hub
from bark_server.messages import AudioFormat, Cancel, Close, Name, Open, Text, decode
from bark_server.outlog import Frame
from bark_server.turns import Turns

MAX_LINES = 16
"""Of one client, waiting to be spoken."""
WINDOW_FRAMES = 16
"""Published and not yet taken by the broker."""
IDLE_WAKEUP_S = 1.0

Publish = Callable[[Frame], Awaitable[None]]
"""Returns when the broker has the frame, however often the connection breaks until then."""


class Line(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What comes on `PREFIX/CLIENT/say`."""

    text: Annotated[str, Meta(min_length=1)]
    voice: str | None = None
    id: Name | None = None
    """Name of the context; None for one that is made up."""
    format: AudioFormat = "opus"


_lines = msgspec.json.Decoder(Line)


class MqttLink:
    """`on_over` is called once the session has ended."""

    def __init__(self, hub: Hub, publish: Publish, turns: Turns, *, on_over: Callable[[], None]) -> None:
        self._hub = hub
        self._publish = publish
        self._turns = turns
        self._on_over = on_over
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._lines: deque[tuple[str, Line]] = deque()
        self._line: str | None = None
        """Context of the line that is being spoken."""
        self._num_lines = 0
        self._under_way: set[asyncio.Task[None]] = set()
        self._num_acknowledged = 0
        self._is_over = False
        self._session = hub.connect(self, is_resumable=False)

    def receive(self, data: bytes) -> None:
        """A message of the protocol."""
        if self._is_over or self._is_refused(data):
            return
        if self._lines and (name := _cancelled(data)) is not None:
            self._let_in(name)
        self._hub.receive(self._session, data, self)
        self.wake()

    def say(self, data: bytes) -> None:
        """A line."""
        if self._is_over or self._is_refused(data):
            return
        try:
            line = _lines.decode(data)
        except (ValueError, RecursionError) as problem:
            code = "bad_field" if isinstance(problem, msgspec.ValidationError) else "bad_json"
            self._session.fail(ClientError(code, f"not a line to say: {problem}"))
        else:
            self._queue(line)
        self.wake()

    def wake(self) -> None:
        self._turns.ask(self._pump)

    def taken_over(self) -> None:
        """Never: these sessions cannot be resumed elsewhere."""

    def leave(self) -> None:
        """End the session; what is under way may still arrive."""
        if self._is_over:
            return
        self._is_over = True
        self._cancel_timer()
        self._hub.disconnect(self._session, self, is_final=True)
        self._on_over()

    async def drain(self) -> None:
        """Wait for what is under way."""
        if self._under_way:
            await asyncio.wait(self._under_way)

    def abort(self) -> None:
        """Give up what is under way."""
        for task in self._under_way:
            task.cancel()

    def _is_refused(self, data: bytes) -> bool:
        limit = self._hub.limits.max_message_bytes
        if len(data) > limit:
            self._session.fail(ClientError("text_too_long", f"a message has at most {limit} bytes"))
            self.wake()
        # Whoever does not wait for answers is not listened to until they are gone.
        return len(data) > limit or self._session.is_congested

    # Lines.

    def _queue(self, line: Line) -> None:
        if len(self._lines) >= MAX_LINES:
            too_many = f"a client has at most {MAX_LINES} lines waiting"
            self._session.fail(ClientError("too_many_contexts", too_many, context=line.id))
            return
        self._num_lines += 1
        self._lines.append((line.id or f"line-{self._num_lines}", line))

    def _speak_next(self) -> None:
        while self._lines and self._is_free:
            self._line, line = self._lines.popleft()
            self._begin(self._line, line)
            if self._session.is_speaking(self._line):
                self._tell(Close(context=self._line))

    def _begin(self, name: str, line: Line) -> None:
        if self._session.is_speaking(name):
            self._session.fail(ClientError("context_exists", "a context of this name is being spoken", context=name))
            return
        self._tell(Open(context=name, voice=line.voice, format=line.format))
        if self._session.is_speaking(name):
            self._tell(Text(context=name, text=line.text))

    def _let_in(self, name: str) -> None:
        """A waiting line is cancelled: open it, so that the session can answer for it."""
        for waiting in list(self._lines):
            if waiting[0] == name:
                self._lines.remove(waiting)
                self._begin(*waiting)
                return

    def _tell(self, message: Open | Text | Close) -> None:
        self._hub.receive(self._session, msgspec.json.encode(message), self)

    # Frames.

    def _pump(self) -> None:
        """Publish what is due and come back when there will be more."""
        self._cancel_timer()
        if self._is_over:
            return
        now, session = self._loop.time(), self._session
        session.tick(now)
        self._speak_next()
        room = WINDOW_FRAMES - len(self._under_way)
        if room > 0:
            for frame in session.take(now, room):
                self._send(frame)
        self._answer_ping(session.ping_position(now))
        if session.ending is not None:
            self.leave()
            return
        if self._lines and self._is_free:
            self.wake()
            return
        due_s = session.next_wakeup_s(now) if room > 0 else now + IDLE_WAKEUP_S
        if due_s <= now:
            self.wake()
        else:
            self._timer = self._loop.call_at(due_s, self.wake)

    @property
    def _is_free(self) -> bool:
        """The next line may begin."""
        return self._line is None or not self._session.is_speaking(self._line)

    def _send(self, frame: Frame) -> None:
        task = self._loop.create_task(self._deliver(frame))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _deliver(self, frame: Frame) -> None:
        await self._publish(frame)
        self._num_acknowledged += 1
        self._session.acknowledge(self._num_acknowledged, self._loop.time())
        self.wake()

    def _answer_ping(self, position: int | None) -> None:
        """A broker answers for every frame, so a ping is answered as soon as nothing before it is under way."""
        if position is not None and position <= self._num_acknowledged:
            self._session.acknowledge(position, self._loop.time())

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _cancelled(data: bytes) -> str | None:
    """The context that a message cancels, if it is such a message."""
    try:
        message = decode(data)
    except ClientError:
        return None
    return message.context if isinstance(message, Cancel) else None
