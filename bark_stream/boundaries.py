"""Where a sentence is certain to end, found while the text is still arriving, one character at a time.

A stop only proposes an end. What may still change it is waited for, and no more than that:

1. `。` `।` `॥` end at once; where a quotation or a bracket is open, its closing decides.
2. After `！？` comes the next character, for a row of stops belongs together.
3. After `. ! ? …` come the closing marks, then the next character that is not white space: a small letter goes on
   ("Well… yes", "“Go!” he said"), a digit goes on after "No." or "3.", a capital ends what is no abbreviation.
4. After "U.S." "J." "Inc." and a small number comes the whole next word: does it open sentences?
5. After `[laughs]` comes what follows it, so that a tag need not stay behind alone. Emoji go with what they follow.
6. A line's end: an empty line ends; so does a single one before a list item, or a capital after a short line.

Knows no language: lists and letter case decide for all. Knows neither lengths nor tokens.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto

from bark_stream.abbreviations import AFTER_ORDINAL, BEFORE_ORDINAL, OPENERS
from bark_stream.enclosures import CLOSING, NOTES, OPENING, Enclosures
from bark_stream.stops import STOPS, StopKind, classify_stop, is_symbol, is_wide, last_token
from bark_stream.text import has_speech, without_tags

_AT_ONCE = frozenset("。｡।॥")
_LINE_BREAKS = frozenset("\n\v\f\x85\u2028\u2029")
_BULLETS = frozenset("-*•–—#>·▪◦+")
_DASHES = frozenset("-–—―")
_GOES_ON = frozenset(",;:)]}、，；：")
_AFTER_QUOTATION = frozenset("とっのはがをにでもへやよ、，,")
"""Japanese particles: 「はい。」と言った is one sentence."""
_MAX_TAG_CHARACTERS = 40
_MAX_WORD_CHARACTERS = 24
_MIN_WRAPPED_CHARACTERS = 40
"""A longer line was wrapped by an editor; a shorter one is a heading, a verse or a list item."""
_SPEAKER = re.compile(r"[^\W\d_]{2,}(?: [^\W\d_]+)?")


@dataclass(frozen=True, slots=True)
class Boundary:
    end: int
    """Length of the sentence in the scanner's text."""
    must_leave: bool = False
    """Another speaker follows: it cannot wait for company, however short."""


class _Mode(Enum):
    TEXT = auto()
    STOPS = auto()
    """In a row of stops and closing marks."""
    GAP = auto()
    """In the white space after it."""
    TAG = auto()
    WORD = auto()
    GLUED = auto()
    """In a word that follows the stop at once, with a capital."""


class _Verdict(Enum):
    END = auto()
    WAIT = auto()
    NO_END = auto()


