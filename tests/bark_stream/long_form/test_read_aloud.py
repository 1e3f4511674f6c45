"""Long jobs: one file, a voice per name, captions, and the same samples after a kill."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_voice_store import provenance_for

from bark_stream.audio_file import read_audio
from bark_stream.bark import Bark
from bark_stream.checkpoint import Checkpoint
from bark_stream.config import ChunkPolicy, SamplingConfig
from bark_stream.errors import ConfigError, EmptyText
from bark_stream.long_form.read_aloud import Manner, Progress, read_aloud
from bark_stream.long_form.script import dialogue, paragraphs
from bark_stream.long_form.workspace import STATE, Workspace
from bark_stream.voice import Voice

LINES = ["A: Good morning to you.\n", "B: And to you, neighbour.\n", "A: It rains again.\n"]
JOB = {"text": "one"}


class Stop(Exception):
    """As if the program had been killed."""


@pytest.fixture(scope="module")
def bark(tiny_checkpoint: Checkpoint) -> Bark:
    return Bark(tiny_checkpoint)


@pytest.fixture(scope="module")
def manner() -> Manner:
    # The tiny model does not end its sentences by itself.
    policy = replace(ChunkPolicy.realtime(), eager=False, min_budget_s=0.3, max_s_per_character=0.01)
    return Manner(policy=policy, sampling=SamplingConfig(), seed=3)


def read(
    bark: Bark, manner: Manner, folder: Path, *, stop_after: int = 99, lines: list[str] = LINES, job: object = None
) -> Progress:
    voices = {"A": bark.voice("en_speaker_0"), "B": None}

    def cast(speaker: str | None) -> Voice | None:
        return voices.get(speaker or "")

    def stop(progress: Progress) -> None:
        if progress.num_sentences >= stop_after:
            raise Stop

    with Workspace(folder / "talk.wav.part", JOB if job is None else {"text": job}) as workspace:
        return read_aloud(
            bark,
            dialogue(lines),
            folder / "talk.wav",
            workspace,
            cast,
            manner,
            captions=("srt", "vtt"),
            on_progress=stop,
        )


def test_read_aloud_writes_sound_and_captions(bark: Bark, manner: Manner, tmp_path: Path) -> None:
    """One file, captions beside it that end where it ends, and nothing else is left."""
    progress = read(bark, manner, tmp_path)
    pcm, rate_hz = read_audio(tmp_path / "talk.wav")
    assert progress.num_sentences == 3
    assert len(pcm) / rate_hz == pytest.approx(progress.audio_s)
    captions = (tmp_path / "talk.srt").read_text()
    assert [line for line in captions.splitlines() if line.startswith(("A:", "B:"))] == [
        "A: Good morning to you.",
        "B: And to you, neighbour.",
        "A: It rains again.",
    ]
    assert (tmp_path / "talk.vtt").read_text().startswith("WEBVTT\n\n1\n00:00:00.000 -->")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["talk.srt", "talk.vtt", "talk.wav"]


@pytest.mark.parametrize("stop_after", [1, 3])
def test_read_aloud_goes_on_after_a_kill(bark: Bark, manner: Manner, tmp_path: Path, stop_after: int) -> None:
    """Stopped after any sentence, with halves of the next already on disk, the job ends with the very same samples."""
    (tmp_path / "whole").mkdir()
    (tmp_path / "halved").mkdir()
    read(bark, manner, tmp_path / "whole")
    with pytest.raises(Stop):
        read(bark, manner, tmp_path / "halved", stop_after=stop_after)
    part = tmp_path / "halved" / "talk.wav.part"
    for name in ("speech.pcm", "sentences.jsonl"):
        with (part / name).open("ab") as file:
            file.write(b'{"half')
    (part / f".{STATE}").write_bytes(b"half a state")
    read(bark, manner, tmp_path / "halved")
    for name in ("talk.wav", "talk.srt"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "halved" / name).read_bytes()


def test_read_aloud_refuses_the_rest_of_another_job(bark: Bark, manner: Manner, tmp_path: Path) -> None:
    """Other text or settings would make a patchwork."""
    with pytest.raises(Stop):
        read(bark, manner, tmp_path, stop_after=1)
    with pytest.raises(ConfigError, match="belongs to a job with other text"):
        read(bark, manner, tmp_path, job="two")


def test_read_aloud_of_nothing_is_refused(bark: Bark, manner: Manner, tmp_path: Path) -> None:
    """Blank lines and dashes are nothing to say."""
    with pytest.raises(EmptyText):
        read(bark, manner, tmp_path, lines=["\n", "A: —\n"])


def test_read_aloud_pauses_between_paragraphs(bark: Bark, manner: Manner, tmp_path: Path) -> None:
    """A third of a second of silence at the end of each."""
    with Workspace(tmp_path / "a.wav.part", JOB) as workspace:
        read_aloud(bark, paragraphs(["One is here.\n"]), tmp_path / "a.wav", workspace, lambda name: None, manner)
    pcm, rate_hz = read_audio(tmp_path / "a.wav")
    assert np.abs(pcm[-round(0.34 * rate_hz) :]).max() == 0


def test_tags_name_every_cloned_voice(bark: Bark, manner: Manner, tmp_path: Path) -> None:
    """A file spoken with a cloned voice says so, in every format."""
    voice = bark.voice("en_speaker_0")
    assert voice is not None
    cloned = replace(voice, name="alice", provenance=provenance_for(bark.config))
    for suffix in ("wav", "ogg", "mp3"):
        target = tmp_path / f"a.{suffix}"
        with Workspace(tmp_path / "part", JOB) as workspace:
            read_aloud(bark, paragraphs(["One is here.\n"]), target, workspace, lambda name: cloned, manner)
        data = target.read_bytes()
        assert b"alice" in data
        assert b"cloned" in data
