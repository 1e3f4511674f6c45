"""`bark-stream say -f`: a dialogue into one file, and one clear line for what cannot go together."""

from __future__ import annotations

from pathlib import Path

import pytest

from bark_stream.audio_file import read_audio
from bark_stream.checkpoint import random_checkpoint, save_checkpoint
from bark_stream.cli import main


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_checkpoint(random_checkpoint("tiny", seed=6), folder)
    return str(folder)


def test_say_file_speaks_a_dialogue(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Names that nobody was cast for get a preset; captions lie beside the sound."""
    script = tmp_path / "play.txt"
    script.write_text("ANNA: Hm.\nBOB: Oh.\n")
    target = tmp_path / "play.ogg"
    arguments = ("say", "-f", str(script), "-o", str(target), "--model", model, "--captions", "vtt")
    assert main([*arguments, "--dialogue", "--cast", "ANNA=en_speaker_0"]) == 0
    pcm, _ = read_audio(target)
    assert len(pcm)
    assert "2 sentences" in capsys.readouterr().err
    assert "<v BOB>Oh." in (tmp_path / "play.vtt").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-f", "nowhere.txt"], "cannot be read"),
        (["-f", "{script}", "--play", "-o", "{out}"], "does not go with --file"),
        (["-f", "{script}", "-o", "-"], "must be a file"),
        (["-f", "{script}", "--cast", "ANNA"], "is not NAME=VOICE"),
        (["-f", "{script}", "--cast", "ANNA=nobody", "-o", "{out}"], "no voice is named 'nobody'"),
        ([], "nothing that can be spoken"),
    ],
)
def test_say_file_refuses_in_one_line(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    """Status 2 and the reason, before anything is spoken."""
    (tmp_path / "script.txt").write_text("ANNA: Hm.\n")
    names = {"script": str(tmp_path / "script.txt"), "out": str(tmp_path / "out.wav")}
    status = main(["say", *(argument.format(**names) for argument in arguments), "--model", model])
    captured = capsys.readouterr()
    assert (status, captured.out, captured.err.count("\n")) == (2, "", 1)
    assert words in captured.err
    assert not (tmp_path / "out.wav").exists()
