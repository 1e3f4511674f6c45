"""The teacher: one sentence in, its sound parameters and its exact alignment out.

`hibari-tts` predicts durations, pitch and a spectrum per frame, and makes sound of them outside its network. So
the pitch, the formants and the durations can be changed between the two, and the alignment stays exact. Knows
no tokens and no voices.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

import hibari
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from hibari.g2p.normalize import normalize
from onnx import TensorProto, helper

from bark_stream.training.letters import letters_of_phones

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

SAMPLE_RATE_HZ = 24_000
DURATION_FRAME_SAMPLES = 600
"""Samples of one duration frame (25 ms)."""
SPECTRUM_FRAME_SAMPLES = 300
"""Samples of one spectrum and pitch frame (12.5 ms)."""
LEADING_SILENCE_FRAMES = 3
"""Duration frames left of the teacher's long silence before a sentence."""
TRAILING_SILENCE_FRAMES = 4
"""Duration frames kept after the last sound."""

STRESS_MARKS = "ˈˌ"
PAUSES = frozenset(';:,.!?—…"“”()')
EDGE = "^"
"""Name of the silent phone at both ends."""
SPACE = " "

NOTE = "♪"
VOWELS = frozenset("AIOWYiuæɑɔəɛɜɪʊʌɐᵊᵻ")
SUNG_STRETCH = 1.9
"""Factor on the durations of sung vowels."""
SCALE_HZ = (140.0, 160.0, 179.0, 198.0, 222.0, 262.0)
"""Sung notes: the middle of each pitch band of the semantic tokens."""

_DURATIONS = "/Clip_output_0"
_CAPITALS = re.compile(r"\b[A-Z][A-Z']{2,}\b")


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """What the teacher says about one sentence."""

    text: str
    phones: tuple[str, ...]
    """One per phone; stress is joined to its vowel ("ˈA")."""
    durations_frames: IntArray
    """[P] duration of each phone in frames of 25 ms."""
    chars: FloatArray
    """[P] position in `text` of the character being spoken where the phone begins."""
    f0_hz: FloatArray
    """[F] pitch per frame of 12.5 ms; below 40 Hz means unvoiced."""
    harmonic: FloatArray
    """[601, F] log magnitude of the harmonic branch."""
    phase: FloatArray
    """[601, F] its phase, before tanh."""
    noise: FloatArray
    """[601, F] log magnitude of the noise branch."""
    residual: FloatArray
    """[601, F] log magnitude of the free-phase branch."""
    residual_phase: FloatArray
    """[601, F] its phase in radians."""

    @property
    def num_samples(self) -> int:
        return int(self.durations_frames.sum()) * DURATION_FRAME_SAMPLES


@dataclass(frozen=True, kw_only=True, slots=True)
class _Pronunciation:
    phonemes: str
    chars: list[float]
    stressed: list[bool]
    """Written in capitals."""
    sung: list[bool]
    """Between two notes (♪)."""


