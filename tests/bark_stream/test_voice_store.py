"""A folder of one's own voices: names that lead nowhere, voices that are whole or not there."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bark_stream.bark import Bark
from bark_stream.checkpoint import Checkpoint
from bark_stream.config import ModelConfig
from bark_stream.errors import BadVoice, BadVoiceName, OutputError, UnknownVoice, VoiceExists
from bark_stream.provenance import Provenance
from bark_stream.voice import Voice, read_voice, save_voice, token_family
from bark_stream.voice_store import STALE_S, VoiceStore

BAD_NAMES = [
    "",
    ".",
    "..",
    "../alice",
    "a/b",
    "/etc/passwd",
    "a\\b",
    ".hidden",
    "a.npz",
    "a b",
    "é",
    "a\0",
    "x" * 65,
    "-r",
]


@pytest.fixture
def store(tmp_path: Path) -> VoiceStore:
    return VoiceStore(tmp_path / "voices")


def provenance_for(config: ModelConfig) -> Provenance:
    return Provenance(
        consent="Alice, 2026-11-01",
        source_sha256="0" * 64,
        source_s=5.0,
        created_at="2026-11-02T10:00:00+00:00",
        tool="bark-stream 0.1.0",
        model=config.name,
        encoder="HuBERT",
        tokens=token_family(config),
    )


@pytest.fixture
def alice(tiny_checkpoint: Checkpoint) -> Voice:
    preset = tiny_checkpoint.voices.get("en_speaker_0")
    return replace(preset, name="alice", provenance=provenance_for(tiny_checkpoint.config))


def test_store_keeps_lists_renames_and_deletes(store: VoiceStore, alice: Voice) -> None:
    """The life of a voice; its provenance goes with it."""
    assert store.names() == ()
    store.save(alice)
    assert store.names() == ("alice",)
    store.rename("alice", "bob")
    assert store.names() == ("bob",)
    assert store.get("bob") == alice
    assert store.get("bob").provenance == alice.provenance
    assert store.get("bob").name == "bob"
    store.delete("bob")
    assert store.names() == ()
    with pytest.raises(UnknownVoice):
        store.delete("bob")


@pytest.mark.parametrize("name", BAD_NAMES)
def test_store_takes_no_name_that_is_more_than_a_name(
    store: VoiceStore, alice: Voice, name: str, tmp_path: Path
) -> None:
    """Nothing is written, read, moved or deleted outside the folder, or under a name that would not be listed."""
    (tmp_path / "alice.npz").write_bytes(b"not ours")
    store.save(alice)
    with pytest.raises(BadVoiceName):
        store.save(replace(alice, name=name))
    with pytest.raises(BadVoiceName):
        store.rename("alice", name)
    for act in (store.get, store.delete):
        with pytest.raises(UnknownVoice):
            act(name)
    assert store.names() == ("alice",)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alice.npz", "voices"]
    assert (tmp_path / "alice.npz").read_bytes() == b"not ours"


def test_store_replaces_only_when_told(store: VoiceStore, alice: Voice) -> None:
    """Neither saving nor renaming goes over another voice."""
    store.save(alice)
    store.save(replace(alice, name="bob"))
    with pytest.raises(VoiceExists):
        store.save(alice)
    with pytest.raises(VoiceExists):
        store.rename("alice", "bob")
    store.save(alice, replace=True)
    assert store.names() == ("alice", "bob")


@contextmanager
def full_disk(num_bytes: int) -> Iterator[None]:
    """Writing beyond so many bytes of a file fails, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_store_on_a_full_disk_leaves_nothing(store: VoiceStore, alice: Voice) -> None:
    """The error is clear, no file is left, and a voice that was there stays as it was."""
    with full_disk(500), pytest.raises(OutputError):
        store.save(alice)
    assert list(store.folder.iterdir()) == []
    store.save(alice)
    louder = replace(alice, semantic=np.concatenate([alice.semantic, alice.semantic]))
    with full_disk(500), pytest.raises(OutputError):
        store.save(louder, replace=True)
    assert store.get("alice") == alice
    assert len(list(store.folder.iterdir())) == 1


def test_store_killed_in_the_middle_lists_whole_voices_only(store: VoiceStore, alice: Voice, tmp_path: Path) -> None:
    """A program that is killed while it saves leaves whole voices, and hidden leftovers that a later save sweeps."""
    save_voice(alice, tmp_path / "alice.npz")
    program = (
        "from dataclasses import replace\n"
        "from bark_stream.voice import read_voice\n"
        "from bark_stream.voice_store import VoiceStore\n"
        f"voice = read_voice({str(tmp_path / 'alice.npz')!r})\n"
        f"store = VoiceStore({str(store.folder)!r})\n"
        "print('ready', flush=True)\n"
        "for n in range(10 ** 9):\n"
        "    store.save(replace(voice, name=f'v{n % 50}'), replace=True)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert child.stdout is not None
    with child.stdout:
        assert child.stdout.readline() == b"ready\n"
        while not store.names():
            time.sleep(0.001)
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert all(store.get(name) == alice for name in store.names())
    leftover = store.folder / ".alice.npz.abc"
    leftover.write_bytes(b"half")
    os.utime(leftover, (time.time() - 2 * STALE_S,) * 2)
    store.save(alice)
    assert not leftover.exists()


def test_library_speaks_with_voices_that_came_later(
    tiny_checkpoint: Checkpoint, store: VoiceStore, alice: Voice
) -> None:
    """What is saved after the model was opened is known; the model's own names go first; what is gone is unknown."""
    bark = Bark(tiny_checkpoint, own_voices=store)
    with pytest.raises(UnknownVoice):
        bark.voice("alice")
    store.save(alice)
    store.save(replace(alice, name="en_speaker_0"))
    assert bark.voices == ("alice", "en_speaker_0")
    voice = bark.voice("alice")
    assert voice == alice
    assert voice is not None
    assert voice.is_cloned
    assert [bark.voice_origin(name) for name in bark.voices] == ["cloned", "preset"]
    own = bark.voice("en_speaker_0")
    assert own is not None
    assert not own.is_cloned
    store.delete("alice")
    with pytest.raises(UnknownVoice):
        bark.voice("alice")


def test_voice_with_a_damaged_provenance_is_refused(store: VoiceStore, alice: Voice) -> None:
    """A file that says something else where the origin belongs is not taken for a preset."""
    path = store.save(alice)
    with np.load(path) as arrays:
        parts = dict(arrays)
    for damaged in (np.array([1, 2]), np.frombuffer(b"{}", np.uint8), np.frombuffer(b'{"consent": ""}', np.uint8)):
        np.savez(path, **{**parts, "provenance": damaged})
        with pytest.raises(BadVoice):
            read_voice(path)
