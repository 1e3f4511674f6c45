"""Voices: what is accepted, what is refused and why, what is written."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hugging_face_reference import bark_history

from bark_stream.checkpoint import Checkpoint
from bark_stream.config import ModelConfig
from bark_stream.errors import BadVoice, OutputError
from bark_stream.voice import (
    MAX_FILE_BYTES,
    MIN_SEMANTIC_TOKENS,
    Voice,
    read_voice,
    read_voice_parts,
    save_voice,
    voice_from_arrays,
)

Arrays = dict[str, np.ndarray[Any, Any]]


@pytest.fixture
def config(tiny_checkpoint: Checkpoint) -> ModelConfig:
    return tiny_checkpoint.config


@pytest.fixture
def voice(tiny_checkpoint: Checkpoint) -> Voice:
    return tiny_checkpoint.voices.get("en_speaker_0")


def arrays_of(voice: Voice) -> Arrays:
    return {
        "semantic_prompt": voice.semantic.copy(),
        "coarse_prompt": voice.coarse.copy(),
        "fine_prompt": voice.fine.copy(),
    }


def voice_of_length(num_tokens: int, num_frames: int) -> Voice:
    fine = np.ones((8, num_frames), np.int64)
    return voice_from_arrays(
        "short",
        {"semantic_prompt": np.ones(num_tokens, np.int64), "coarse_prompt": fine[:2], "fine_prompt": fine},
    )


def test_voice_saved_and_read_is_equal(voice: Voice, tmp_path: Path, config: ModelConfig) -> None:
    """A saved voice is read again as it was, whatever its name."""
    save_voice(voice, tmp_path / "me.npz")
    read = read_voice(tmp_path / "me.npz").check(config)
    assert read == voice
    assert hash(read) == hash(voice)
    assert read.name == "me"
    assert [path.name for path in tmp_path.iterdir()] == ["me.npz"]


def test_voice_file_is_as_suno_publishes(voice: Voice, tmp_path: Path) -> None:
    """The file holds Suno's keys and types, and numpy alone can read it."""
    save_voice(voice, tmp_path / "me.npz")
    with np.load(tmp_path / "me.npz", allow_pickle=False) as arrays:
        types = {key: (array.dtype.name, array.ndim) for key, array in arrays.items()}
    assert types == {"semantic_prompt": ("int64", 1), "coarse_prompt": ("int64", 2), "fine_prompt": ("int32", 2)}


