"""One context: a speaker's turn from its text to its packets. No socket, no thread, no clock of its own.

text -> SentenceStream -> engine -> chunks -> Packetizer -> frames, paced by Playback, with captions from Transcript
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bark_server.errors import ClientError
from bark_server.frames import FIRST_OF_SENTENCE, LAST_OF_CONTEXT, pack
from bark_server.limits import Limits
from bark_server.messages import Cancelled, Done, SentenceStarted, Viseme, Visemes, Words, WordTime, encode
from bark_server.outbox import EARLY_S
from bark_server.outlog import Entry
from bark_server.pacing import Playback
from bark_server.packets import Packetizer
from bark_server.speech import SpeechStream
from bark_server.transcript import Transcript
from bark_server.words import SpokenSentence
from bark_stream.errors import BarkStreamError
from bark_stream.events import Chunk, Event, MouthShape, SentenceDone, SentenceFailed
from bark_stream.sentences import Sentence, SentenceStream


class Context:
    """Made by a session. `open_speech` begins the engine's stream; it is called with the first sentence."""

    def __init__(
        self,
        *,
        name: str,
        number: int,
        packetizer: Packetizer,
        playback: Playback,
        sentences: SentenceStream,
        open_speech: Callable[[], SpeechStream],
        rate_hz: int,
        limits: Limits,
        now: float,
        wants_visemes: bool = False,
    ) -> None:
        self.name = name
        self.number = number
        self.is_closed = False
        """The client will send no more text."""
        self.is_finished = False
        """`done` was taken."""
        self.underruns = 0
        self.waited_s = 0.0
        """By the listener, in those underruns."""
        self.ttfa_s: float | None = None
        self.active_s = now
        """When something last happened to it."""
        self.transcript = Transcript(rate_hz=rate_hz)
        self.playback = playback
        self._packetizer = packetizer
        self._sentences = sentences
        self._open_speech = open_speech
        self._speech: SpeechStream | None = None
        self._rate_hz = rate_hz
        self._wants_visemes = wants_visemes
        self._max_buffer_samples = limits.max_buffer_ms * rate_hz // 1000
        self._max_text_characters = limits.max_text_characters
        self._limit_samples = self._max_buffer_samples
        self._owed: set[int] = set()
        """Sentences given to the engine and not finished."""
        self._num_spoken = 0
        self._compute_s = 0.0
        self._made_samples = 0
        self._made_s = now
        self._awaiting_since_s: float | None = None
        self._first_said_s: float | None = None
        self._sequence = 0
        self._captioned_samples = 0
        """No caption is due before a packet that ends here or earlier, unless the engine says something new."""
        self._num_announced = 0
        self._num_told = 0

    # What the client asks.

    def add_text(self, text: str, now: float) -> None:
        """Raises: ClientError `context_closed` or `text_too_long`; then nothing of it was taken."""
        self._refuse_if_closed()
        if self.transcript.num_characters + len(text) > self._max_text_characters:
            limit = f"a context takes {self._max_text_characters} characters"
            raise ClientError("text_too_long", limit, context=self.name)
        self.transcript.add(text)
        self._say(self._sentences.push(text), now)

    def flush(self, now: float) -> None:
        """Raises: ClientError `context_closed`."""
        self._refuse_if_closed()
        self._say(self._sentences.flush(), now)

    def close(self, now: float) -> None:
        """No more text. Raises: ClientError `context_closed`."""
        self._refuse_if_closed()
        self.is_closed = True
        try:
            self._say(self._sentences.flush(), now)
        finally:
            self._end_if_complete()

    def played(self, played_ms: int, now: float) -> None:
        self.playback.report(self._to_samples(played_ms), now)
        self._report(now)

    def cancel(self, played_ms: int | None) -> Cancelled:
        """Stop, free everything, and say what was heard."""
        self.release()
        return cut(self.name, self.transcript, self.audio_samples, played_ms, self._rate_hz)

    def release(self) -> None:
        """Free the engine's stream, the encoder and the audio."""
        if self._speech is not None:
            self._speech.close()
            self._speech = None
        self._packetizer.close()
        self._owed.clear()
        self._awaiting_since_s = None

    # What the engine says.

    def on_event(self, event: Event, now: float) -> None:
        """Raises: ClientError when a sentence could not be spoken; the context lives on."""
        self._captioned_samples = 0
        if isinstance(event, Chunk):
            self._on_chunk(event, now)
        elif isinstance(event, SentenceDone):
            self._num_spoken += 1
            self._compute_s += event.compute_s
            sentence = self._sentence(event.sentence)
            if sentence is not None:
                sentence.finish(event.num_samples, event.words)
            self._settle(event.sentence, now)
        elif isinstance(event, SentenceFailed):
            sentence = self._sentence(event.sentence)
            if sentence is not None:
                sentence.finish(sentence.made_samples, None)
            self._settle(event.sentence, now)
            raise self._failure(event.error)

    # What goes out.

    @property
    def audio_samples(self) -> int:
        """Of the engine's audio, what has left."""
        return min(self.playback.sent_samples, self._made_samples)

    @property
    def is_idle(self) -> bool:
        """Nothing is being made and nothing waits to be sent."""
        return not self._owed and not self._packetizer.can_take

    def owed_for_s(self, now: float) -> float:
        """For how long the engine has owed audio; 0 when it owes none or waits for the listener."""
        if self._awaiting_since_s is None or self._made_samples >= self._limit_samples:
            return 0.0
        return now - self._awaiting_since_s

    def is_due(self, now: float) -> bool:
        return self.next_wakeup_s(now) <= now + EARLY_S

    def next_wakeup_s(self, now: float) -> float:
        """When `take` will next have something, as far as is known."""
        if self._is_complete:
            return now
        return self.playback.next_burst_s(now) if self._packetizer.can_take else float("inf")

    def take(self, now: float, max_packets: int) -> list[Entry]:
        """Frames that leave now: captions, packets, and at the very end `done`."""
        entries: list[Entry] = []
        num_packets = 0
        frame_samples = self._packetizer.frame_samples
        while num_packets < max_packets and self._packetizer.can_take and self.playback.may_send(frame_samples, now):
            entries += self._take_packet(now)
            num_packets += 1
        if num_packets:
            self.active_s = now
            self._report(now)
        if self._is_complete:
            entries.append(self._text(encode(self._done())))
            self.is_finished = True
            self.release()
        return entries

    @property
    def _is_complete(self) -> bool:
        return self._packetizer.is_ended and not self._packetizer.can_take and not self.is_finished

    def _take_packet(self, now: float) -> list[Entry]:
        start = self._packetizer.taken_samples
        end = start + self._packetizer.frame_samples
        entries, flags = ([], 0) if end <= self._captioned_samples else self._captions(start, end)
        if self.ttfa_s is None and self._first_said_s is not None:
            self.ttfa_s = now - self._first_said_s
        # The newest audio came after the time at which this was to be heard: the engine was late, not the network.
        if not flags & FIRST_OF_SENTENCE and self._made_s > self.playback.deadline_s:
            self.underruns += 1
            self.waited_s += self._made_s - self.playback.deadline_s
        if self._packetizer.is_last:
            flags |= LAST_OF_CONTEXT
        frame = pack(self.number, self._sequence, start, flags, self._packetizer.take())
        entries.append(Entry(self.number, self._sequence, frame))
        self._sequence += 1
        self.playback.send(self._packetizer.frame_samples, now)
        return entries

    def _captions(self, start: int, end: int) -> tuple[list[Entry], int]:
        """Messages that come before the packet of samples `start` … `end`, and that packet's flags."""
        entries, flags = [], 0
        sentences = self.transcript.sentences
        while self._num_announced < len(sentences) and sentences[self._num_announced].start_samples < end:
            entries.append(self._text(encode(self._started(sentences[self._num_announced]))))
            self._num_announced += 1
            flags = FIRST_OF_SENTENCE
        for sentence in sentences[self._num_told : self._num_announced]:
            is_over = sentence.is_done and sentence.end_samples <= start
            if (
                not is_over
                and sentence.needs_telling(end)
                and (words := sentence.tell(self.transcript.s_per_character))
            ):
                entries.append(self._text(encode(self._words(sentence, len(words)))))
            if self._wants_visemes and (shapes := sentence.tell_shapes()):
                entries.append(self._text(encode(self._visemes(sentence, shapes))))
            if sentence.is_done and sentence.end_samples <= end:
                self._num_told += 1
        self._captioned_samples = self._next_caption_samples()
        return entries, flags

    def _next_caption_samples(self) -> int:
        """Up to here everything that is known has been told."""
        sentences = self.transcript.sentences
        ends = [sentence.told_samples for sentence in sentences[self._num_told : self._num_announced]]
        if self._num_announced < len(sentences):
            ends.append(sentences[self._num_announced].start_samples)
        return min(ends, default=self._made_samples)

    def _started(self, sentence: SpokenSentence) -> SentenceStarted:
        return SentenceStarted(
            context=self.name,
            index=sentence.index,
            text=sentence.source,
            start_ms=self._to_ms(sentence.start_samples),
        )

    def _words(self, sentence: SpokenSentence, num_new: int) -> Words:
        return Words(
            context=self.name,
            index=sentence.index,
            words=tuple(
                WordTime(
                    text=word.text,
                    start_ms=self._at_ms(sentence, word.start_s),
                    end_ms=self._at_ms(sentence, word.end_s),
                )
                for word in sentence.words[-num_new:]
            ),
            estimated=sentence.is_estimated,
        )

    def _visemes(self, sentence: SpokenSentence, shapes: Sequence[MouthShape]) -> Visemes:
        return Visemes(
            context=self.name,
            index=sentence.index,
            visemes=tuple(
                Viseme(
                    shape=shape.shape,
                    start_ms=self._at_ms(sentence, shape.start_s),
                    end_ms=self._at_ms(sentence, shape.end_s),
                )
                for shape in shapes
            ),
        )

    def _at_ms(self, sentence: SpokenSentence, seconds: float) -> int:
        """A moment of a sentence on the context's clock."""
        return round(sentence.start_samples * 1000 / self._rate_hz + seconds * 1000)

    def _done(self) -> Done:
        audio_s = self._made_samples / self._rate_hz
        return Done(
            context=self.name,
            audio_ms=self._to_ms(self._made_samples),
            audio_samples=self._made_samples,
            sentences=self._num_spoken,
            ttfa_ms=None if self.ttfa_s is None else round(self.ttfa_s * 1000),
            rtf=self.rtf if audio_s else None,
        )

    @property
    def rtf(self) -> float | None:
        """Compute time / audio time of what was made; None before there is any."""
        if not self._made_samples:
            return None
        return round(self._compute_s * self._rate_hz / self._made_samples, 4)

    @property
    def num_sentences(self) -> int:
        return self._num_spoken

    def _text(self, frame: str) -> Entry:
        return Entry(self.number, None, frame)

    # Towards the engine.

    def _say(self, sentences: list[Sentence], now: float) -> None:
        self.active_s = now
        for sentence in sentences:
            if self._speech is None:
                self._speech = self._open_speech()
                self._speech.report(limit_samples=self._limit_samples)
            self.transcript.expect(sentence)
            self._speech.say(sentence)
            if not self._owed:
                self._awaiting_since_s = now
            self._owed.add(sentence.index)
            if self._first_said_s is None:
                self._first_said_s = now

    def _report(self, now: float) -> None:
        self._limit_samples = self._packetizer.taken_samples + self._max_buffer_samples
        if self._speech is not None:
            self._speech.report(played_samples=self.playback.position_samples(now), limit_samples=self._limit_samples)

    def _on_chunk(self, chunk: Chunk, now: float) -> None:
        sentence = self._sentence(chunk.sentence)
        if sentence is None:
            sentence = self.transcript.begin(chunk.sentence, chunk.start_sample)
        sentence.made_samples = chunk.end_sample - sentence.start_samples
        sentence.learn(chunk.words, chunk.mouth_shapes if self._wants_visemes else ())
        self._packetizer.push(chunk.pcm)
        self._made_samples = chunk.end_sample
        self._made_s = self.active_s = self._awaiting_since_s = now

    def _sentence(self, index: int) -> SpokenSentence | None:
        """The sentence, if it has audio. Sentences come in order: it can only be the last."""
        last = self.transcript.sentences[-1] if self.transcript.sentences else None
        return last if last is not None and last.index == index else None

    def _settle(self, index: int, now: float) -> None:
        self._owed.discard(index)
        self.active_s = now
        self._awaiting_since_s = now if self._owed else None
        self._end_if_complete()

    def _end_if_complete(self) -> None:
        if self.is_closed and not self._owed and not self._packetizer.is_ended:
            self._packetizer.end()

    def _failure(self, error: BarkStreamError) -> ClientError:
        # The engine's message may quote the text, so only the kind of error is told.
        code = "text_too_long" if error.code == "text_too_long" else "generation_failed"
        return ClientError(code, f"a sentence could not be spoken ({error.code})", context=self.name)

    def _refuse_if_closed(self) -> None:
        if self.is_closed:
            raise ClientError("context_closed", "this context takes no more text", context=self.name)

    def _to_ms(self, samples: int) -> int:
        return round(samples * 1000 / self._rate_hz)

    def _to_samples(self, milliseconds: int) -> int:
        return milliseconds * self._rate_hz // 1000


def cut(name: str, transcript: Transcript, sent_samples: int, played_ms: int | None, rate_hz: int) -> Cancelled:
    """What was heard of a context, `played_ms` into its audio; of all that was sent when the client does not know."""
    # Milliseconds were rounded on their way here: the whole of the last one counts as heard.
    if played_ms is None:
        played_samples = sent_samples
    else:
        played_samples = min(sent_samples, (played_ms + 1) * rate_hz // 1000) if played_ms else 0
    spoken, unspoken = transcript.split(played_samples)
    audio_ms = round(sent_samples * 1000 / rate_hz)
    return Cancelled(
        context=name,
        audio_ms=audio_ms,
        played_ms=audio_ms if played_ms is None else min(played_ms, audio_ms),
        spoken=spoken,
        unspoken=unspoken,
    )
