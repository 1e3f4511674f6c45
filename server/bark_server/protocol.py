"""One client's session, without I/O: messages and engine events in, frames out, time passed in.

    receive(bytes)  on_speech(stream, event)  tick(now)        ->  state
    take(now)  ping_position(now)  next_wakeup_s(now)  ending  <-  state

A session outlives its socket: `detach` when the socket is gone, `resume` when its client is back. Knows no socket, no
thread and no clock.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from bark_server.context import Context, cut
from bark_server.errors import ClientError
from bark_server.messages import (
    FORMATS,
    PROTOCOL,
    Cancel,
    Close,
    ContextProgress,
    Flush,
    Open,
    Played,
    Ready,
    Resume,
    Text,
    decode,
    encode,
    error_message,
)
from bark_server.notices import (
    AudioSent,
    ContextCancelled,
    ContextDone,
    ContextOpened,
    ErrorSent,
    FirstAudio,
    Notice,
    Underrun,
)
from bark_server.opening import open_context
from bark_server.outbox import Outbox
from bark_server.outlog import Frame
from bark_server.pacing import TokenBucket
from bark_server.past import PastContexts
from bark_server.services import Services
from bark_stream.errors import BarkStreamError
from bark_stream.events import Event

ALL_PACKETS = 2**32
PACKETS_PER_TURN = 16
"""Of one context before the next has its turn."""


@dataclass(frozen=True, slots=True)
class Ending:
    """The socket is to be closed."""

    code: int
    reason: str


class Session:
    def __init__(
        self, services: Services, *, session_id: str, label: str, now: float, is_resumable: bool = True
    ) -> None:
        self.id = session_id
        """A secret: whoever knows it can take the session over."""
        self.label = label
        """Names the session in logs."""
        self.ending: Ending | None = None
        self.detached_since_s: float | None = None
        self._is_resumable = is_resumable
        self._services = services
        self._limits = services.limits
        self._contexts: dict[str, Context] = {}
        self._by_number: dict[int, Context] = {}
        self._past = PastContexts()
        self._num_opened = 0
        self._outbox = Outbox(services.limits, now=now)
        self._bucket = TokenBucket(
            rate=self._limits.max_messages_per_s, burst=2 * self._limits.max_messages_per_s, now=now
        )
        self._spoke_s = now
        """When the client last sent a message."""
        self._is_fresh = True
        self._outbox.answer(self._greeting(resumed=False), None)

    # What comes from the client.

    def receive(self, data: bytes | str, now: float) -> Resume | None:
        """Take one message; never raises. A `resume` is handed back: who knows the other sessions must answer it.

        Once there is an `ending`, nothing is taken any more: answers would wait for a socket that is being closed.
        """
        if self.ending is not None:
            return None
        self._spoke_s = now
        self._outbox.heard(now)
        try:
            message = decode(data)
            if isinstance(message, Resume):
                if not self._is_resumable:
                    raise ClientError("bad_field", "there is nothing to resume here: what breaks is mended below")
                if not self._is_fresh:
                    raise ClientError("bad_field", "resume must be the first message on its socket")
                self._is_fresh = False
                return message
            self._is_fresh = False
            self._guarded(message.context, partial(self._obey, message, now))
        except ClientError as error:
            self.fail(error)
        return None

    def _guarded(self, context: str, action: Callable[[], None]) -> None:
        """Run `action` for a context; what goes wrong is told to the client."""
        try:
            action()
        except ClientError as error:
            self.fail(error)
        except BarkStreamError as error:
            self.fail(ClientError("internal", f"the engine refused ({error.code})", context=context))

    def _obey(self, message: Open | Text | Flush | Close | Cancel | Played, now: float) -> None:
        # Interrupting is never refused.
        if isinstance(message, Cancel):
            self._cancel(message)
            return
        wait_s = self._bucket.take(now)
        if wait_s > 0:
            retry_ms = max(1, math.ceil(wait_s * 1000))
            raise ClientError("rate_limited", "too many messages", context=message.context, retry_after_ms=retry_ms)
        if isinstance(message, Open):
            self._open(message, now)
        elif isinstance(message, Text):
            context = self._contexts.get(message.context) or self._open(Open(context=message.context), now)
            context.add_text(message.text, now)
        elif isinstance(message, Flush):
            self._context(message.context).flush(now)
        elif isinstance(message, Close):
            self._context(message.context).close(now)
        elif message.context in self._contexts:
            self._contexts[message.context].played(message.played_ms, now)

    def _open(self, request: Open, now: float) -> Context:
        name = request.context
        if name in self._contexts:
            raise ClientError("context_exists", "a context of this name is being spoken", context=name)
        if len(self._contexts) >= self._limits.max_contexts_per_session:
            limit = f"a session has at most {self._limits.max_contexts_per_session} contexts"
            raise ClientError("too_many_contexts", limit, context=name)
        context, opened = open_context(
            request, self._services, session_id=self.id, number=self._num_opened + 1, now=now
        )
        self._num_opened = context.number
        self._past.reopen(name)
        self._contexts[name] = self._by_number[context.number] = context
        self._outbox.answer(encode(opened), context.number)
        self._observe(ContextOpened(context.number, request.format))
        return context

    def _cancel(self, message: Cancel) -> None:
        name = message.context
        if name in self._contexts:
            context = self._contexts[name]
            number, cancelled = context.number, context.cancel(message.played_ms)
            self._drop(context)
        elif (past := self._past.recall(name)) is not None:
            number, transcript, num_samples = past
            cancelled = cut(name, transcript, num_samples, message.played_ms, self._services.model.sample_rate_hz)
        else:
            raise self._unknown(name)
        self._outbox.drop_audio(number)
        self._forget(self._past.cancel(name, number))
        self._outbox.answer(encode(cancelled), number)
        self._observe(ContextCancelled(number, cancelled.audio_ms / 1000, cancelled.played_ms / 1000))

    def _context(self, name: str) -> Context:
        if name not in self._contexts:
            raise self._unknown(name)
        return self._contexts[name]

    def _unknown(self, name: str) -> ClientError:
        return ClientError("unknown_context", "no context of this name is being spoken", context=name)

    # What comes from the engine.

    def on_speech(self, number: int, event: Event, now: float) -> None:
        """An event of one context's stream; of a context that is gone it is ignored."""
        context = self._by_number.get(number)
        if context is None:
            return
        self._guarded(context.name, partial(context.on_event, event, now))

    # What goes out.

    def take(self, now: float, max_frames: int) -> list[Frame]:
        """The frames that are to be sent now, oldest first: at most about `max_frames`; they count as sent.

        Empty while the client has too much to acknowledge.
        """
        frames = self._outbox.take(max_frames)
        if not self._outbox.is_replaying:
            for context in list(self._contexts.values()):
                if len(frames) >= max_frames or not self._outbox.has_room:
                    break
                if context.is_due(now):
                    frames += self._take_from(context, now)
        return frames

    def _take_from(self, context: Context, now: float) -> list[Frame]:
        had_audio, underruns, waited_s = context.ttfa_s is not None, context.underruns, context.waited_s
        entries = context.take(now, PACKETS_PER_TURN)
        frames = [self._outbox.send(entry) for entry in entries]
        packets = [entry for entry in entries if entry.sequence is not None]
        if packets:
            num_bytes = sum(entry.num_bytes for entry in packets)
            self._observe(AudioSent(len(packets), num_bytes, context.playback.lead_s(now)))
        if not had_audio and context.ttfa_s is not None:
            self._observe(FirstAudio(context.number, context.ttfa_s))
        if context.underruns > underruns:
            self._services.admission.ran_dry(context.waited_s - waited_s, now)
        for _ in range(context.underruns - underruns):
            self._observe(Underrun(context.number))
        if context.is_finished:
            self._finish(context)
        else:
            # Whoever had a turn goes to the end of the line.
            self._contexts[context.name] = self._contexts.pop(context.name)
        return frames

    def _finish(self, context: Context) -> None:
        audio_s = context.audio_samples / self._services.model.sample_rate_hz
        self._observe(ContextDone(context.number, audio_s, context.num_sentences, context.rtf))
        self._drop(context)
        self._forget(self._past.finish(context.name, context.number, context.transcript, context.audio_samples))

    def _forget(self, streams: list[int]) -> None:
        for stream in streams:
            self._outbox.forget(stream)

    @property
    def held_bytes(self) -> int:
        """Of frames: sent and kept, or waiting to be sent."""
        return self._outbox.held_bytes

    @property
    def is_congested(self) -> bool:
        """Answers pile up: read no further messages until they are sent."""
        return self._outbox.is_congested

    # Acknowledgements and time.

    def ping_position(self, now: float) -> int | None:
        """A position to ping with, when it is time for one ping; `acknowledge` it when the answer comes."""
        return self._outbox.ping_position(now)

    def acknowledge(self, position: int, now: float) -> None:
        """The client has received the first `position` frames."""
        self._outbox.acknowledge(position, now)

    def tick(self, now: float) -> None:
        """Enforce the idle limits; call it now and then, at the latest at `next_wakeup_s`."""
        if self._outbox.unanswered_s(now) > self._limits.reader_idle_ms / 1000:
            self.ending = Ending(1008, "nothing was read for too long")
        if not self._contexts and now - self._spoke_s > self._limits.session_idle_ms / 1000:
            self._end_idle()
        for context in list(self._contexts.values()):
            self._tick_context(context, now)

    def _end_idle(self) -> None:
        if self.ending is None:
            self.fail(ClientError("idle_timeout", "nothing was said for too long"))
            self.ending = Ending(1008, "idle")

    def _tick_context(self, context: Context, now: float) -> None:
        if context.ttfa_s is None and context.owed_for_s(now) > self._limits.max_first_audio_ms / 1000:
            self._services.admission.fell_behind(now)
        is_idle = context.is_idle and not context.is_closed
        if is_idle and now - context.active_s > self._limits.context_idle_ms / 1000:
            self.fail(ClientError("idle_timeout", "no text came for too long", context=context.name))
            self._guarded(context.name, partial(context.close, now))

    def next_wakeup_s(self, now: float) -> float:
        """When `take` and `tick` are to be called again if nothing happens before."""
        if self._outbox.is_due:
            return now
        due_s = now + 1.0
        if self._outbox.has_room:
            for context in self._contexts.values():
                due_s = min(due_s, context.next_wakeup_s(now))
        return due_s

    def stalled_s(self, now: float) -> float:
        """For how long the engine has owed the most patient context its audio."""
        return max((context.owed_for_s(now) for context in self._contexts.values()), default=0.0)

    # Birth, interruption and death of the socket.

    def detach(self, now: float) -> None:
        """The socket is gone."""
        self.detached_since_s = now
        self._outbox.detach()

    def resume(self, received: dict[str, int], now: float, num_frames: int | None = None) -> bool:
        """A new socket takes the session over. Returns False when what its client lacks is no longer held."""
        wanted = {
            context.number: received.get(name, self._outbox.newest_lost(context.number))
            for name, context in self._contexts.items()
        }
        for name, ended in self._past:
            if name in received and name not in self._contexts:
                # Of what was cancelled, only the answer is of use.
                wanted[ended.number] = ALL_PACKETS if ended.is_cancelled else received[name]
        if not self._outbox.resume(wanted, now, num_frames):
            return False
        self._outbox.answer_first(self._greeting(resumed=True))
        self.detached_since_s = None
        self._spoke_s = now
        return True

    def drain(self, now: float) -> None:
        """Take no more text, speak out what there is, then end with 1001."""
        for context in self._contexts.values():
            if not context.is_closed:
                self._guarded(context.name, partial(context.close, now))

    @property
    def is_quiet(self) -> bool:
        """Nothing is left to speak or to send."""
        return not self._contexts and self._outbox.is_empty

    @property
    def is_worth_resuming(self) -> bool:
        return self._is_resumable and self._num_opened > 0 and self._limits.resume_window_ms > 0

    def is_speaking(self, context: str) -> bool:
        """Whether a context of this name is alive."""
        return context in self._contexts

    @property
    def num_contexts(self) -> int:
        return len(self._contexts)

    def abandon(self) -> None:
        """Free everything; nobody will come back."""
        for context in list(self._contexts.values()):
            context.release()
            self._drop(context)

    def fail(self, error: ClientError) -> None:
        """Tell the client."""
        number = None
        if error.context is not None and error.context in self._contexts:
            number = self._contexts[error.context].number
        self._outbox.answer(encode(error_message(error)), number)
        self._observe(ErrorSent(error.wire_code))

    def _greeting(self, *, resumed: bool) -> str:
        model = self._services.model
        contexts = {
            name: ContextProgress(text_characters=context.transcript.num_characters, closed=context.is_closed)
            for name, context in self._contexts.items()
        }
        ready = Ready(
            protocol=PROTOCOL,
            session=self.id if self._is_resumable else "",
            resumed=resumed,
            model=model.name,
            sample_rate=model.sample_rate_hz,
            voices=model.voices,
            formats=FORMATS,
            limits=self._limits.announced(),
            contexts=contexts if resumed else None,
        )
        return encode(ready)

    def _drop(self, context: Context) -> None:
        del self._contexts[context.name]
        del self._by_number[context.number]
        self._services.admission.leave()

    def _observe(self, notice: Notice) -> None:
        self._services.observe(self.label, notice)
