"""Load on a streaming server, as listeners feel it: requests at random times that wait for nobody (open loop).

A listener starts to play 80 ms after the first packet. An underrun is a packet that comes after its playback time; the
listener then waits for it and plays on. Strict underruns, beside it, are those of one who starts at once, without a
jitter buffer. TTFA runs from the last character of the first sentence to its first audible sample, as played without
that delay.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from bark_server.frames import unpack
from bark_server.opus import OpusEncoder
from websockets.asyncio.client import ClientConnection, connect

from bark_stream.benchmark.playout import Playout

AUDIBLE = 10 ** (-40 / 20)
"""RMS of 5 ms that counts as sound: -40 dB of full scale."""


@dataclass(slots=True)
class Heard:
    """What one listener got."""

    ttfa_s: float | None = None
    num_underruns: int = 0
    num_strict_underruns: int = 0
    late_s: float = 0.0
    """Longest wait inside the audio."""
    audio_s: float = 0.0
    num_packets: int = 0
    error: str | None = None
    cancel_s: float | None = None
    """From `cancel` to `cancelled`."""


@dataclass(slots=True)
class Listener:
    """Turns the packets of one context into what is heard."""

    rate_hz: int
    pre_skip: int = 0
    heard: Heard = field(default_factory=Heard)
    _playout: Playout = field(default_factory=Playout)
    _unbuffered: Playout = field(default_factory=lambda: Playout(buffer_s=0.0))
    _first_s: float | None = None
    _audible_samples: int | None = None
    _decoder: object | None = None

    def packet(self, frame: bytes, now: float) -> None:
        audio = unpack(frame)
        self.heard.num_packets += 1
        self._first_s = now if self._first_s is None else self._first_s
        for playout in (self._playout, self._unbuffered):
            playout.hear(now, audio.timestamp / self.rate_hz)
        self.heard.num_underruns, self.heard.late_s = self._playout.num_underruns, self._playout.worst_s
        self.heard.num_strict_underruns = self._unbuffered.num_underruns
        if self._audible_samples is None:
            self._look_for_sound(audio.timestamp, audio.payload)

    def first_audible_s(self) -> float | None:
        """When the first audible sample is heard by a listener who plays at once."""
        if self._first_s is None or self._audible_samples is None:
            return None
        return self._first_s + self._audible_samples / self.rate_hz

    def _look_for_sound(self, timestamp: int, payload: bytes) -> None:
        if self._decoder is None:
            OpusEncoder(rate_hz=self.rate_hz, bitrate=32_000)  # finds the library for opuslib
            import opuslib

            self._decoder = opuslib.Decoder(self.rate_hz, 1)
        frame_samples = self.rate_hz // 50
        pcm = np.frombuffer(self._decoder.decode_float(payload, frame_samples), dtype=np.float32)  # type: ignore[attr-defined]
        windows = np.sqrt(np.mean(pcm.reshape(4, -1) ** 2, axis=1))
        if (windows > AUDIBLE).any():
            start = int(np.argmax(windows > AUDIBLE)) * frame_samples // 4
            self._audible_samples = max(0, timestamp + start - self.pre_skip)


@dataclass(frozen=True, slots=True)
class Manner:
    """How a request is made."""

    word_pause_s: float | None = None
    """Text comes word by word with this pause; None: at once."""
    cancel_after_s: float | None = None
    """Interrupt so long after the first packet; None: hear it out."""


async def request(url: str, text: str, manner: Manner) -> Heard:
    """One turn on a socket of its own."""
    try:
        async with connect(url, compression=None, max_queue=None) as client:
            rate_hz = json.loads(await client.recv())["sample_rate"]
            listener = Listener(rate_hz)
            sent = asyncio.create_task(_say(client, text, manner))
            try:
                await _listen(client, listener, sent, manner)
            finally:
                sent.cancel()
            return listener.heard
    except (OSError, TimeoutError, asyncio.TimeoutError) as problem:
        return Heard(error=type(problem).__name__)


async def _say(client: ClientConnection, text: str, manner: Manner) -> list[tuple[int, float]]:
    """Send the text. Returns how many characters had been sent when."""
    pieces = [text] if manner.word_pause_s is None else _words(text)
    times, length = [], 0
    for piece in pieces:
        await client.send(json.dumps({"type": "text", "context": "a", "text": piece}))
        length += len(piece)
        times.append((length, time.perf_counter()))
        if manner.word_pause_s is not None:
            await asyncio.sleep(manner.word_pause_s)
    await client.send(json.dumps({"type": "close", "context": "a"}))
    return times


async def _listen(
    client: ClientConnection, listener: Listener, sent: asyncio.Task[list[tuple[int, float]]], manner: Manner
) -> None:
    heard, first_sentence = listener.heard, None
    cancels: list[float] = []
    while True:
        frame = await asyncio.wait_for(client.recv(), 120)
        now = time.perf_counter()
        if isinstance(frame, bytes):
            listener.packet(frame, now)
            if manner.cancel_after_s is not None and heard.num_packets == 1:
                asyncio.get_running_loop().call_later(manner.cancel_after_s, _cancel, client, cancels)
            continue
        message = json.loads(frame)
        kind = message["type"]
        if kind == "opened":
            listener.pre_skip = message["pre_skip"]
        elif kind == "sentence" and first_sentence is None:
            first_sentence = message["text"]
        elif kind == "error":
            heard.error = message["code"]
            if message["code"] in {"overloaded", "too_many_contexts"}:
                return
        elif kind == "cancelled":
            heard.cancel_s = now - cancels[0]
            return
        elif kind == "done":
            heard.audio_s = message["audio_ms"] / 1000
            break
    audible_s = listener.first_audible_s()
    if audible_s is not None and first_sentence is not None:
        length = len(first_sentence.rstrip())
        heard.ttfa_s = audible_s - next(at_s for reached, at_s in await sent if reached >= length)


def _cancel(client: ClientConnection, cancels: list[float]) -> None:
    cancels.append(time.perf_counter())
    asyncio.ensure_future(client.send(json.dumps({"type": "cancel", "context": "a"})))  # noqa: RUF006


def _words(text: str) -> list[str]:
    words = text.split(" ")
    return [word + " " for word in words[:-1]] + words[-1:]


async def poisson(
    url: str, texts: Sequence[str], *, rate_per_s: float, seconds: float, manner: Manner, seed: int
) -> list[Heard]:
    """Requests for `seconds`, `rate_per_s` of them on average, each at its time whatever became of the others."""
    chance = random.Random(seed)
    tasks, start_s, due_s = [], time.perf_counter(), 0.0
    while True:
        due_s += chance.expovariate(rate_per_s)
        if due_s > seconds:
            break
        await asyncio.sleep(max(0.0, start_s + due_s - time.perf_counter()))
        tasks.append(asyncio.create_task(request(url, chance.choice(texts), manner)))
    return list(await asyncio.gather(*tasks))