class BoundaryScanner:
    """Reads characters, keeps the text since the last end that was taken."""

    def __init__(self, max_song_characters: int = 200) -> None:
        self.text = ""
        self._sentence_start = 0
        self._enclosures = Enclosures(max_song_characters)
        self._mode = _Mode.TEXT
        # Of the stop that is in doubt:
        self._stop = self._end = 0
        self._kind = StopKind.PLAIN
        self._num_line_breaks = 0
        self._tag_start = 0
        self._tag_seen = False
        self._writes_small: bool | None = None
        """Has this writer begun every sentence with a small letter? None: has not begun."""

    def feed(self, character: str) -> Boundary | None:
        """Take one character. The answer is the end of a sentence that is certain now, at most the text's length."""
        position = len(self.text)
        self.text += character
        if self._writes_small is None and character.isalpha():
            self._writes_small = character.islower()
        if self._mode is not _Mode.TEXT:
            verdict = self._judge(character, position)
            if verdict is _Verdict.END:
                return Boundary(self._end)
            if verdict is _Verdict.WAIT:
                return None
            self._mode = _Mode.TEXT
        return self._read(character, position)

    def finish(self) -> Boundary | None:
        """Nothing follows: an end that was waiting for a whole word, if there is one."""
        if self._mode is _Mode.WORD and self._judge_word() is _Verdict.END:
            return Boundary(self._end)
        return None

    def take(self, end: int) -> str:
        """Begin anew after `end`; the caller feeds the rest, which is returned, again."""
        rest = self.text[end:]
        self.text = ""
        self._restart()
        return rest

    def hold(self, end: int) -> str:
        """As `take`, but the sentence stays in the text, before the next one."""
        rest = self.text[end:]
        self.text = self.text[:end]
        self._restart()
        return rest

    @property
    def is_between_words(self) -> bool:
        """May the text be cut at its last clause mark: no end in doubt, nothing open?"""
        return self._mode is _Mode.TEXT and not self._enclosures.protects(len(self.text))

    def _restart(self) -> None:
        self._sentence_start = len(self.text)
        self._enclosures.clear()
        self._mode = _Mode.TEXT

    def _read(self, character: str, position: int) -> Boundary | None:
        """A character that no earlier stop is waiting for."""
        previous = self.text[position - 1 : position]
        if self._enclosures.read(character, previous, position):
            before = self.text[self._sentence_start : position].rstrip()[-1:]
            if character in NOTES or before in STOPS:
                self._propose(position)
        elif character in STOPS:
            self._propose(position)
            if character in _AT_ONCE and not self._enclosures.protects(position):
                return Boundary(position + 1)
        elif character in _LINE_BREAKS:
            self._propose(position, StopKind.LINE)
            self._mode = _Mode.GAP
            self._num_line_breaks = 1
        elif character == ":":
            line_start = max(self._sentence_start, self.text.rfind("\n", 0, position) + 1)
            name = self.text[line_start:position].strip()
            is_speaker = name.isupper() and _SPEAKER.fullmatch(name)
            if is_speaker and has_speech(without_tags(self.text[:line_start])):
                return Boundary(line_start, must_leave=True)
        return None

    def _propose(self, position: int, kind: StopKind = StopKind.PLAIN) -> None:
        self._mode = _Mode.STOPS
        self._stop = position
        self._end = position + 1
        self._kind = kind
        self._num_line_breaks = 0
        self._tag_seen = False

    def _judge(self, character: str, position: int) -> _Verdict:
        if self._mode is _Mode.STOPS:
            return self._judge_after_stop(character, position)
        if self._mode is _Mode.GAP:
            return self._judge_in_gap(character, position)
        if self._mode is _Mode.TAG:
            return self._judge_in_tag(character, position)
        if character.isalpha() and position - self._end <= _MAX_WORD_CHARACTERS:
            return _Verdict.WAIT
        return self._judge_glued_word(character) if self._mode is _Mode.GLUED else self._judge_word()

    def _judge_after_stop(self, character: str, position: int) -> _Verdict:
        if character in STOPS:
            self._end = position + 1
            return _Verdict.WAIT
        if character in CLOSING and (character not in "“«»" or self._enclosures.is_open(character)):
            self._enclosures.read(character, self.text[position - 1], position)
            self._end = position + 1
            return _Verdict.WAIT
        if self._enclosures.protects(position) and character not in _LINE_BREAKS:
            return _Verdict.NO_END
        self._kind = classify_stop(self.text[self._sentence_start : self._end], self._stop - self._sentence_start)
        if character.isspace():
            self._mode = _Mode.GAP
            self._num_line_breaks = int(character in _LINE_BREAKS)
            self._end = position + 1
            return _Verdict.WAIT
        return self._judge_glued(character, position)

    def _judge_glued(self, character: str, position: int) -> _Verdict:
        """No white space after the stop: CJK, or a space was forgotten."""
        if is_symbol(character):
            self._end = position + 1
            return _Verdict.WAIT
        row = self.text[self._stop : self._end]
        before = self.text[self._stop - 1] if self._stop else ""
        if character in _GOES_ON or character in _DASHES or self._is_quoted(row, character):
            return _Verdict.NO_END
        if "…" in row and not row.strip("…"):
            return _Verdict.NO_END
        if row[0] in "。！？｡．।॥" or row[-1] in "」』）】》" or (is_wide(before) and is_wide(character)):
            return _Verdict.END
        token = last_token(self.text[: self._stop])
        if row[0] in "!?" and character.isupper() and not set("/@=&") & set(token):
            return _Verdict.END
        if row == "." and character.isupper() and len(token) > 1 and token.isalpha() and token[1:].islower():
            self._mode = _Mode.GLUED
            return _Verdict.WAIT
        return _Verdict.NO_END

    def _is_quoted(self, row: str, character: str) -> bool:
        """Is the stop inside a quotation or a bracket that is only part of the sentence? For scripts without case."""
        if row[-1] in ")）":
            opened = max(self.text.rfind("(", 0, self._stop), self.text.rfind("（", 0, self._stop))
            return not character.isupper() and has_speech(self.text[self._sentence_start : max(0, opened)])
        return row[-1] in CLOSING and (character in _AFTER_QUOTATION or "\uac00" <= character <= "\ud7a3")

    def _judge_in_gap(self, character: str, position: int) -> _Verdict:
        if character.isspace():
            self._num_line_breaks += character in _LINE_BREAKS
            if not self._tag_seen:
                self._end = position + 1
            if self._num_line_breaks > 1:
                self._enclosures.clear()
                return _Verdict.END
            return _Verdict.WAIT
        if character == "[":
            self._mode = _Mode.TAG
            self._tag_start = position
            self._tag_seen = True
            return _Verdict.WAIT
        if is_symbol(character) and not self._tag_seen and character not in NOTES:
            self._end = position + 1
            return _Verdict.WAIT
        if self._kind is StopKind.LINE and self._enclosures.protects(position):
            return _Verdict.NO_END
        if character in STOPS:  # ". . ."
            self._mode = _Mode.STOPS
            self._end = position + 1
            return _Verdict.WAIT
        return self._judge_next(character)

    def _judge_in_tag(self, character: str, position: int) -> _Verdict:
        if character == "]":
            self._mode = _Mode.GAP
            return _Verdict.WAIT
        is_too_long = position - self._tag_start > _MAX_TAG_CHARACTERS or character in _LINE_BREAKS
        return _Verdict.END if is_too_long else _Verdict.WAIT

    def _judge_next(self, character: str) -> _Verdict:
        """`character` is the first after the white space."""
        row = self.text[self._stop : self._end].rstrip()
        is_closed = bool(row) and row[-1] in CLOSING
        kind = self._kind
        if self._num_line_breaks and character in _BULLETS:
            return _Verdict.END
        if is_closed and character in "(（":
            return _Verdict.NO_END  # where the quotation comes from
        if character in _GOES_ON or (character in _DASHES and (is_closed or kind is not StopKind.PLAIN)):
            return _Verdict.NO_END
        if character.islower():
            goes_on = is_closed or kind is not StopKind.PLAIN or not self._writes_small
            return _Verdict.NO_END if goes_on else _Verdict.END
        verdict = self._judge_capital() if character.isupper() else self._judge_uncased(character)
        if verdict is _Verdict.END and character.isupper():
            self._writes_small = False
        return verdict

    def _judge_capital(self) -> _Verdict:
        if self._kind is StopKind.LINE:
            return self._judge_line()
        if self._kind in (StopKind.RARELY, StopKind.ORDINAL, StopKind.LETTER, StopKind.ELLIPSIS):
            self._mode = _Mode.WORD
            return _Verdict.WAIT
        return _Verdict.NO_END if self._kind is StopKind.NEVER else _Verdict.END

    def _judge_uncased(self, character: str) -> _Verdict:
        """A digit, an opening mark, or a letter of a script without case."""
        if self._kind is StopKind.LINE:
            return _Verdict.END if character.isdigit() or character in OPENING else self._judge_line()
        if self._kind in (StopKind.NEVER, StopKind.ELLIPSIS):
            return _Verdict.NO_END if character.isalnum() else _Verdict.END
        row = self.text[self._stop : self._end].rstrip()
        if self._is_quoted(row, character):
            return _Verdict.NO_END
        is_ordinary = self._kind in (StopKind.PLAIN, StopKind.LETTER)
        return _Verdict.END if is_ordinary or not character.isdigit() else _Verdict.NO_END

    def _judge_line(self) -> _Verdict:
        line = self.text[self._sentence_start : self._stop].rsplit("\n", 1)[-1].strip()
        is_open = line.endswith((",", "、", "，")) or len(line) >= _MIN_WRAPPED_CHARACTERS
        return _Verdict.NO_END if is_open or (line and is_wide(line[-1])) else _Verdict.END

    def _judge_glued_word(self, character: str) -> _Verdict:
        """ "world.Today is" forgot a space; "Jane.Doe@example.com" and "System.Out" did not."""
        word = self.text[self._end : -1]
        return _Verdict.END if character.isspace() and word[1:].islower() else _Verdict.NO_END

    def _judge_word(self) -> _Verdict:
        word = self.text[self._end :]
        word = word[: next((i for i, c in enumerate(word) if not c.isalpha()), len(word))].casefold()
        is_initial = len(word) == 1 and self.text[self._end + 1 : self._end + 2] == "."
        if self._kind is StopKind.RARELY:
            return _Verdict.END if word in OPENERS and not is_initial else _Verdict.NO_END
        if self._kind is StopKind.LETTER:
            return _Verdict.NO_END if is_initial else _Verdict.END
        if self._kind is StopKind.ELLIPSIS:
            return _Verdict.NO_END if word == "i" else _Verdict.END  # "Well... I think so"
        before = last_token(self.text[: self._stop].rstrip("0123456789").rstrip()).casefold()
        return _Verdict.NO_END if word in AFTER_ORDINAL or before in BEFORE_ORDINAL else _Verdict.END
