"""Are the voices different people, and does one stay the same through a long text?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from bark_stream.bark import Bark
from bark_stream.config import ChunkPolicy
from bark_stream.events import SentenceDone
from tests.listening.similarity import SpeakerEar
from tests.listening.sound import pitch_hz
from tests.listening.words import Listener

SAME_SPEAKER = 0.75
"""Clips of one speaker usually lie above, of two speakers below."""


@dataclass(frozen=True, slots=True)
class VoiceFigures:
    name: str
    pitch_hz: float
    """Median of the prompt."""
    nearest: str
    """The voice most like it."""
    similarity_to_nearest: float


def prompt_sound(bark: Bark, voice: str) -> NDArray[np.float32]:
    """[T] the voice's prompt as sound."""
    prompt = bark.voice(voice)
    if prompt is None:
        raise ValueError("a voice has a name")
    with torch.inference_mode():
        sound: NDArray[np.float32] = bark.pipeline.codec.decode_whole(torch.from_numpy(prompt.fine)[None])[0].numpy()
    return sound


def compare_voices(bark: Bark, embeddings: dict[str, NDArray[np.float32]]) -> list[VoiceFigures]:
    """`embeddings`: of each voice's prompt."""
    figures = []
    for name, embedding in embeddings.items():
        others = {other: float(embedding @ theirs) for other, theirs in embeddings.items() if other != name}
        nearest = max(others, key=others.__getitem__)
        pitch = pitch_hz(prompt_sound(bark, name), bark.sample_rate_hz)
        figures.append(VoiceFigures(name, float(np.median(pitch)), nearest, others[nearest]))
    return figures


def num_clearly_different(embeddings: dict[str, NDArray[np.float32]], limit: float = SAME_SPEAKER) -> int:
    """The most voices that can be picked so that every two of them are less alike than `limit`.

    All sets are looked at: for tens of voices.
    """
    vectors = list(embeddings.values())

    def most(rest: list[int]) -> int:
        """Of those in `rest`, all of which may stand beside what was picked before."""
        sizes = (
            1 + most([j for j in rest[at + 1 :] if float(vectors[i] @ vectors[j]) < limit]) for at, i in enumerate(rest)
        )
        return max(sizes, default=0)

    return most(list(range(len(vectors))))


@dataclass(frozen=True, slots=True)
class LongText:
    """One text of many sentences, each carried on from those before."""

    first_to_last: float
    """Similarity of the first and the last sentence."""
    any_two: float
    """Of any two sentences, on average."""
    to_prompt: float
    """Of a sentence and the voice's prompt, on average."""
    num_errors: int
    num_words: int


def read_long_text(
    bark: Bark,
    ear: SpeakerEar,
    listener: Listener,
    voice: str,
    sentences: list[str],
    prompt: NDArray[np.float32],
) -> tuple[LongText, NDArray[np.float32]]:
    """A text as it is streamed, heard sentence by sentence, and its sound.

    Args: sentences: two or more. prompt: the embedding of the voice's prompt.
    """
    text, policy = " ".join(sentences), ChunkPolicy.realtime()
    speech = bark.synthesize(text, voice=voice, policy=policy)
    done = [event for event in speech.events if isinstance(event, SentenceDone) and event.num_samples]
    parts = [speech.pcm[event.start_sample : event.start_sample + event.num_samples] for event in done]
    said = [sentence.text for sentence in bark.sentences(text, policy)]
    heard = [
        listener.hear(part, speech.sample_rate_hz, said[event.sentence])
        for event, part in zip(done, parts, strict=True)
    ]
    embedded = np.stack([ear.embed(part, speech.sample_rate_hz) for part in parts])
    alike = embedded @ embedded.T
    figures = LongText(
        first_to_last=float(alike[0, -1]),
        any_two=float(alike[np.triu_indices(len(alike), 1)].mean()),
        to_prompt=float((embedded @ prompt).mean()),
        num_errors=sum(h.num_errors for h in heard),
        num_words=sum(h.num_words for h in heard),
    )
    return figures, speech.pcm
