"""Text that is still being written -> sentences, each as soon as its end is certain.

Every character is taken on its own, so the slices that text arrives in make no difference. Ends are found by
`boundaries`, cuts of what is too long by `clauses`. Knows neither model nor tokenizer: it may be given a function that
counts tokens.

Why no library finds the ends: one that looks at the text again after each character has to be told the language and
takes ends back. On the 191 golden cases of the tests sentencex 1.0 has 157 right and pysbd 0.3 151 (these rules: 179
when first run, all since they were mended after it); on 104 cases that come with the two, sentencex has 99, pysbd 103,
these rules 96 (91 when first run). Of some 230 ends sentencex took back 6 and pysbd 11, at 14 and 680 µs a character.

Nothing is lost: the sources of all sentences, then `pending`, are the text that was pushed. White space and emoji after
a sentence are part of its source if they came before it left, else of the next one's. What cannot be spoken stays
pending through a `flush` and goes with the next sentence, if one comes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from bark_stream.boundaries import Boundary, BoundaryScanner
from bark_stream.clauses import best_cut, ends_clause, spoken_weight, weight
from bark_stream.enclosures import ONLY_CLOSING
from bark_stream.errors import ConfigError
from bark_stream.stops import STOPS
from bark_stream.text import has_speech, normalize_whitespace, without_tags


@dataclass(frozen=True, kw_only=True, slots=True)
class SentencePolicy:
    """Lengths are in Latin letters; a Han, kana or Hangul character and a digit count for three."""

    max_characters: int = 200
    """Some 13 s of speech; what is longer is cut at a clause."""
    max_text_tokens: int = 256
    """What the model takes. Only looked at where tokens can be counted."""
    min_characters: int = 20
    """A shorter sentence waits for the next one: Bark is unsure of itself in a word or two."""
    eager: bool = True
    """The first sentence of a turn need not be whole: whoever listens is waiting for it. A flush ends the turn."""
    eager_characters: int = 24
    """An eager first sentence leaves at a clause from this length on."""
    eager_min_characters: int = 8
    """An eager first sentence that is whole waits for company only below this length ("Yes."), and then only until the
    next end of a clause or a sentence."""

    def __post_init__(self) -> None:
        for name in ("max_characters", "max_text_tokens", "min_characters", "eager_characters", "eager_min_characters"):
            if getattr(self, name) < 1:
                raise ConfigError(name, "must be at least 1")
        for name in ("min_characters", "eager_characters", "eager_min_characters"):
            if getattr(self, name) > self.max_characters:
                raise ConfigError(name, "must not exceed max_characters")


@dataclass(frozen=True, slots=True)
class Sentence:
    index: int
    text: str
    """What the model is given: white space normalised, never empty."""
    source: str
    """The exact span of the input."""
    start: int
    """Offset of `source` in the input, in characters."""


class SentenceStream:
    """One speaker's text. `push` what has been written, `flush` when nothing more is coming for now."""

    def __init__(self, policy: SentencePolicy | None = None, *, num_tokens: Callable[[str], int] | None = None) -> None:
        """Args: num_tokens: length of a sentence's text in tokens, to keep `max_text_tokens`."""
        self._policy = policy or SentencePolicy()
        self._num_tokens = num_tokens
        self._scanner = BoundaryScanner(self._policy.max_characters)
        self._unread: deque[str] = deque()
        """Characters that come next; empty between calls."""
        self._prefix: list[str] = []
        """Source of the next sentence that is not part of its text."""
        self._weight = 0
        self._is_first = True
        self._has_just_left = False
        self._num_sentences = 0
        self._start = 0

    @property
    def pending(self) -> str:
        """What no sentence has taken yet; after a flush, what cannot be spoken."""
        return "".join(self._prefix) + self._scanner.text

    def push(self, text: str) -> list[Sentence]:
        """Take the next slice of text, of any size. Returns the sentences that are certain now."""
        done: list[Sentence] = []
        for character in text:
            self._unread.append(character)
            self._read(done)
        return done

    def flush(self) -> list[Sentence]:
        """Speak what is pending, whole sentence or not. The text may go on; a new turn begins."""
        done: list[Sentence] = []
        boundary = self._scanner.finish()
        if boundary is not None:
            self._end_sentence(boundary, done)
            self._read(done)
        while has_speech(self._scanner.text):
            self._leave(len(self._scanner.text), done)
            self._read(done)
        self._is_first = True
        return done

    def _read(self, done: list[Sentence]) -> None:
        while self._unread:
            self._step(self._unread.popleft(), done)

    def _step(self, character: str, done: list[Sentence]) -> None:
        scanner = self._scanner
        if self._has_just_left and not scanner.text:
            if character in STOPS or character in ONLY_CLOSING:  # belongs to what has left
                self._prefix.append(character)
                return
            self._has_just_left = False
        before = scanner.text
        boundary = scanner.feed(character)
        if not (character.isspace() and (not before or before[-1].isspace())):
            self._weight += weight(character)
        is_whole = boundary is None or boundary.end == len(scanner.text)
        if is_whole and (self._weight > self._policy.max_characters or len(before) >= 4 * self._policy.max_characters):
            self._shorten(done)
        elif boundary is not None:
            self._end_sentence(boundary, done)
        elif self._may_leave_at_clause(before, character):
            self._leave(len(before) if not ends_clause(scanner.text) else len(scanner.text), done)

    def _end_sentence(self, boundary: Boundary, done: list[Sentence]) -> None:
        """All before the boundary leaves, or waits for company."""
        head = self._scanner.text[: boundary.end]
        is_eager = self._policy.eager and self._is_first
        enough = self._policy.eager_min_characters if is_eager else self._policy.min_characters
        if boundary.must_leave or (spoken_weight(head) >= enough and has_speech(without_tags(head))):
            self._leave(boundary.end, done)
        else:
            self._read_again(self._scanner.hold(boundary.end))

    def _may_leave_at_clause(self, before: str, character: str) -> bool:
        policy = self._policy
        if not (policy.eager and self._is_first and self._weight >= policy.eager_characters):
            return False
        if character.isspace() or character == "[" or not self._scanner.is_between_words:
            return False
        at_mark = ends_clause(self._scanner.text) and not character.isascii()
        at_space = before[-1:].isspace() and ends_clause(before)
        head = self._scanner.text if at_mark else before
        return (
            (at_mark or at_space) and spoken_weight(head) >= policy.eager_characters and has_speech(without_tags(head))
        )

    def _shorten(self, done: list[Sentence]) -> None:
        """The text has grown beyond what may be spoken at once."""
        text = self._scanner.text
        if has_speech(text):
            self._leave(best_cut(text, self._policy.max_characters), done)
        else:
            self._prefix.append(text)
            self._scanner.take(len(text))
            self._weight = 0

    def _leave(self, end: int, done: list[Sentence]) -> None:
        """The first `end` characters become a sentence, or less if they are too many tokens; the rest is read again."""
        head = self._fit(self._scanner.text[:end])
        rest = self._scanner.take(len(head))
        if has_speech(head):
            source = "".join(self._prefix) + head
            done.append(Sentence(self._num_sentences, normalize_whitespace(head), source, self._start))
            self._prefix.clear()
            self._num_sentences += 1
            self._start += len(source)
            self._is_first = False
            self._has_just_left = not rest
        else:
            self._prefix.append(head)
        self._read_again(rest)

    def _fit(self, head: str) -> str:
        """As much of `head` as the model's text tokens allow."""
        if self._num_tokens is None:
            return head
        max_tokens = self._policy.max_text_tokens
        while len(head) > 1 and (num_tokens := self._num_tokens(normalize_whitespace(head))) > max_tokens:
            max_weight = sum(map(weight, head)) * max_tokens // num_tokens
            shorter = head[: best_cut(head, max(1, min(max_weight, sum(map(weight, head)) - 1)))]
            head = shorter if len(shorter) < len(head) else head[:-1]
        return head

    def _read_again(self, rest: str) -> None:
        """`rest` comes next, after what the scanner still holds."""
        self._weight = sum(map(weight, self._scanner.text))
        self._unread.extendleft(reversed(rest))
