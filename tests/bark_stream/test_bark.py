"""Promises of `bark_stream.bark` and of Suno's functions: a program's way in."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import bark_stream
from bark_stream.bark import Bark
from bark_stream.checkpoint import random_checkpoint, save_checkpoint
from bark_stream.config import ChunkPolicy
from bark_stream.errors import BadVoice, EmptyText, TextTooLong, UnknownVoice
from bark_stream.voice import read_voice, save_voice

POLICY = ChunkPolicy(chunk_frames=(10, 20), min_budget_s=0.6, max_s_per_character=0.01, trim_leading_silence=False)


@pytest.fixture(scope="module")
def bark() -> Bark:
    return Bark(random_checkpoint("tiny", seed=6))


def test_generate_equals_stream(bark: Bark) -> None:
    """The clip is its chunks, whether the text comes whole or in slices."""
    text = "This is the first sentence of two. And this is the second one, a bit longer."
    clip = bark.generate(text, voice="en_speaker_0", seed=3, policy=POLICY)
    chunks = list(bark.stream(iter(text), voice="en_speaker_0", seed=3, policy=POLICY))
    assert clip.dtype == np.float32
    assert len(chunks) > 2
    assert np.array_equal(clip, np.concatenate([chunk.pcm for chunk in chunks]))


def test_stream_speaks_while_text_is_written(bark: Bark) -> None:
    """Audio of the first sentence comes before the text behind it has been asked for."""
    asked: list[str] = []

    def text() -> Iterator[str]:
        for piece in ("The first sentence is complete. ", "Now comes more. ", "And the end of it all."):
            asked.append(piece)
            yield piece

    stream = bark.stream(text(), policy=POLICY)
    next(stream)
    assert len(asked) < 3


def test_synthesize_prompt_speaks_on(bark: Bark, tmp_path: Path) -> None:
    """What was said is kept as a voice that passes every check and can be spoken with."""
    speech = bark.synthesize("Remember me well, my friend.", seed=1, policy=POLICY)
    assert speech.prompt is not None
    save_voice(speech.prompt, tmp_path / "me.npz")
    assert read_voice(tmp_path / "me.npz") == speech.prompt
    again = bark.generate("It is me.", voice=tmp_path / "me.npz", policy=POLICY)
    assert np.array_equal(again, bark.generate("It is me.", voice=str(tmp_path / "me.npz"), policy=POLICY))
    assert not np.array_equal(again, bark.generate("It is me.", policy=POLICY))


def test_synthesize_max_s_is_exact(bark: Bark) -> None:
    """Asked for at most so much audio, it gives exactly that, and stops working."""
    speech = bark.synthesize("A sentence that is surely longer than half a second.", policy=POLICY, max_s=0.5)
    assert len(speech.pcm) == 12_000


@pytest.mark.parametrize("text", ["", "  \n ", "…", "♪ ♪"])
def test_generate_nothing_to_say(bark: Bark, text: str) -> None:
    """A text without a speakable character is a typed error."""
    with pytest.raises(EmptyText):
        bark.generate(text)


def test_voice_bad_is_named(bark: Bark, tmp_path: Path) -> None:
    """An unknown name, a missing file and arrays that do not fit are each refused clearly."""
    with pytest.raises(UnknownVoice, match="en_speaker_0"):
        bark.generate("Hello there.", voice="../../etc/passwd")
    with pytest.raises(BadVoice, match="cannot be read"):
        bark.generate("Hello there.", voice=tmp_path / "none.npz")
    with pytest.raises(BadVoice, match="coarse_prompt is missing"):
        bark.generate("Hello there.", voice={"semantic_prompt": [1]})


def test_suno_api_as_in_barks_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bark's README runs after changing the import: preload, speak, speak with a preset, keep and reuse a prompt."""
    folder = tmp_path / "model"
    save_checkpoint(random_checkpoint("tiny", seed=6), folder)
    bark_stream.preload_models(folder)
    audio = bark_stream.generate_audio("Hello, my name is Suno.", text_temp=0, model=folder)
    assert audio.ndim == 1
    assert len(audio) > bark_stream.SAMPLE_RATE // 10
    full, audio = bark_stream.generate_audio(
        "Again.", history_prompt="v2/en_speaker_0", text_temp=0, waveform_temp=0.6, output_full=True, model=folder
    )
    bark_stream.save_as_prompt(tmp_path / "mine.npz", full)
    bark_stream.generate_audio("And again.", history_prompt=full, silent=True, model=folder)
    bark_stream.generate_audio("And again.", history_prompt=str(tmp_path / "mine.npz"), model=folder)
    with pytest.raises(TextTooLong):
        bark_stream.generate_audio("word " * 500, model=folder)


def test_import_without_torch() -> None:
    """What the server needs of the engine's package can be imported without loading torch."""
    import subprocess
    import sys

    modules = "bark_stream, bark_stream.errors, bark_stream.events, bark_stream.config, bark_stream.sentences"
    code = f"import {modules}, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_seed_gives_the_same_speech(bark: Bark) -> None:
    """Same text, voice and seed: same samples. Another seed: others."""
    clips = [bark.generate("Roll the dice for me.", seed=seed, policy=POLICY) for seed in (4, 4, 5)]
    assert np.array_equal(clips[0], clips[1])
    assert any(not np.array_equal(a, b) for a, b in itertools.pairwise(clips))
