"""Semantic tokens of `mini`: phone x third of the phone x pitch band, and runs of tokens for sounds, at 49.9 Hz.

Pitch is the teacher's own, before a speaker changes it: tokens say what is said and with which melody, not who
says it. Token 0 is not silence by accident: `silence` is the first phone. Knows no model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bark_stream.training.teacher import (
    DURATION_FRAME_SAMPLES,
    EDGE,
    PAUSES,
    SAMPLE_RATE_HZ,
    SPACE,
    SPECTRUM_FRAME_SAMPLES,
    FloatArray,
    IntArray,
    Reading,
)

TOKEN_RATE_HZ = 49.9
NUM_THIRDS = 3
BAND_EDGES_HZ = (150.0, 170.0, 188.0, 208.0, 240.0)
"""Upper edges of voiced bands 1..5 of the teacher's own pitch; band 6 lies above, band 0 is unvoiced."""
NUM_BANDS = len(BAND_EDGES_HZ) + 2
UNVOICED_HZ = 60.0

SILENCE = "silence"
PAUSE = "pause"
WORD_GAP = "gap"
VOICELESS = ("f", "h", "k", "p", "s", "t", "ʃ", "ʧ", "θ")
VOICED_CONSONANTS = (
    "b", "d", "j", "l", "m", "n", "v", "w", "z", "ð", "ŋ", "ɡ", "ɹ", "ʒ", "ʤ", "T",
)  # fmt: skip
VOWELS = ("A", "I", "O", "W", "Y", "i", "u", "æ", "ɑ", "ɔ", "ə", "ɛ", "ɜ", "ɪ", "ʊ", "ʌ")
WEAK_VOWELS = ("ɐ", "ᵊ", "ᵻ")
SOUNDS = (("laughs", 40), ("sighs", 30), ("gasps", 20), ("clears throat", 30), ("music", 48))
"""Sounds and how many tokens long each is; token n of a sound is always its n-th moment."""