class Teacher:
    """One loaded teacher. Not for several threads at once."""

    def __init__(self) -> None:
        self._hibari = hibari.Hibari()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(_graph_with_durations(), options)

    def read(
        self, text: str, *, speed: float = 1.0, stretch_capitals: float = 1.35, raise_capitals: float = 1.16
    ) -> Reading | None:
        """Read one sentence; None if nothing in it can be pronounced or it is too long for the teacher.

        Args:
            text: one sentence.
            speed: pace, 1 is the teacher's own.
            stretch_capitals: factor on the durations of words in capitals.
            raise_capitals: factor on the pitch of words in capitals.
        """
        spoken = self._pronounce(text)
        if not 1 <= len(spoken.phonemes) <= hibari.tts.MAX_PHONEMES:
            return None
        vocab = self._hibari.vocab
        kept = [i for i, c in enumerate(spoken.phonemes) if c in vocab]
        ids = [0, *(vocab[spoken.phonemes[i]] for i in kept), 0]
        stressed = np.array([False, *(spoken.stressed[i] for i in kept), False])
        sung = np.array([False, *(spoken.sung[i] for i in kept), False])
        symbols = [EDGE, *(spoken.phonemes[i] for i in kept), EDGE]
        stretch = np.where(stressed, stretch_capitals, 1.0)
        stretch[sung] = [SUNG_STRETCH if symbol in VOWELS else 1.0 for symbol in np.array(symbols)[sung]]
        sound, frames = self._run(ids, speed, stretch)
        cut_start = max(0, int(frames[0]) - LEADING_SILENCE_FRAMES)
        frames[0] -= cut_start
        frames[-1] = max(int(frames[-1]), TRAILING_SILENCE_FRAMES)
        sound = [_fit(x[..., 2 * cut_start :], 2 * int(frames.sum())) for x in sound]
        pitch = sound[-1].copy()
        if stressed.any():
            per_phone = np.where(stressed, np.float32(raise_capitals), np.float32(1.0))
            pitch *= _smooth(np.repeat(per_phone, 2 * frames).astype(np.float32), 5)
        if sung.any():
            pitch = _melody(pitch, symbols, frames, sung, np.random.default_rng(list(text.encode())))
        chars = [0.0, *(spoken.chars[i] for i in kept), float(len(text))]
        return _reading(text, symbols, frames, chars, [*sound[:-1], pitch])

    def spell(self, text: str) -> list[str | None]:
        """The phone that begins at each character of `text`; the first if several do, None if none does."""
        spoken = self._pronounce(text)
        phones: list[str | None] = [None] * len(text)
        mark = ""
        for symbol, char in zip(spoken.phonemes, spoken.chars, strict=False):
            if symbol in STRESS_MARKS:
                mark = "ˈ"
                continue
            if symbol in self._hibari.vocab and phones[int(char)] is None:
                phones[int(char)] = mark + symbol
            mark = ""
        return phones

    def say(self, phones: str, durations_frames: Sequence[int]) -> Reading:
        """Phones for exactly so long; for sounds that no text spells.

        Args:
            phones: one symbol of the teacher each.
            durations_frames: as many, in frames of 25 ms.
        """
        ids = [0, *(self._hibari.vocab[c] for c in phones), 0]
        _, predicted = self._run(ids, 1.0, np.ones(len(ids)))
        wanted = np.array([1, *durations_frames, 1], np.float64)
        sound, frames = self._run(ids, 1.0, wanted / np.maximum(1, predicted))
        start, end = 2 * int(frames[0]), 2 * int(frames[:-1].sum())
        sound = [_fit(x[..., start:end], 2 * sum(durations_frames)) for x in sound]
        durations = np.array(durations_frames, np.int64)
        return _reading("", list(phones), durations, [0.0] * len(phones), sound)

    def _run(
        self, ids: list[int], speed: float, stretch: npt.NDArray[np.floating]
    ) -> tuple[list[FloatArray], IntArray]:
        """The network's outputs (f0 last) and its durations, edited by `stretch`."""
        inputs = {
            "ids": np.asarray([ids], np.int64),
            "speed": np.asarray([speed], np.float32),
            "stretch": stretch.astype(np.float32),
        }
        *sound, durations = self._session.run(None, inputs)
        return [x[0] for x in sound], np.asarray(durations).astype(np.int64)

    def _pronounce(self, text: str) -> _Pronunciation:
        """Phonemes of a sentence, and for each the character of `text` that is being spoken."""
        capitals = np.zeros(len(text), bool)
        lowered = text
        for match in _CAPITALS.finditer(text):
            word = match.group().lower()
            if word in self._hibari.g2p.lexicon.golds:
                capitals[match.start() : match.end()] = True
                start = text[: match.start()].strip() == ""
                lowered = lowered[: match.start()] + (word.capitalize() if start else word) + lowered[match.end() :]
        notes = np.cumsum([c == NOTE for c in text]) % 2 == 1
        normal = normalize(lowered.replace(NOTE, " "))
        g2p = self._hibari.g2p
        tokens = g2p.phonemize_tokens(g2p.tokenize(normal))
        to_text = _positions(normal, lowered)
        phonemes, chars, stressed, sung = "", [], [], []
        at = 0
        for token in tokens:
            found = normal.find(token.text, at)
            begin = found if found >= 0 else at
            end = begin + len(token.text)
            spoken = (token.phonemes or "") + (" " if token.whitespace else "")
            letters = [*letters_of_phones(token.text, token.phonemes or ""), len(token.text)]
            for i in range(len(spoken)):
                char = to_text[min(begin + letters[i], len(to_text) - 1)]
                phonemes += spoken[i]
                chars.append(min(char, len(text) - 1.0))
                stressed.append(bool(capitals[min(int(char), len(text) - 1)]))
                sung.append(bool(notes[min(int(char), len(text) - 1)]))
            at = end
        return _Pronunciation(phonemes=phonemes.strip(), chars=chars, stressed=stressed, sung=sung)


