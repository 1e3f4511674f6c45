"""What of a context's text has been heard at a moment of its playback. Knows captions, no audio and no socket.

The server answers the same question when a context is cancelled. It cannot once it has sent everything, while the
listener may still be seconds behind; so the client keeps what it needs to answer for itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bark_client.messages import Sentence, Visemes, Word, Words


@dataclass(slots=True)
class _Line:
    """A sentence and the words told of it so far."""

    sentence: Sentence
    words: list[Word] = field(default_factory=list)

    def heard_characters(self, played_ms: int, end_ms: int | None) -> int:
        """Characters of the sentence that were heard: all after its end (None: not known yet), whole words before."""
        text = self.sentence.text
        if end_ms is not None and played_ms >= end_ms:
            return len(text)
        cursor = heard = 0
        for word in self.words:
            found = text.find(word.text, cursor)
            cursor = cursor if found < 0 else found + len(word.text)
            if word.end_ms > played_ms:
                break
            heard = cursor
        return heard


class Transcript:
    """The sentences of one context as they are announced. A caption that comes twice counts once."""

    def __init__(self) -> None:
        self._lines: list[_Line] = []
        self._mouth_ms = 0
        """Up to here mouth shapes are known."""

    def add_sentence(self, sentence: Sentence) -> bool:
        """False when it is known already."""
        if any(line.sentence.index == sentence.index for line in self._lines):
            return False
        self._lines.append(_Line(sentence))
        return True

    def add_words(self, words: Words) -> Words | None:
        """What of `words` is new; None when nothing is."""
        line = next((line for line in self._lines if line.sentence.index == words.index), None)
        if line is None:
            return words
        known = {(word.start_ms, word.text) for word in line.words}
        fresh = tuple(word for word in words.words if (word.start_ms, word.text) not in known)
        line.words.extend(fresh)
        if not fresh:
            return None
        return Words(context=words.context, index=words.index, words=fresh, estimated=words.estimated)

    def add_visemes(self, visemes: Visemes) -> bool:
        """False when they are known already."""
        if not visemes.visemes or visemes.visemes[0].start_ms < self._mouth_ms:
            return False
        self._mouth_ms = visemes.visemes[-1].end_ms
        return True

    def split(self, text: str, played_ms: int, end_ms: int | None) -> tuple[str, str]:
        """`text` cut where the listener was: heard, not heard.

        Args:
            text: all that was sent.
            played_ms: how much of the context's audio was played.
            end_ms: where its audio ends; None while that is not known.
        """
        cut = begin = 0
        for position, line in enumerate(self._lines):
            if played_ms <= line.sentence.start_ms:
                break
            is_final = position + 1 == len(self._lines)
            line_end_ms = end_ms if is_final else self._lines[position + 1].sentence.start_ms
            # A sentence that could not be spoken is announced by nobody: look for the next one behind it.
            begin = max(begin, text.find(line.sentence.text, begin))
            cut = begin + line.heard_characters(played_ms, line_end_ms)
            begin += len(line.sentence.text)
        return text[:cut], text[cut:]