def test_voice_file_is_read_by_transformers(voice: Voice, tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    """transformers' BarkProcessor takes the file as a voice preset."""
    save_voice(voice, tmp_path / "me.npz")
    history = bark_history(tiny_checkpoint.tokenizer, tmp_path / "me.npz")
    assert np.array_equal(history["fine_prompt"], voice.fine)


def test_voice_of_another_integer_type_is_read(voice: Voice, config: ModelConfig) -> None:
    """Presets come as int64, int32 and uint16; all are the same voice."""
    narrow = {key: array.astype(np.uint16) for key, array in arrays_of(voice).items()}
    assert voice_from_arrays("narrow", narrow).check(config) == voice


def test_voice_differs_from_another_and_from_other_things(voice: Voice) -> None:
    """One token makes another voice; a voice is nothing else."""
    arrays = arrays_of(voice)
    arrays["semantic_prompt"][0] ^= 1
    assert voice_from_arrays(voice.name, arrays) != voice
    assert voice != "en_speaker_0"


def test_voice_arrays_cannot_be_changed(voice: Voice) -> None:
    """A voice is a value: its arrays are its own, and read-only."""
    arrays = arrays_of(voice)
    mine = voice_from_arrays("mine", arrays)
    arrays["semantic_prompt"][0] ^= 1
    assert mine == voice
    with pytest.raises(ValueError, match="read-only"):
        mine.semantic[0] = 1


@pytest.mark.parametrize(
    ("part", "array", "problem"),
    [
        ("semantic_prompt", None, "semantic_prompt is missing"),
        ("fine_prompt", np.zeros((8, 4)), "fine_prompt is float64, not integers"),
        ("coarse_prompt", np.zeros((2, 4), bool), "coarse_prompt is bool, not integers"),
        ("semantic_prompt", np.zeros((1, 4), int), "semantic_prompt has 2 axes, not 1"),
        ("coarse_prompt", np.array(["a"]), "coarse_prompt is <U1, not integers"),
    ],
)
def test_voice_of_wrong_arrays_names_the_problem(voice: Voice, part: str, array: Any, problem: str) -> None:
    """A missing array, a wrong type or number of axes is named."""
    arrays = arrays_of(voice)
    if array is None:
        del arrays[part]
    else:
        arrays[part] = array
    with pytest.raises(BadVoice, match=problem):
        voice_from_arrays("bad", arrays)


@pytest.mark.parametrize(
    ("part", "change", "problem"),
    [
        ("semantic_prompt", lambda a: a[:3], "semantic_prompt holds 3 tokens"),
        ("semantic_prompt", lambda a: np.append(a[1:], 100), "semantic_prompt holds values from 0 to 100, not 0 to 99"),
        ("semantic_prompt", lambda a: np.append(a[1:], -1), "semantic_prompt holds values from -1"),
        ("semantic_prompt", lambda a: a[: len(a) // 2], "240 frames do not go with 80 semantic tokens"),
        ("coarse_prompt", lambda a: np.vstack([a, a]), r"coarse_prompt is \[4, 240\], not \[2, 240\]"),
        ("fine_prompt", lambda a: a[:4], r"fine_prompt is \[4, 240\], not \[8, 240\]"),
        ("fine_prompt", lambda a: a[:, 1:], r"fine_prompt is \[8, 239\], not \[8, 240\]"),
        ("fine_prompt", lambda a: a + 64, "fine_prompt holds values from 64"),
        ("coarse_prompt", lambda a: 63 - a, "coarse_prompt differs from the first 2 rows of fine_prompt"),
    ],
)
def test_voice_that_does_not_fit_names_the_problem(
    voice: Voice, config: ModelConfig, part: str, change: Any, problem: str
) -> None:
    """Lengths, ranges, the ratio of frames to tokens, coarse against fine: each is checked and named."""
    arrays = arrays_of(voice)
    arrays[part] = change(arrays[part])
    with pytest.raises(BadVoice, match=problem):
        voice_from_arrays("bad", arrays).check(config)


@pytest.mark.parametrize("num_tokens", range(MIN_SEMANTIC_TOKENS, 60))
def test_voice_of_any_length_that_bark_makes_fits(config: ModelConfig, num_tokens: int) -> None:
    """What the coarse stage makes of any number of tokens is a voice, although short ones miss Suno's ratio."""
    voice_of_length(num_tokens, int(num_tokens * 75 / 49.9)).check(config)


def test_voice_empty_is_refused(config: ModelConfig) -> None:
    """Nothing is no voice."""
    with pytest.raises(BadVoice, match="0 tokens"):
        voice_of_length(0, 0).check(config)


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04broken"])
def test_voice_file_that_is_no_npz_says_so(tmp_path: Path, content: bytes) -> None:
    """A damaged file is a bad voice, not a crash."""
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(BadVoice, match=r"a\.npz"):
        read_voice(tmp_path / "a.npz")


def test_voice_file_that_is_truncated_says_so(voice: Voice, tmp_path: Path) -> None:
    """A file that ends early is a bad voice, wherever it ends."""
    save_voice(voice, tmp_path / "a.npz")
    whole = (tmp_path / "a.npz").read_bytes()
    for num_bytes in range(0, len(whole), 997):
        (tmp_path / "a.npz").write_bytes(whole[:num_bytes])
        with pytest.raises(BadVoice):
            read_voice(tmp_path / "a.npz")


def test_voice_file_that_is_missing_says_so(tmp_path: Path) -> None:
    """A path without a file is a bad voice that names the path."""
    with pytest.raises(BadVoice, match=r"nobody\.npz cannot be read: No such file"):
        read_voice(tmp_path / "nobody.npz")


def test_voice_file_with_pickled_objects_is_refused(voice: Voice, tmp_path: Path) -> None:
    """Arrays of objects would be unpickled; they are not."""
    arrays: Any = {**arrays_of(voice), "fine_prompt": np.array([print], dtype=object)}
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(BadVoice, match="plain arrays"):
        read_voice(tmp_path / "a.npz")


def test_voice_file_that_is_a_zip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    """A small file that unpacks to a large one is refused before it is unpacked."""
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("semantic_prompt.npy", b"\0" * (MAX_FILE_BYTES + 1))
    with pytest.raises(BadVoice, match="larger than"):
        read_voice(tmp_path / "a.npz")


def test_voice_parts_that_are_damaged_say_so(voice: Voice, tmp_path: Path) -> None:
    """Hugging Face's layout: each file is checked like an npz."""
    paths = {part: tmp_path / f"{part}.npy" for part in arrays_of(voice)}
    for part, array in arrays_of(voice).items():
        np.save(paths[part], array)
    assert read_voice_parts("a", paths) == voice
    paths["fine_prompt"].write_bytes(b"text")
    with pytest.raises(BadVoice, match=r"fine_prompt\.npy is no npy"):
        read_voice_parts("a", paths)
    paths["fine_prompt"].unlink()
    with pytest.raises(BadVoice, match=r"fine_prompt\.npy cannot be read"):
        read_voice_parts("a", paths)


def test_voice_saved_where_it_cannot_be_leaves_nothing(voice: Voice, tmp_path: Path) -> None:
    """An unwritable place is an output error, and no temporary file stays behind."""
    with pytest.raises(OutputError, match="No such file"):
        save_voice(voice, tmp_path / "nowhere" / "me.npz")
    (tmp_path / "me.npz").mkdir()
    with pytest.raises(OutputError):
        save_voice(voice, tmp_path / "me.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["me.npz"]
