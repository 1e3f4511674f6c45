"""Which letter of a word each of its phones is written with.

A phone is looked for among the letters that usually spell it, in order, so "θ" of "through" is found at its "t" and
"u" at its "o". Knows no sentence and no sound.
"""

from __future__ import annotations

from functools import lru_cache

SPELLED = {
    "A": "aei", "I": "iyea", "O": "oaew", "W": "o", "Y": "o", "i": "eiy", "u": "ouew", "æ": "a", "ɑ": "oae",
    "ɔ": "aou", "ə": "aeiouy", "ɛ": "eaiu", "ɜ": "eiuoay", "ɪ": "iyeau", "ʊ": "ou", "ʌ": "uo", "ɐ": "a",
    "ᵊ": "aeioul", "ᵻ": "ie", "b": "b", "d": "d", "j": "yiue", "l": "l", "m": "m", "n": "nkg", "v": "vf", "w": "wuoq",
    "z": "zsx", "ð": "t", "ŋ": "n", "ɡ": "gx", "ɹ": "rw", "ʒ": "sgz", "ʤ": "gjd", "ɾ": "td", "T": "td", "f": "fpg",
    "h": "hw", "k": "kcqx", "p": "p", "s": "scxz", "t": "td", "ʃ": "sctx", "ʧ": "ct", "θ": "t",
}  # fmt: skip
"""Phone -> the first letters of what it is usually written with."""
OTHER_LETTER = -1.0
"""Score of a letter that does not spell the phone."""
SHARED_LETTER = -0.4
"""Price of a letter that an earlier phone has taken, as the x of "box"."""
AWAY = -0.02
"""Price of each letter away from where an even reading would be."""


@lru_cache(maxsize=100_000)
def letters_of_phones(word: str, phones: str) -> tuple[int, ...]:
    """Index into `word`, never falling, of the letter that each phone of `phones` begins at.

    Stress marks and what else is no known phone go with the phone that follows. Words without letters, such as
    numbers, are read evenly.
    """
    known = [i for i, phone in enumerate(phones) if phone in SPELLED]
    if not known or not any(c.isalpha() for c in word):
        return tuple(len(word) * i // max(1, len(phones)) for i in range(len(phones)))
    path = _best_path(word.lower(), [phones[i] for i in known])
    letters = []
    at = 0
    for i in range(len(phones)):
        letters.append(path[min(at, len(path) - 1)])
        if at < len(known) and i == known[at]:
            at += 1
    return tuple(letters)


def _best_path(word: str, phones: list[str]) -> list[int]:
    """The letter of each phone that scores best in all."""
    size = len(word)
    scores = [_score(word, phones, 0, j) for j in range(size)]
    befores: list[list[int]] = []
    for i in range(1, len(phones)):
        row, before = [], []
        best = -1
        for j in range(size):
            if j > 0 and (best < 0 or scores[j - 1] > scores[best]):
                best = j - 1
            shared = scores[j] + SHARED_LETTER
            moves = best >= 0 and scores[best] >= shared
            row.append((scores[best] if moves else shared) + _score(word, phones, i, j))
            before.append(best if moves else j)
        scores = row
        befores.append(before)
    at = max(range(size), key=lambda j: (scores[j], -j))
    path = [at]
    for before in reversed(befores):
        at = before[at]
        path.append(at)
    return path[::-1]


def _score(word: str, phones: list[str], i: int, j: int) -> float:
    fits = 1.0 if word[j] in SPELLED[phones[i]] else OTHER_LETTER
    return fits + AWAY * abs(j - i * len(word) / len(phones))
