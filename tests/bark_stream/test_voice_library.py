"""Voices by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bark_stream.checkpoint import Checkpoint
from bark_stream.errors import BadVoice, UnknownVoice
from bark_stream.voice import Voice, save_voice, voice_from_arrays
from bark_stream.voice_library import VoiceLibrary, voice_readers


@pytest.fixture
def voice(tiny_checkpoint: Checkpoint) -> Voice:
    return tiny_checkpoint.voices.get("en_speaker_0")


def test_library_lists_a_folder_under_suno_s_names(tiny_checkpoint: Checkpoint, voice: Voice, tmp_path: Path) -> None:
    """Folders are part of a name, the suffix is not; aliases are found but not listed."""
    (tmp_path / "v2").mkdir()
    for name in ("announcer", "en_speaker_0", "v2/en_speaker_6"):
        save_voice(voice, tmp_path / f"{name}.npz")
    library = VoiceLibrary(voice_readers(tmp_path), tiny_checkpoint.config)
    assert library.names() == ("announcer", "en_speaker_0", "v2/en_speaker_6")
    assert library.get("v2/en_speaker_6").name == "v2/en_speaker_6"
    assert library.get("v2/en_speaker_0").name == "en_speaker_0"


def test_library_reads_a_voice_once_and_only_when_asked(tiny_checkpoint: Checkpoint, voice: Voice) -> None:
    """Opening a library of hundreds reads none of them."""
    reads = []

    def read() -> Voice:
        reads.append(1)
        return voice

    library = VoiceLibrary({"a": read}, tiny_checkpoint.config)
    assert not reads
    assert library.get("a") is library.get("a")
    assert len(reads) == 1


@pytest.mark.parametrize("name", ["nobody", "", "../secret", "/etc/passwd", "en_speaker_0.npz", "v2", "a\0b"])
def test_library_asked_for_a_name_not_listed_touches_no_file(
    tiny_checkpoint: Checkpoint, voice: Voice, tmp_path: Path, name: str
) -> None:
    """Only listed names are voices, though files of such names exist."""
    save_voice(voice, tmp_path / "secret.npz")
    (tmp_path / "voices" / "v2").mkdir(parents=True)
    save_voice(voice, tmp_path / "voices" / "en_speaker_0.npz")
    library = VoiceLibrary(voice_readers(tmp_path / "voices"), tiny_checkpoint.config)
    with pytest.raises(UnknownVoice, match="there are en_speaker_0"):
        library.get(name)


def test_library_with_a_voice_that_does_not_fit_says_so_when_asked(tiny_checkpoint: Checkpoint) -> None:
    """A voice of another model is refused when it is asked for, and the others remain."""
    fine = np.full((8, 30), 1000)
    foreign = voice_from_arrays(
        "foreign", {"semantic_prompt": np.zeros(20, int), "coarse_prompt": fine[:2], "fine_prompt": fine}
    )
    library = VoiceLibrary({"foreign": lambda: foreign}, tiny_checkpoint.config)
    with pytest.raises(BadVoice, match="values from 1000"):
        library.get("foreign")


@pytest.mark.parametrize("name", ["../a", "/a", "a//b", "", ".hidden", "a/../b", "a\\b"])
def test_library_with_an_unsafe_name_is_refused(tiny_checkpoint: Checkpoint, voice: Voice, name: str) -> None:
    """A name that could lead out of a folder is refused when the library is made."""
    with pytest.raises(BadVoice):
        VoiceLibrary({name: lambda: voice}, tiny_checkpoint.config)


def test_library_of_a_folder_that_is_not_there_is_empty(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    """A model without voices has an empty library."""
    assert VoiceLibrary(voice_readers(tmp_path / "none"), tiny_checkpoint.config).names() == ()
