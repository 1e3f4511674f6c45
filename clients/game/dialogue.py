"""Many characters that talk over one socket: who may speak, what is heard of it, and how their faces move.

    Scene      the talk of a place: lines wait here, the more important ones go first
    Character  somebody with a voice; says lines, can be interrupted
    Utterance  a line on its way: its audio, captions and mouth shapes, and where the listener is in them

A game calls `scene.update()` once per frame and `scene.mix()` from its audio callback. Time is what was mixed: captions
and mouths follow the sound even if the game stutters. Knows no engine and no loudspeaker.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import deque
from dataclasses import dataclass, field

import numpy as np
from bark_client import BarkClient, BarkClientError, Cancelled, Sentence, Visemes, Words
from bark_client.context import Context
from bark_client.opus import decoder_for
from numpy.typing import NDArray

DUCKED_GAIN = 0.35
"""Of whoever speaks while somebody more important does."""
CLOSED_MOUTH, OPEN_MOUTH = "sil", "aa"
AUDIBLE = 0.01
"""Mean level above which a mouth opens, where the model tells no shapes."""
PLAYED_EVERY_MS = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    speaker: Character
    text: str
    priority: int = 0
    """The higher goes first, and takes the place of a lower one that is being spoken."""


@dataclass(slots=True)
class _Track:
    """Things that begin at moments of the audio, in order."""

    starts_ms: list[int] = field(default_factory=list)
    values: list[str] = field(default_factory=list)

    def add(self, start_ms: int, value: str) -> None:
        self.starts_ms.append(start_ms)
        self.values.append(value)

    def at(self, moment_ms: int) -> str | None:
        """The newest that has begun."""
        index = bisect_right(self.starts_ms, moment_ms)
        return self.values[index - 1] if index else None


class Utterance:
    def __init__(self, line: Line, context: Context) -> None:
        self.line = line
        self.is_over = False
        """All of it was heard, or nothing more will come."""
        self._context = context
        self._blocks: deque[NDArray[np.float32]] = deque()
        self._sentences, self._words, self._shapes = _Track(), _Track(), _Track()
        self._rate_hz = 0
        self._heard_samples = 0
        self._level = 0.0
        self._reported_ms = 0
        self._has_all = False
        self._tasks = {asyncio.create_task(self._receive())}

    @property
    def heard_ms(self) -> int:
        return 1000 * self._heard_samples // self._rate_hz if self._rate_hz else 0

    @property
    def caption(self) -> str:
        """The sentence that is being heard."""
        return (self._sentences.at(self.heard_ms) or "").strip()

    @property
    def word(self) -> str:
        """The word that is being heard."""
        return self._words.at(self.heard_ms) or ""

    @property
    def mouth(self) -> str:
        """One of the fifteen shapes of Oculus Lipsync: as the model tells, else open when there is sound."""
        if self.is_over:
            return CLOSED_MOUTH
        told = self._shapes.at(self.heard_ms)
        return told or (OPEN_MOUTH if self._level > AUDIBLE else CLOSED_MOUTH)

    def pull(self, num_samples: int) -> NDArray[np.float32]:
        """[T = num_samples] float32: what is heard next; silence while there is none, which is not counted as heard."""
        pcm = np.zeros(num_samples, dtype=np.float32)
        filled = 0
        while self._blocks and filled < num_samples:
            block = self._blocks.popleft()
            part, rest = block[: num_samples - filled], block[num_samples - filled :]
            pcm[filled : filled + len(part)] = part
            filled += len(part)
            if len(rest):
                self._blocks.appendleft(rest)
        self._heard_samples += filled
        self._level = float(np.abs(pcm).mean())
        self.is_over = self.is_over or (self._has_all and not self._blocks)
        self._report()
        return pcm

    async def interrupt(self) -> Cancelled:
        """Silence at once; returns which words were heard and which were not."""
        self.is_over = True
        self._blocks.clear()
        return await self._context.cancel(self.heard_ms)

    def _report(self) -> None:
        """Let the server know where the listener is, now and then: it serves first who would run dry first."""
        if self.heard_ms - self._reported_ms >= PLAYED_EVERY_MS and not self.is_over:
            self._reported_ms = self.heard_ms
            task = asyncio.create_task(self._context.played(self.heard_ms))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _receive(self) -> None:
        decoder, num_skip = None, 0
        try:
            async for packet in self._context:
                opened = self._context.opened
                if decoder is None and opened is not None:
                    decoder, num_skip, self._rate_hz = decoder_for(opened), opened.pre_skip, opened.sample_rate
                for caption in packet.captions:
                    self._learn(caption)
                if decoder is not None and not self.is_over:
                    block = decoder.decode(packet.payload)
                    num_skipped = min(num_skip, len(block))
                    num_skip -= num_skipped
                    self._blocks.append(block[num_skipped:])
        except BarkClientError:
            pass  # What came is heard; the line ends here.
        finally:
            self._has_all = True

    def _learn(self, caption: Sentence | Words | Visemes) -> None:
        if isinstance(caption, Sentence):
            self._sentences.add(caption.start_ms, caption.text)
        elif isinstance(caption, Words):
            for word in caption.words:
                self._words.add(word.start_ms, word.text)
        else:
            for viseme in caption.visemes:
                self._shapes.add(viseme.start_ms, viseme.shape)


@dataclass(eq=False, slots=True)
class Character:
    name: str
    voice: str | None
    utterance: Utterance | None = None

    @property
    def is_speaking(self) -> bool:
        return self.utterance is not None and not self.utterance.is_over

    @property
    def mouth(self) -> str:
        return CLOSED_MOUTH if self.utterance is None else self.utterance.mouth

    @property
    def caption(self) -> str:
        return self.utterance.caption if self.utterance is not None and self.is_speaking else ""


class Scene:
    """`max_voices` speak at the same time at most; `max_lead_ms` is how far audio may come before it is heard."""

    def __init__(self, client: BarkClient, *, max_voices: int = 3, max_lead_ms: int | None = None) -> None:
        self._client = client
        self._max_voices = max_voices
        self._max_lead_ms = max_lead_ms
        self._characters: list[Character] = []
        self._waiting: list[Line] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._starting: set[str] = set()

    def character(self, name: str, *, voice: str | None = None) -> Character:
        self._characters.append(Character(name, voice))
        return self._characters[-1]

    def say(self, speaker: Character, text: str, *, priority: int = 0) -> None:
        """Let somebody say something when it is their turn: the most important first, then in order."""
        self._waiting.append(Line(speaker=speaker, text=text, priority=priority))

    async def interrupt(self, speaker: Character) -> Cancelled | None:
        """The player talks over somebody: they fall silent and forget what else they had to say.

        Returns: what was heard of it and what was not; None if they were not speaking.
        """
        self._waiting = [line for line in self._waiting if line.speaker is not speaker]
        if speaker.utterance is None or not speaker.is_speaking:
            return None
        return await speaker.utterance.interrupt()

    @property
    def speaking(self) -> list[Character]:
        return [character for character in self._characters if character.is_speaking]

    @property
    def is_quiet(self) -> bool:
        return not self.speaking and not self._waiting and not self._starting

    def update(self) -> None:
        """Once per frame: let those begin whose turn it is."""
        # Sorting keeps the order of lines that are equally important.
        for line in sorted(self._waiting, key=lambda line: -line.priority):
            if line.speaker.name in self._starting:
                continue
            place = self._place_for(line)
            if place is None:
                continue
            self._waiting.remove(line)
            self._starting.add(line.speaker.name)
            task = asyncio.create_task(self._begin(line, place))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def mix(self, num_samples: int) -> NDArray[np.float32]:
        """[T = num_samples] float32: everybody, the less important quieter while a more important one speaks."""
        speaking = self.speaking
        loudest = max((_priority(character) for character in speaking), default=0)
        mixed = np.zeros(num_samples, dtype=np.float32)
        for character in speaking:
            if character.utterance is not None:
                gain = 1.0 if _priority(character) == loudest else DUCKED_GAIN
                mixed += gain * character.utterance.pull(num_samples)
        return np.clip(mixed, -1.0, 1.0)

    def _place_for(self, line: Line) -> tuple[Character, ...] | None:
        """Who has to fall silent so that `line` can be said; None if it has to wait."""
        if line.speaker.is_speaking:
            return (line.speaker,) if _priority(line.speaker) < line.priority else None
        speaking = self.speaking
        if len(speaking) + len(self._starting) < self._max_voices:
            return ()
        least = min(speaking, key=_priority, default=None)
        return (least,) if least is not None and _priority(least) < line.priority else None

    async def _begin(self, line: Line, silenced: tuple[Character, ...]) -> None:
        try:
            for character in silenced:
                await self._put_off(character)
            context = await self._client.open(voice=line.speaker.voice, max_lead_ms=self._max_lead_ms, visemes=True)
            line.speaker.utterance = Utterance(line, context)
            await context.send(line.text)
            await context.close()
        finally:
            self._starting.discard(line.speaker.name)

    async def _put_off(self, character: Character) -> None:
        """Silence somebody; the words that were not heard wait for their next turn."""
        if character.utterance is None:
            return
        line = character.utterance.line
        rest = (await character.utterance.interrupt()).unspoken.strip()
        if rest:
            self._waiting.append(Line(speaker=character, text=rest, priority=line.priority))


def _priority(character: Character) -> int:
    return character.utterance.line.priority if character.utterance is not None else 0
