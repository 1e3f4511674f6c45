"""One context as ElevenLabs' clients hear it: typed events in, messages with sound and its characters out."""

from __future__ import annotations

import asyncio
import base64

from bark_server.doors.caller import PcmOfPackets, ServerEvent
from bark_server.doors.characters import Character, CharacterClock
from bark_server.doors.elevenlabs_messages import FORMATS, Alignment, Heard, Query
from bark_server.frames import AudioFrame
from bark_server.messages import Cancelled, Done, SentenceStarted, Words
from bark_server.sound import SoundStream


class HeardContext:
    """`name` is None where the protocol has no contexts."""

    def __init__(self, name: str | None, query: Query, *, rate_hz: int, speed: float) -> None:
        self._name = name
        self._rate_hz = rate_hz
        self._speed = speed
        self._counts_from_start = query.sync_alignment
        self._sound = SoundStream(FORMATS[query.output_format], rate_hz=rate_hz, speed=speed)
        self._packets = PcmOfPackets()
        self._clock = CharacterClock()
        self._num_samples = 0
        self._aligned_ms = 0
        """Up to here sound has its characters."""
        self.is_over = False

    def take_in(self, event: ServerEvent) -> None:
        if isinstance(event, AudioFrame):
            self._packets.push(event)
        elif isinstance(event, SentenceStarted):
            self._clock.begin(event)
        elif isinstance(event, Words):
            self._clock.learn(event)
        elif isinstance(event, Done):
            self._packets.end(event.audio_samples)
            self.is_over = True
        elif isinstance(event, Cancelled):
            self.is_over = True

    async def messages(self) -> list[Heard]:
        """What there is to hear now. Encoding leaves the event loop to others."""
        pcm, data = self._packets.take(), b""
        self._num_samples += len(pcm)
        if len(pcm):
            data = await asyncio.to_thread(self._sound.push, pcm)
        if self.is_over and self._num_samples:
            data += await asyncio.to_thread(self._sound.end)
        messages = [self._heard(data)] if data else []
        if self.is_over:
            messages.append(Heard(is_final=True, context_id=self._name))
        return messages

    def _heard(self, data: bytes) -> Heard:
        end_ms = self._num_samples * 1000 / self._rate_hz
        characters = self._clock.take_rest() if self.is_over else self._clock.take(end_ms)
        if self.is_over and not characters and self._aligned_ms:
            # Clients that add the times of messages up must come to the end of the sound.
            characters = [Character(" ", end_ms, end_ms)]
        alignment = self._align(characters, round(end_ms / self._speed)) if characters else None
        return Heard(
            audio=base64.b64encode(data).decode(),
            alignment=alignment,
            normalized_alignment=alignment,
            context_id=self._name,
        )

    def _align(self, characters: list[Character], end_ms: int) -> Alignment:
        """Each alignment lasts from where the one before ended to the end of the sound so far."""
        origin_ms = 0 if self._counts_from_start else self._aligned_ms
        starts = [max(self._aligned_ms, round(character.start_ms / self._speed)) for character in characters]
        ends = [round(character.end_ms / self._speed) for character in characters]
        self._aligned_ms = ends[-1] = max(end_ms, starts[-1])
        return Alignment(
            chars=[character.text for character in characters],
            char_start_times_ms=[start - origin_ms for start in starts],
            char_durations_ms=[max(0, end - start) for start, end in zip(starts, ends, strict=True)],
        )
