"""Texts to learn from: a sentence list, everyday sentences from small grammars, and lists of words.

Everything is drawn from one seeded generator. Sentences that figures are measured on, or choices made by, never come
out. Knows no sound.
"""

from __future__ import annotations

import gzip
import itertools
import json
import os
import random
import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import hibari
import wordfreq

from bark_stream.training.text_tokens import SOUND_TAGS

MIN_CHARS = 2
MAX_CHARS = 190
NUM_USUAL_WORDS = 25_000
USUAL_POWER = 0.4
"""Usual words are drawn by this power of how often people write them: "milk" four times, "the" seventy times as often
as the rarest of them."""


class Corpus:
    """A seeded source of sentences."""

    def __init__(
        self, sentences: Path | None, seed: int, *, expressive: bool = False, only_words: bool = False
    ) -> None:
        """`expressive`: every sentence has a sound in brackets, a sung part, capitals or a pause; `only_words`: every
        one is a list of words."""
        self._expressive = expressive
        self._only_words = only_words
        self._random = random.Random(seed)
        self._held_out = {_key(s) for s in (*held_out_sentences(), *validation_sentences())}
        self._sentences = [] if sentences is None else _read_sentences(sentences)
        lexicon = _lexicon()
        self._words = [w for w in lexicon if w.islower() and w.isalpha() and 2 < len(w) < 14]
        self._common = [w for w in self._words if len(w) < 7]
        self._usual, self._usual_upto = _usual_words(lexicon)
        self._grammar = json.loads(_asset("everyday.json"))

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        """One sentence of a random kind."""
        while True:
            text = self._draw()
            text = self._express(text) if self._expressive else self._vary(text)
            if MIN_CHARS <= len(text) <= MAX_CHARS and _key(text) not in self._held_out:
                return text

    def _draw(self) -> str:
        if self._only_words:
            return self._word_list()
        kind = self._random.random()
        if kind < 0.66 and self._sentences:
            return self._random.choice(self._sentences)
        if kind < 0.82:
            return self._everyday()
        if kind < 0.94:
            return self._word_list()
        if kind < 0.97:
            return str(self._random.choice(self._grammar["short"]))
        first: str = self._random.choice(self._grammar["short"])
        return f"{first} {self._everyday()}"

    def _everyday(self) -> str:
        text = self._random.choice(self._grammar["patterns"])
        return re.sub(r"\{(\w+)\}", lambda m: self._fill(m.group(1)), text)

    def _fill(self, slot: str) -> str:
        pick, number = self._random.choice, self._random.randint
        match slot:
            case "num":
                return str(number(2, 20) if self._random.random() < 0.5 else number(2, 999))
            case "time":
                hour = number(1, 12)
                return pick([f"{hour}:{number(0, 59):02d}", f"{hour} o'clock", f"{hour} {pick(['am', 'pm'])}"])
            case "price":
                return pick([f"${number(1, 99)}.{number(1, 99):02d}", f"${number(1, 500)}", f"{number(2, 99)} cents"])
            case "year":
                return str(number(1700, 2030))
            case "date":
                return f"{self._fill('month')} {number(1, 28)}"
            case "phone":
                return f"555-{number(0, 9999):04d}"
            case "digits":
                return " ".join(str(number(0, 9)) for _ in range(number(3, 5)))
            case "Person":
                person = self._fill("person")
                return person[0].upper() + person[1:]
            case "thing" if self._random.random() < 0.3:
                return pick(self._common)
            case "person" if self._random.random() < 0.3:
                return self._fill("name")
            case _:
                return str(pick(self._grammar["slots"][slot]))

    def _word_list(self) -> str:
        count = self._random.randint(2, 7)
        if self._random.random() < 0.5:
            words = self._random.choices(self._usual, cum_weights=self._usual_upto, k=count)
        else:
            words = self._random.choices(self._words, k=count)
        joint = self._random.choice([" ", " ", ", "])
        text = joint.join(words)
        return text[0].upper() + text[1:] + self._random.choice([".", ".", "", "?"])

    def _vary(self, text: str) -> str:
        """Now and then another ending, capitals, or a pause."""
        kind = self._random.random()
        if kind < 0.05:
            return text.rstrip(".!?")
        if kind < 0.08:
            return text.rstrip(".") + "!"
        if kind < 0.15:
            return self._capitals(text)
        if kind < 0.21:
            return self._pause(text)
        if kind < 0.23:
            return text.lower()
        return text

    def _express(self, text: str) -> str:
        """Always a sound, a song, capitals or a pause."""
        kind = self._random.random()
        if kind < 0.55:
            tag = self._random.choice(SOUND_TAGS)
            spots = [0, len(text), len(text)] + [m.start() for m in re.finditer(r" (?=[a-zA-Z])", text)]
            at = self._random.choice(spots)
            return f"{text[:at].strip()} {tag} {text[at:].strip()}".strip()
        if kind < 0.75:
            return f"♪ {text} ♪"
        if kind < 0.88:
            return self._capitals(text)
        return self._pause(text)

    def _capitals(self, text: str) -> str:
        spots = [m.span() for m in re.finditer(r"\b[a-z]{3,}\b", text)]
        for start, end in self._random.sample(spots, min(len(spots), self._random.randint(1, 2))):
            text = text[:start] + text[start:end].upper() + text[end:]
        return text

    def _pause(self, text: str) -> str:
        spots = [m.span() for m in re.finditer(r"(?<=[a-z]) (?=[a-z])", text)]
        if not spots:
            return text
        start, end = self._random.choice(spots)
        return text[:start] + self._random.choice(["… ", " — ", "... ", ", "]) + text[end:]


def held_out_sentences() -> list[str]:
    """The sentences that figures are measured on; never trained on, and nothing is chosen by them."""
    return _lines("held_out_sentences.txt")


def validation_sentences() -> list[str]:
    """The sentences that voices and prompts are chosen by; never trained on."""
    return _lines("validation_sentences.txt")


def _lines(asset: str) -> list[str]:
    return [line for line in _asset(asset).splitlines() if line]


def _asset(name: str) -> str:
    return (resources.files("bark_stream") / "assets" / name).read_text("utf-8")


def _key(text: str) -> str:
    return re.sub(r"[^a-z]", "", text.lower())


def _read_sentences(path: Path) -> list[str]:
    """One sentence a line; quotes around it are left out."""
    lines = [line.strip().strip('"“”;,: ') for line in path.read_text("utf-8").splitlines()]
    kept = [line for line in lines if 8 <= len(line) <= MAX_CHARS and line.count('"') != 1]
    return [line if line[-1] in ".?!" else line + "." for line in kept]


def _lexicon() -> list[str]:
    """The teacher's words in plain letters, names with their capital."""
    path = os.path.join(os.path.dirname(hibari.__file__), "assets", "lexicon_us_gold.json.gz")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        lexicon = json.load(file)
    return sorted(word for word in lexicon if re.fullmatch(r"[A-Za-z][A-Za-z']+", word))


def _usual_words(lexicon: list[str]) -> tuple[list[str], list[float]]:
    """The words of the lexicon that people write most, and the running sum of their weights."""
    written = {word.lower(): word for word in lexicon if not word.islower()}
    written |= {word: word for word in lexicon if word.islower()}
    how_often = wordfreq.get_frequency_dict("en")
    usual = [word for word in wordfreq.top_n_list("en", NUM_USUAL_WORDS) if word in written]
    weights = (how_often[word] ** USUAL_POWER for word in usual)
    return [written[word] for word in usual], list(itertools.accumulate(weights))
