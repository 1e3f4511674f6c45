"""What a session has sent, in order, until it is known to have arrived; and longer, for clients that resume.

Knows no socket: positions are counts of frames.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

Frame: TypeAlias = str | bytes
"""Text message or audio frame."""


class Entry(NamedTuple):
    """One frame that is sent. A tuple, because there are so many."""

    stream: int | None
    """None for what belongs to no context."""
    sequence: int | None
    """None for text."""
    frame: Frame

    @property
    def num_bytes(self) -> int:
        return len(self.frame)


class OutLog:
    """Frames sent. Those not acknowledged are always kept; of the others, the newest, up to `max_bytes` in all."""

    def __init__(self, *, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._arrived: deque[Entry] = deque()
        self._under_way: deque[Entry] = deque()
        self._newest_lost: dict[int, int] = {}
        """Stream -> newest packet that is no longer held."""
        self.position = 0
        """Frames sent so far."""
        self.held_bytes = 0
        self.unacknowledged_bytes = 0

    def append(self, entry: Entry) -> None:
        num_bytes = entry.num_bytes
        self._under_way.append(entry)
        self.position += 1
        self.held_bytes += num_bytes
        self.unacknowledged_bytes += num_bytes
        if self.held_bytes > self._max_bytes:
            self._drop_oldest()

    def acknowledge(self, position: int) -> None:
        """The first `position` frames have arrived."""
        while self._under_way and self.position - len(self._under_way) < position:
            entry = self._under_way.popleft()
            self.unacknowledged_bytes -= entry.num_bytes
            self._arrived.append(entry)
        self._drop_oldest()

    def missing(self, received: Mapping[int, int], num_frames: int = 0) -> list[Entry] | None:
        """What a client that got `received` (stream -> last sequence number, -1 for none) still needs, in order.

        Streams that are not named are left out. Of the first `num_frames` frames nothing is needed, text included.
        None when some of it is no longer held.
        """
        if any(last < self.newest_lost(stream) for stream, last in received.items()):
            return None
        held = [*self._arrived, *self._under_way]
        num_dropped = self.position - len(held)
        entries = [entry for entry in held[max(0, num_frames - num_dropped) :] if entry.stream in received]
        newest_seen: dict[int | None, int] = {}
        for index, entry in enumerate(entries):
            if entry.stream is not None and entry.sequence is not None and entry.sequence <= received[entry.stream]:
                newest_seen[entry.stream] = index
        return [entry for index, entry in enumerate(entries) if index > newest_seen.get(entry.stream, -1)]

    def newest_lost(self, stream: int) -> int:
        """Sequence number of the newest packet that is no longer held, -1 if there is none."""
        return self._newest_lost.get(stream, -1)

    def restart(self, received: Mapping[int, int], num_frames: int | None = None) -> None:
        """Forget everything: what is missing beyond `received` will be appended as it is sent again.

        `num_frames`, if the client counts them, is where the counting goes on.
        """
        self._newest_lost.update(received)
        self.position = self.position if num_frames is None else num_frames
        self._under_way.clear()
        self._arrived.clear()
        self.held_bytes = self.unacknowledged_bytes = 0

    def forget(self, stream: int) -> None:
        """Nobody will ask for this stream again."""
        self._newest_lost.pop(stream, None)

    def _drop_oldest(self) -> None:
        while self.held_bytes > self._max_bytes and self._arrived:
            entry = self._arrived.popleft()
            self.held_bytes -= entry.num_bytes
            if entry.stream is not None and entry.sequence is not None:
                self._newest_lost[entry.stream] = entry.sequence