_MERGED = {
    "ɾ": "T",
    "ʔ": "t",
    "a": "ɑ",
    "e": "ɛ",
    "o": "ɔ",
    "x": "k",
    "ɚ": "ɜ",
    "r": "ɹ",
    "g": "ɡ",
    "ʦ": "s",
    "Q": "O",
    "ɒ": "ɑ",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenMeaning:
    """What one semantic token stands for."""

    phone: str
    """A phone, "silence", "pause", "gap", or a sound in brackets."""
    third: int
    """Which third of the phone, 0..2; of a sound, the moment."""
    band: int
    """Pitch band, 0 unvoiced, 1 low .. 6 high."""


class SemanticVocabulary:
    """All tokens and their meanings, in a fixed order."""

    def __init__(self) -> None:
        meanings: list[TokenMeaning] = []
        for phone in (SILENCE, PAUSE, *VOICELESS):
            meanings += [TokenMeaning(phone=phone, third=t, band=0) for t in range(NUM_THIRDS)]
        voiced = (WORD_GAP, *VOICED_CONSONANTS, *WEAK_VOWELS, *VOWELS, *("ˈ" + v for v in VOWELS))
        for phone in voiced:
            meanings += [
                TokenMeaning(phone=phone, third=t, band=b) for t in range(NUM_THIRDS) for b in range(NUM_BANDS)
            ]
        for sound, length in SOUNDS:
            meanings += [TokenMeaning(phone=f"[{sound}]", third=t, band=0) for t in range(length)]
        self.meanings = tuple(meanings)
        self._ids = {(m.phone, m.third, m.band): i for i, m in enumerate(meanings)}
        self._phones = frozenset(m.phone for m in meanings)
        self._unpitched = frozenset((SILENCE, PAUSE, *VOICELESS))

    def __len__(self) -> int:
        return len(self.meanings)

    def id_of(self, phone: str, third: int, band: int) -> int:
        """Token of a phone's third in a pitch band; bands of voiceless phones are all one."""
        return self._ids[phone, third, 0 if phone in self._unpitched else band]

    def sound(self, name: str) -> IntArray:
        """[N] tokens of a sound, for example "laughs"."""
        length = dict(SOUNDS)[name]
        return np.array([self._ids[f"[{name}]", t, 0] for t in range(length)], np.int64)

    def phone_name(self, symbol: str) -> str:
        """Phone of the vocabulary for a symbol of the teacher."""
        if symbol == EDGE:
            return SILENCE
        if symbol == SPACE:
            return WORD_GAP
        stress = "ˈ" if symbol.startswith("ˈ") else ""
        base = symbol.removeprefix("ˈ")
        if base in PAUSES or base == SPACE:
            return PAUSE
        base = _MERGED.get(base, base)
        if stress and stress + base in self._phones:
            return stress + base
        return base if base in self._phones else "ə"


def band_of(f0_hz: float) -> int:
    """Pitch band of the teacher's pitch: 0 unvoiced, 1 low .. 6 high."""
    if f0_hz < UNVOICED_HZ:
        return 0
    return 1 + int(np.searchsorted(BAND_EDGES_HZ, f0_hz, side="right"))


def num_tokens(num_samples: int) -> int:
    """Semantic tokens of so many samples."""
    return int(num_samples / SAMPLE_RATE_HZ * TOKEN_RATE_HZ)


def tokens_of(
    phones: tuple[str, ...],
    durations_frames: IntArray,
    f0_hz: FloatArray,
    chars: FloatArray,
    vocabulary: SemanticVocabulary,
) -> tuple[IntArray, FloatArray]:
    """Read semantic tokens off an alignment.

    Args:
        phones: [P] symbols of the teacher.
        durations_frames: [P] in frames of 25 ms.
        f0_hz: [F] per 12.5 ms, F = 2 * sum(durations).
        chars: [P] where in the text each phone begins.
    Returns: [N] tokens, and [N] the position in the text of the character being spoken.
    """
    ends = np.cumsum(durations_frames) * DURATION_FRAME_SAMPLES
    starts = ends - durations_frames * DURATION_FRAME_SAMPLES
    count = num_tokens(int(ends[-1]))
    middle = (np.arange(count) + 0.5) / TOKEN_RATE_HZ * SAMPLE_RATE_HZ
    index = np.minimum(np.searchsorted(ends, middle, side="right"), len(phones) - 1)
    part = (middle - starts[index]) / np.maximum(1, ends[index] - starts[index])
    third = np.minimum((part * NUM_THIRDS).astype(np.int64), NUM_THIRDS - 1)
    frame = np.minimum((middle / SPECTRUM_FRAME_SAMPLES).astype(np.int64), len(f0_hz) - 1)
    names = [vocabulary.phone_name(p) for p in phones]
    tokens = np.array(
        [
            vocabulary.id_of(names[i], int(t), band_of(float(f0_hz[f])))
            for i, t, f in zip(index, third, frame, strict=True)
        ],
        np.int64,
    )
    following = np.append(chars[1:], chars[-1])
    gap = np.clip(following[index] - chars[index], 0.0, 4.0)
    spoken = (chars[index] + gap * part).astype(np.float32)
    return tokens, spoken


def tokens_of_reading(reading: Reading, vocabulary: SemanticVocabulary) -> tuple[IntArray, FloatArray]:
    """Semantic tokens [N] of a reading, and [N] the character being spoken at each."""
    return tokens_of(reading.phones, reading.durations_frames, reading.f0_hz, reading.chars, vocabulary)


def vocabulary_table(vocabulary: SemanticVocabulary) -> dict[str, object]:
    """What goes into `semantic_vocab.json`."""
    rows: npt.NDArray[np.int64] = np.array([[m.third, m.band] for m in vocabulary.meanings])
    return {
        "rate_hz": TOKEN_RATE_HZ,
        "band_edges_hz": list(BAND_EDGES_HZ),
        "phone": [m.phone for m in vocabulary.meanings],
        "third": rows[:, 0].tolist(),
        "band": rows[:, 1].tolist(),
    }
