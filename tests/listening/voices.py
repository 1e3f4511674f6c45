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


def first_to_last(bark: Bark, ear: SpeakerEar, voice: str, sentences: list[str]) -> tuple[float, NDArray[np.float32]]:
    """Similarity of the first and the last sentence of one long text under `anchored`, and the sound."""
    speech = bark.synthesize(" ".join(sentences), voice=voice, policy=ChunkPolicy.realtime("anchored"))
    done = [event for event in speech.events if isinstance(event, SentenceDone) and event.num_samples]
    parts = [
        ear.embed(speech.pcm[event.start_sample : event.start_sample + event.num_samples], speech.sample_rate_hz)
        for event in (done[0], done[-1])
    ]
    return float(parts[0] @ parts[1]), speech.pcm
