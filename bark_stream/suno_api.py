"""Suno's own functions (bark/api.py), so that programs written for Bark run after changing the import.

As in Bark, a text is one sentence, spoken in one go with Suno's sampling, and every call draws
anew. A model is loaded once per process, by `preload_models` or by the first call.
"""

from __future__ import annotations

import functools
import secrets
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bark_stream.bark import VoiceLike, load
from bark_stream.config import ChunkPolicy, SamplingConfig
from bark_stream.events import Chunk
from bark_stream.sentences import Sentence
from bark_stream.voice import Voice, save_voice, voice_from_arrays

SAMPLE_RATE = 24_000
"""Of every published Bark and of `mini`."""

_load = functools.cache(load)


def preload_models(model: str | Path = "mini") -> None:
    """Load a model now rather than in the first call."""
    _load(model)


def generate_audio(
    text: str,
    history_prompt: VoiceLike = None,
    text_temp: float = 0.7,
    waveform_temp: float = 0.7,
    silent: bool = False,
    output_full: bool = False,
    *,
    model: str | Path = "mini",
) -> Any:
    """Speak one text.

    Args:
        history_prompt: a preset's name, a `.npz` path, or a dict as returned with `output_full`.
        silent: kept for Bark's sake; nothing is printed either way.
        output_full: also return the tokens.
    Returns: [T] float32 at SAMPLE_RATE; with `output_full` first the dict of semantic, coarse and fine prompt.
    Raises: EmptyText, TextTooLong, UnknownVoice, BadVoice.
    """
    bark, policy = _load(model), ChunkPolicy.reference()
    sampling = SamplingConfig(text_temperature=text_temp, waveform_temperature=waveform_temp)
    state = bark.begin(history_prompt, seed=secrets.randbits(62), policy=policy)
    speaking = bark.speak(Sentence(index=0, text=text, source=text, start=0), state, policy=policy, sampling=sampling)
    chunks: list[NDArray[np.float32]] = []
    while True:
        try:
            event = next(speaking)
        except StopIteration as stop:
            run = stop.value
            break
        if isinstance(event, Chunk):
            chunks.append(event.pcm)
    pcm = np.concatenate(chunks) if chunks else np.zeros(0, dtype=np.float32)
    return (_full_generation(bark.pipeline.prompt(run)), pcm) if output_full else pcm


def save_as_prompt(filepath: str | Path, full_generation: dict[str, NDArray[Any]]) -> None:
    """Keep what `output_full` returned as a voice file (`.npz`). Raises: BadVoice, OutputError."""
    save_voice(voice_from_arrays(Path(filepath).stem, full_generation), filepath)


def _full_generation(prompt: Voice | None) -> dict[str, NDArray[np.int64]]:
    if prompt is None:
        return {}
    return {"semantic_prompt": prompt.semantic, "coarse_prompt": prompt.coarse, "fine_prompt": prompt.fine}
