"""From texts to shards: the teacher reads, the speakers speak, the tokens are read off.

Shard n is a pure function of the seed and n, so an interrupted run goes on where it stopped, and several
processes can share the numbers among themselves. Knows no model.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bark_stream.training.corpus import Corpus
from bark_stream.training.semantic_tokens import TOKEN_RATE_HZ, SemanticVocabulary, tokens_of_reading
from bark_stream.training.shards import Clip, write_shard
from bark_stream.training.sounds import render_sound
from bark_stream.training.teacher import SAMPLE_RATE_HZ, FloatArray, IntArray, Teacher
from bark_stream.training.voices import FIRST_STRANGER, VOICES, render, speaker_of

CLIPS_PER_SHARD = 100
TEXTS_PER_SPELLING_SHARD = 2000
CLIPS_IN_A_ROW = 4
"""A speaker says this many sentences in a row, so that a prompt can be the one before."""
KINDS = ("speech", "expressive", "alignment", "expressive_alignment", "spelling", "strangers")
"""Sentences with sound, the same with brackets, notes, capitals and pauses, both without sound, which phone each
letter stands for, and sentences of speakers who do not come back."""
NO_PHONE = -1
"""Token of a letter that no phone begins at."""
_TAG = re.compile(r"\[(laughs|sighs|gasps|clears throat|music)\]")


def prepare(
    folder: Path,
    *,
    sentences: Path | None,
    kind: str,
    shards: range,
    seed: int = 1,
    on_shard: Callable[[int], None] = lambda n: None,
) -> None:
    """Write shards `kind-NNNN.npz` that are not there yet.

    Args:
        folder: where shards go.
        sentences: a list of sentences, one a line; None for made-up sentences only.
        kind: one of KINDS.
        shards: numbers of the shards to write.
    """
    folder.mkdir(parents=True, exist_ok=True)
    reader = Reader()
    for number in shards:
        path = folder / f"{kind}-{number:04d}.npz"
        if not path.exists():
            at = KINDS.index(kind)
            corpus_seed = (seed * 10 + at) * 100_000 + number
            corpus = Corpus(sentences, seed=corpus_seed, expressive="expressive" in kind)
            rng = np.random.default_rng([seed, at, number])
            if kind == "spelling":
                words = Corpus(None, seed=corpus_seed, only_words=True)
                write_shard(
                    path, (reader.spelled(next(words if n % 2 else corpus)) for n in range(TEXTS_PER_SPELLING_SHARD))
                )
            else:
                speakers = _speakers(kind, number, rng)
                write_shard(path, _clips(corpus, reader, rng, speakers))
        on_shard(number)


def _speakers(kind: str, shard: int, rng: np.random.Generator) -> Iterator[int]:
    """Who says the next sentences; -1 is nobody."""
    for run in itertools.count():
        if "alignment" in kind:
            yield -1
        elif kind == "strangers":
            yield FIRST_STRANGER + shard * CLIPS_PER_SHARD + run
        else:
            yield VOICES[0 if rng.random() < 0.2 else int(rng.integers(len(VOICES)))]


def _clips(corpus: Corpus, reader: Reader, rng: np.random.Generator, speakers: Iterator[int]) -> list[Clip]:
    clips: list[Clip] = []
    while len(clips) < CLIPS_PER_SHARD:
        if len(clips) % CLIPS_IN_A_ROW == 0:
            speaker = next(speakers)
        speed = float(rng.uniform(0.9, 1.15)) if speaker >= 0 else 1.0
        clip = reader.clip(next(corpus), speaker, speed, rng)
        if clip is not None:
            clips.append(clip)
    return clips


class Reader:
    """Reads text with sounds in brackets, piece by piece."""

    def __init__(self) -> None:
        self._teacher = Teacher()
        self._vocabulary = SemanticVocabulary()

    def clip(self, text: str, speaker: int, speed: float, rng: np.random.Generator) -> Clip | None:
        """One sentence; None if it cannot be read. A speaker of -1 makes no sound."""
        tokens: list[IntArray] = []
        chars: list[FloatArray] = []
        sound: list[FloatArray] = []
        at = 0
        for piece in re.split(f"({_TAG.pattern.replace('(', '(?:')})", text):
            tag = _TAG.fullmatch(piece)
            if tag:
                made = self._sound(tag.group(1), len(piece), speaker, rng)
            elif re.search(r"\w", piece):
                read = self._speech(piece, speaker, speed, rng)
                if read is None:
                    return None
                made = read
            else:
                at += len(piece)
                continue
            tokens.append(made[0])
            chars.append(made[1] + at)
            sound.append(made[2])
            at += len(piece)
        if not tokens:
            return None
        pcm: npt.NDArray[np.int16] = (np.concatenate(sound) * 32767).astype(np.int16)
        return Clip(
            text=text,
            speaker=speaker,
            pcm=pcm,
            tokens=np.concatenate(tokens).astype(np.int16),
            chars=np.concatenate(chars).astype(np.float16),
        )

    def spelled(self, text: str) -> Clip:
        """A clip whose tokens are one per character: the phone that begins there, or NO_PHONE."""
        phones = self._teacher.spell(text)
        name = self._vocabulary.phone_name
        tokens = [NO_PHONE if phone is None else self._vocabulary.id_of(name(phone), 0, 0) for phone in phones]
        return Clip(
            text=text,
            speaker=-1,
            pcm=np.zeros(0, np.int16),
            tokens=np.array(tokens, np.int16),
            chars=np.arange(len(text), dtype=np.float16),
        )

    def _sound(
        self, name: str, num_chars: int, speaker: int, rng: np.random.Generator
    ) -> tuple[IntArray, FloatArray, FloatArray]:
        tokens = self._vocabulary.sound(name)
        sound = np.zeros(0, np.float32)
        if speaker >= 0:
            sound = render_sound(name, self._teacher, speaker_of(speaker), rng)
        return tokens, np.linspace(0, num_chars - 1, len(tokens), dtype=np.float32), sound

    def _speech(
        self, text: str, speaker: int, speed: float, rng: np.random.Generator
    ) -> tuple[IntArray, FloatArray, FloatArray] | None:
        reading = self._teacher.read(text, speed=speed)
        if reading is None:
            return None
        tokens, chars = tokens_of_reading(reading, self._vocabulary)
        sound = np.zeros(0, np.float32)
        if speaker >= 0:
            # Cut to what the tokens stand for, so that the next piece starts in step.
            sound = render(reading, speaker_of(speaker), rng)[: round(len(tokens) / TOKEN_RATE_HZ * SAMPLE_RATE_HZ)]
        return tokens, chars, sound
