"""The text of one context and where in its audio it is: what was spoken and what was not. Knows no wire, no clock."""

from __future__ import annotations

from bark_server.words import DEFAULT_S_PER_CHARACTER, SpokenSentence
from bark_stream.sentences import Sentence


class Transcript:
    """Everything a context was given to say, in order, and its sentences as they get audio."""

    def __init__(self, *, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._pieces: list[str] = []
        self._sources: dict[int, tuple[int, str]] = {}
        self.num_characters = 0
        self.sentences: list[SpokenSentence] = []
        """Those that have audio, in order."""

    @property
    def text(self) -> str:
        return "".join(self._pieces)

    @property
    def s_per_character(self) -> float:
        """Of the speech so far."""
        done = [sentence for sentence in self.sentences[-8:] if sentence.is_done]
        num_characters = sum(len(sentence.source) for sentence in done)
        if not num_characters:
            return DEFAULT_S_PER_CHARACTER
        return sum(sentence.made_s for sentence in done) / num_characters

    def add(self, text: str) -> None:
        if text:
            self._pieces.append(text)
            self.num_characters += len(text)

    def expect(self, sentence: Sentence) -> None:
        """This sentence has been given to the engine."""
        self._sources[sentence.index] = (sentence.start, sentence.source)

    def begin(self, index: int, start_samples: int) -> SpokenSentence:
        """The first audio of sentence `index` is here."""
        offset, source = self._sources.pop(index)
        sentence = SpokenSentence(
            index=index, source=source, offset=offset, start_samples=start_samples, rate_hz=self._rate_hz
        )
        self.sentences.append(sentence)
        return sentence

    def split(self, heard_samples: int) -> tuple[str, str]:
        """What a listener at `heard_samples` has heard, and the rest; together exactly the text."""
        offset = 0
        for sentence in self.sentences:
            if heard_samples <= sentence.start_samples:
                break
            heard_s = (heard_samples - sentence.start_samples) / self._rate_hz
            offset = max(offset, sentence.offset + sentence.heard_offset(heard_s, self.s_per_character))
        text = self.text
        return text[:offset], text[offset:]