def _graph_with_durations() -> bytes:
    """The teacher's graph with its durations as an output, and a factor on each of them as an input."""
    path = os.path.join(os.path.dirname(hibari.__file__), "assets", "hibari.onnx")
    model = onnx.load(path)
    graph = model.graph
    stretched, rounded = "stretched_durations", "edited_durations"
    for node in graph.node:
        for i, name in enumerate(node.input):
            if name == _DURATIONS:
                node.input[i] = rounded
    at = next(i for i, node in enumerate(graph.node) if _DURATIONS in node.output)
    graph.node.insert(at + 1, helper.make_node("Mul", [_DURATIONS, "stretch"], [stretched]))
    graph.node.insert(at + 2, helper.make_node("Round", [stretched], [rounded]))
    graph.input.append(helper.make_tensor_value_info("stretch", TensorProto.FLOAT, ["L"]))
    graph.output.append(helper.make_tensor_value_info(rounded, TensorProto.FLOAT, ["L"]))
    serialised: bytes = model.SerializeToString()
    return serialised


def _positions(normal: str, text: str) -> list[float]:
    """For every character of the normalised text, the position in the written text that it stands for."""
    positions = [0.0] * (len(normal) + 1)
    matcher = difflib.SequenceMatcher(None, normal, text, autojunk=False)
    for _, a0, a1, b0, b1 in matcher.get_opcodes():
        for i in range(a0, a1):
            positions[i] = b0 + (b1 - b0) * (i - a0) / max(1, a1 - a0)
    positions[len(normal)] = float(len(text))
    return positions


def _fit(x: FloatArray, num_frames: int) -> FloatArray:
    """Cut [..., F], or repeat its last frame, to `num_frames`."""
    missing = num_frames - x.shape[-1]
    if missing > 0:
        x = np.concatenate([x, np.repeat(x[..., -1:], missing, axis=-1)], axis=-1)
    return x[..., :num_frames]


def _reading(text: str, symbols: list[str], frames: IntArray, chars: list[float], sound: list[FloatArray]) -> Reading:
    phones, durations, chars_at = _join_stress(symbols, frames, chars)
    harmonic, phase, noise, residual, residual_phase, f0 = sound
    return Reading(
        text=text,
        phones=phones,
        durations_frames=durations,
        chars=chars_at,
        f0_hz=f0,
        harmonic=harmonic,
        phase=phase,
        noise=noise,
        residual=residual,
        residual_phase=residual_phase,
    )


def _melody(
    f0_hz: FloatArray,
    symbols: list[str],
    frames: IntArray,
    sung: npt.NDArray[np.bool_],
    rng: np.random.Generator,
) -> FloatArray:
    """One note per sung vowel, held until the next; unvoiced frames stay unvoiced."""
    degree = 2
    notes = np.zeros(len(symbols), np.float32)
    for i, symbol in enumerate(symbols):
        if sung[i]:
            if symbol in VOWELS:
                degree = int(np.clip(degree + rng.integers(-2, 3), 0, len(SCALE_HZ) - 1))
            notes[i] = SCALE_HZ[degree]
    held = np.repeat(notes, 2 * frames).astype(np.float32)
    return np.where((held > 0) & (f0_hz > 60.0), _smooth(held, 3), f0_hz).astype(np.float32)


def _join_stress(
    symbols: list[str], frames: IntArray, chars: list[float]
) -> tuple[tuple[str, ...], IntArray, FloatArray]:
    """Join stress marks to the sound that follows, and leave out phones without duration."""
    out: list[tuple[str, int, float]] = []
    pending_frames, pending_mark = 0, ""
    for symbol, duration, char in zip(symbols, frames.tolist(), chars, strict=True):
        if symbol in STRESS_MARKS:
            pending_frames += duration
            pending_mark = "ˈ"
            continue
        duration += pending_frames
        if duration > 0:
            out.append((pending_mark + symbol, duration, char))
        pending_frames, pending_mark = 0, ""
    if pending_frames:
        symbol, duration, char = out[-1]
        out[-1] = (symbol, duration + pending_frames, char)
    return (
        tuple(o[0] for o in out),
        np.array([o[1] for o in out], np.int64),
        np.array([o[2] for o in out], np.float32),
    )


def _smooth(x: FloatArray, width: int) -> FloatArray:
    """Moving average that keeps the length."""
    padded = np.pad(x, width // 2, mode="edge")
    return np.convolve(padded, np.full(width, 1.0 / width), mode="valid").astype(np.float32)
