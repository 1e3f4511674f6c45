"""The client's side of the protocol without I/O: what to send, what came in, and how to go on over a new socket.

Every method that changes something returns the frames to send. They need not arrive: whatever a broken socket swallowed
is found again by `restore`, which compares what was said here with what the server has got. Knows no socket, no clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from bark_client.errors import BarkClientError, ProtocolViolation, ResumeExpired
from bark_client.messages import (
    Cancel,
    Cancelled,
    Caption,
    Close,
    ContextProgress,
    Done,
    Error,
    Flush,
    Open,
    Opened,
    Played,
    Ready,
    Resume,
    Sentence,
    Text,
    Visemes,
    Words,
    decode,
    encode,
)
from bark_client.packet import Packet, read_packet
from bark_client.transcript import Transcript

MAX_TEXT_CHARACTERS = 8_000
"""Of one message: six bytes each at worst, so that it stays below the 64 KiB that a frame may have."""


@dataclass(frozen=True, slots=True)
class Unheard:
    """The server has never heard of this context: `announce` it again."""


ContextEvent: TypeAlias = Opened | Packet | Done | Cancelled | BarkClientError
Event: TypeAlias = Ready | Unheard | ContextEvent


@dataclass(slots=True, eq=False)
class ContextRecord:
    """Everything that was said and heard in one context."""

    options: Open
    text: str = ""
    flushed_at: list[int] = field(default_factory=list)
    """Lengths of the text at which it was flushed."""
    is_closed: bool = False
    is_over: bool = False
    is_announced: bool = False
    """The server has been told of it, as far as is known here. What is said before is kept until it is."""
    was_sent: bool = False
    """A server may know of it."""
    cancel: Cancel | None = None
    opened: Opened | None = None
    last_sequence: int = -1
    pending_captions: list[Caption] = field(default_factory=list)
    transcript: Transcript = field(default_factory=Transcript)

    @property
    def name(self) -> str:
        return self.options.context


class ClientSession:
    """All contexts of one client, over as many sockets as it takes."""

    def __init__(self) -> None:
        self._contexts: dict[str, ContextRecord] = {}
        self._streams: dict[int, ContextRecord] = {}
        self.ready: Ready | None = None
        """What the server said of itself last."""

    @property
    def has_live_contexts(self) -> bool:
        return bool(self._contexts)

    def open(self, options: Open) -> ContextRecord:
        """A new context, of which `announce` tells the server.

        Raises: ValueError when a context of that name is still alive.
        """
        if options.context in self._contexts:
            raise ValueError(f"a context named {options.context!r} is open already")
        record = self._contexts[options.context] = ContextRecord(options)
        return record

    def announce(self, name: str) -> list[str]:
        record = self._contexts.get(name)
        if record is None or record.is_announced:
            return []
        record.is_announced = True
        return _replay(record)

    def send_text(self, name: str, text: str) -> list[str]:
        """Append `text`; nothing is sent when the context is over."""
        record = self._contexts.get(name)
        if record is None or record.cancel is not None or not text:
            return []
        if record.is_closed:
            raise ValueError(f"the context {name!r} was closed: it takes no more text")
        frames = _text_frames(name, text)
        record.text += text
        return frames if record.is_announced else []

    def flush(self, name: str) -> list[str]:
        record = self._contexts.get(name)
        if record is None or record.cancel is not None or record.is_closed:
            return []
        record.flushed_at.append(len(record.text))
        return [encode(Flush(context=name))] if record.is_announced else []

    def close(self, name: str) -> list[str]:
        record = self._contexts.get(name)
        if record is None or record.cancel is not None or record.is_closed:
            return []
        record.is_closed = True
        return [encode(Close(context=name))] if record.is_announced else []

    def cancel(self, name: str, played_ms: int | None = None) -> list[str]:
        """No packet of the context comes out of `receive` after this."""
        record = self._contexts.get(name)
        if record is None or record.cancel is not None:
            return []
        record.cancel = Cancel(context=name, played_ms=played_ms)
        if record.is_announced:
            return [encode(record.cancel)]
        return [] if record.was_sent else self.announce(name)

    def report_played(self, name: str, played_ms: int) -> list[str]:
        record = self._contexts.get(name)
        if record is None or record.cancel is not None or not record.is_announced:
            return []
        return [encode(Played(context=name, played_ms=played_ms))]

    def sent(self) -> None:
        """What was handed out so far goes into a socket."""
        for record in self._contexts.values():
            record.was_sent |= record.is_announced

    def receive(self, frame: str | bytes) -> list[tuple[str | None, Event]]:
        """Read one frame.

        Returns: what it means, each with the context it belongs to; the name None stands for the whole session.
        Raises: ProtocolViolation for what the contract does not allow; the session is of no use afterwards.
        """
        if isinstance(frame, bytes):
            return self._receive_packet(read_packet(frame))
        match decode(frame):
            case None:
                return []
            case Ready() as ready:
                self.ready = ready
                return [(None, ready)]
            case Opened() as opened:
                return self._receive_opened(opened)
            case Sentence() | Words() | Visemes() as caption:
                self._receive_caption(caption)
                return []
            case Done() | Cancelled() as end:
                return self._end(end.context, end)
            case Error() as error:
                return self._receive_error(error)

    def resume_message(self) -> str | None:
        """First message for a new socket; None when there is nothing to resume."""
        if self.ready is None:
            return None
        received = {name: record.last_sequence for name, record in self._contexts.items() if record.was_sent}
        return encode(Resume(session=self.ready.session, received=received)) if received else None

    def restore(self, ready: Ready) -> tuple[list[str], list[tuple[str, ResumeExpired]]]:
        """Go on over a new socket, whose last `ready` this is.

        Returns: frames that tell the server what it has missed; and the contexts that it has forgotten.
        """
        self.ready = ready
        if ready.resumed:
            frames = []
            for record in self._contexts.values():
                frames += self._catch_up(record, ready.contexts)
            return frames, []
        lost = [name for name, record in self._contexts.items() if record.was_sent]
        for name in lost:
            self._forget(name)
        frames = [frame for record in self._contexts.values() if record.is_announced for frame in _replay(record)]
        return frames, [(name, ResumeExpired("the server has given the session up")) for name in lost]

    def abandon(self) -> tuple[str, ...]:
        """Forget every context; returns their names."""
        names = tuple(self._contexts)
        for name in names:
            self._forget(name)
        return names

    def _receive_packet(self, packet: Packet) -> list[tuple[str | None, Event]]:
        record = self._streams.get(packet.stream)
        if record is None:
            return []  # of a context that is over here and not yet there
        if packet.sequence <= record.last_sequence:
            return []
        if packet.sequence != record.last_sequence + 1:
            raise ProtocolViolation(f"packet {packet.sequence} after {record.last_sequence} of {record.name!r}")
        record.last_sequence = packet.sequence
        captions = tuple(record.pending_captions)
        record.pending_captions.clear()
        if record.cancel is not None:
            return []
        return [(record.name, packet.with_captions(captions))]

    def _receive_opened(self, opened: Opened) -> list[tuple[str | None, Event]]:
        record = self._contexts.get(opened.context)
        if record is None or record.opened is not None:
            return []
        record.opened = opened
        self._streams[opened.stream] = record
        return [(record.name, opened)]

    def _receive_caption(self, caption: Caption) -> None:
        record = self._contexts.get(caption.context)
        if record is None:
            return
        if isinstance(caption, Sentence):
            if record.transcript.add_sentence(caption):
                record.pending_captions.append(caption)
        elif isinstance(caption, Visemes):
            if record.transcript.add_visemes(caption):
                record.pending_captions.append(caption)
        elif (fresh := record.transcript.add_words(caption)) is not None:
            record.pending_captions.append(fresh)

    def _receive_error(self, error: Error) -> list[tuple[str | None, Event]]:
        if error.context is None:
            return [(None, error.as_exception())]
        record = self._contexts.get(error.context)
        if record is None:
            return []  # for a message that crossed the end of its context
        if error.code == "unknown_context" and not record.is_announced and record.cancel is None:
            return [(record.name, Unheard())]
        if record.opened is None or error.code == "unknown_context":
            return self._end(record.name, error.as_exception())  # it is not alive there
        if record.cancel is not None or (record.is_closed and error.code == "context_closed"):
            return []
        return [(record.name, error.as_exception())]

    def _end(self, name: str, event: Done | Cancelled | BarkClientError) -> list[tuple[str | None, Event]]:
        record = self._contexts.get(name)
        if record is None:
            return []
        self._forget(name)
        return [(name, event)]

    def _forget(self, name: str) -> None:
        record = self._contexts.pop(name)
        record.is_over = True
        if record.opened is not None:
            self._streams.pop(record.opened.stream, None)

    def _catch_up(self, record: ContextRecord, known: Mapping[str, ContextProgress] | None) -> list[str]:
        if not record.was_sent:
            return _replay(record) if record.is_announced else []
        if known is None:  # a server that does not tell: take it that everything has arrived
            return []
        progress = known.get(record.name)
        if progress is not None:
            record.is_announced = True
            return _replay(record, progress)
        if record.opened is not None:
            return []  # it is over there, and its end on the way
        # Over, or never heard of? The answer to this comes after all that is on the way.
        record.is_announced = False
        return [encode(Flush(context=record.name))]


def _replay(record: ContextRecord, progress: ContextProgress | None = None) -> list[str]:
    """Everything from the point where the server stands; `progress` is None when it knows nothing of the context."""
    name, position = record.name, 0 if progress is None else progress.text_characters
    frames = [encode(record.options)] if progress is None else []
    for flushed_at in record.flushed_at:
        if flushed_at < position:
            continue  # text behind the flush has arrived, so the flush has
        frames += _text_frames(name, record.text[position:flushed_at])
        frames.append(encode(Flush(context=name)))
        position = flushed_at
    frames += _text_frames(name, record.text[position:])
    if record.cancel is not None:
        frames.append(encode(record.cancel))
    elif record.is_closed and not (progress is not None and progress.closed):
        frames.append(encode(Close(context=name)))
    return frames


def _text_frames(name: str, text: str) -> list[str]:
    return [
        encode(Text(context=name, text=text[start : start + MAX_TEXT_CHARACTERS]))
        for start in range(0, len(text), MAX_TEXT_CHARACTERS)
    ]
