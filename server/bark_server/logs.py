"""Structured logs: one JSON object per line and event. Never holds what people say, nor what opens a session."""

from __future__ import annotations

import dataclasses
import logging
import sys
import time
from collections.abc import Callable
from typing import TextIO, TypeAlias

import msgspec

from bark_server.notices import AudioSent, Notice

LogValue: TypeAlias = str | int | float | bool | None


class EventLog:
    def __init__(self, stream: TextIO | None = None, *, clock: Callable[[], float] = time.time) -> None:
        """`stream` is stderr unless given; `clock` gives Unix seconds."""
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock

    def write(self, event: str, **facts: LogValue) -> None:
        line = {"time": round(self._clock(), 3), "event": event, **facts}
        self._stream.write(msgspec.json.encode(line).decode() + "\n")
        self._stream.flush()

    def observe(self, session: str, notice: Notice) -> None:
        """Every notice but the bursts of audio, which are for the metrics."""
        if not isinstance(notice, AudioSent):
            facts = {field.name: getattr(notice, field.name) for field in dataclasses.fields(notice)}
            self.write(_snake_case(type(notice).__name__), session=session, **facts)


def quiet_logger(name: str) -> logging.Logger:
    """For a library's own messages, which go nowhere: what matters of them is counted and logged by us."""
    logger = logging.getLogger(name)
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    return logger


def _snake_case(name: str) -> str:
    return "".join("_" + letter.lower() if letter.isupper() else letter for letter in name).lstrip("_")
