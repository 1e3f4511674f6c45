"""What a session has to send beside fresh audio, and what is known of what it sent.

    answers ──┐
    replay ───┴─> frames ─> OutLog ─> acknowledged by pings

After a resume the replay goes first: answers and fresh audio wait until it is through. Knows no socket and no contexts;
time is passed in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from bark_server.limits import Limits
from bark_server.outlog import Entry, Frame, OutLog

EARLY_S = 0.001
"""A timer may fire so much before its time."""


class Outbox:
    def __init__(self, limits: Limits, *, now: float) -> None:
        self._limits = limits
        self._answers: deque[Entry] = deque()
        self._answer_bytes = 0
        self._replay: deque[Entry] = deque()
        self._log = OutLog(max_bytes=limits.replay_bytes)
        self._pinged_position = 0
        self._pinged_s: float | None = None
        self._arrived_s = now
        """When something last came from the client, be it a pong."""

    def answer(self, frame: str, stream: int | None) -> None:
        """Queue a text message; `stream` is the context it belongs to, if there is one."""
        entry = Entry(stream, None, frame)
        self._answers.append(entry)
        self._answer_bytes += entry.num_bytes

    def take(self, max_frames: int) -> list[Frame]:
        """Replay, up to `max_frames`; and all answers once that is through. They count as sent."""
        frames: list[Frame] = []
        while self._replay and len(frames) < max_frames and self.has_room:
            frames.append(self.send(self._replay.popleft()))
        while self._answers and not self._replay:
            entry = self._answers.popleft()
            self._answer_bytes -= entry.num_bytes
            frames.append(self.send(entry))
        return frames

    def send(self, entry: Entry) -> Frame:
        """Note that `entry` leaves now."""
        self._log.append(entry)
        return entry.frame

    @property
    def is_replaying(self) -> bool:
        return bool(self._replay)

    @property
    def is_empty(self) -> bool:
        return not self._answers and not self._replay

    @property
    def is_due(self) -> bool:
        """`take` has something now."""
        return bool(self._answers and not self._replay) or bool(self._replay and self.has_room)

    @property
    def has_room(self) -> bool:
        """The client has not too much to acknowledge."""
        return self._log.unacknowledged_bytes < self._limits.max_unacknowledged_bytes

    @property
    def held_bytes(self) -> int:
        """Of frames: sent and kept, or waiting to be sent."""
        return self._log.held_bytes + self._answer_bytes + sum(entry.num_bytes for entry in self._replay)

    @property
    def is_congested(self) -> bool:
        """Answers pile up."""
        return self._answer_bytes > self._limits.max_control_bytes

    # Acknowledgements.

    def heard(self, now: float) -> None:
        """Something came from the client."""
        self._arrived_s = now

    def ping_position(self, now: float) -> int | None:
        """A position to ping with, when it is time for one ping; `acknowledge` it when the answer comes."""
        if self._pinged_s is not None:
            return None
        is_silent = now - self._arrived_s >= self._limits.keepalive_ms / 1000 - EARLY_S
        if self._log.unacknowledged_bytes < self._limits.max_unacknowledged_bytes // 8 and not is_silent:
            return None
        self._pinged_s, self._pinged_position = now, self._log.position
        return self._log.position

    def acknowledge(self, position: int, now: float) -> None:
        """The client has received the first `position` frames."""
        self._arrived_s = now
        self._log.acknowledge(position)
        if position >= self._pinged_position:
            self._pinged_s = None

    def unanswered_s(self, now: float) -> float:
        """For how long a ping has been without its answer."""
        return 0.0 if self._pinged_s is None else now - self._pinged_s

    # Breaks.

    def detach(self) -> None:
        """The socket is gone: no answer to a ping will come."""
        self._pinged_s = None

    def newest_lost(self, stream: int) -> int:
        """Sequence number of the newest packet that is no longer held, -1 if there is none."""
        return self._log.newest_lost(stream)

    def resume(self, wanted: Mapping[int, int], now: float, num_frames: int | None = None) -> bool:
        """Begin anew on another socket: what is missing beyond `wanted` (stream -> last sequence number) is replayed,
        and of the first `num_frames` frames nothing.

        Returns False when some of it is no longer held, or was never sent; then nothing has changed.
        """
        if num_frames is not None and num_frames > self._log.position:
            return False
        missing = self._log.missing(wanted, num_frames or 0)
        if missing is None:
            return False
        pending = [entry for entry in self._replay if entry.stream in wanted]
        waiting = [entry for entry in self._answers if entry.stream is not None]
        self._log.restart(wanted, num_frames)
        self._answers.clear()
        self._answer_bytes = 0
        self._replay = deque([*missing, *pending, *waiting])
        self._pinged_s = None
        self._arrived_s = now
        return True

    def answer_first(self, frame: str) -> None:
        """A message that goes before everything else."""
        self._replay.appendleft(Entry(None, None, frame))

    def drop_audio(self, stream: int) -> None:
        """What was to be replayed of this stream has become pointless."""
        self._replay = deque(entry for entry in self._replay if entry.stream != stream or entry.sequence is None)

    def forget(self, stream: int) -> None:
        """Nobody will ask for this stream again."""
        self._log.forget(stream)
