"""The sub-commands that concern models: fetch, convert, voices, random-model."""

from __future__ import annotations

from pathlib import Path

import pytest

from bark_stream.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from bark_stream.cli import main


@pytest.fixture
def folder(tiny_checkpoint: Checkpoint, tmp_path: Path) -> Path:
    save_checkpoint(tiny_checkpoint, tmp_path / "model")
    return tmp_path / "model"


def test_convert_writes_a_model_and_prints_its_folder(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The converted folder is a model, smaller in a smaller storage; stdout holds its path alone."""
    assert main(["convert", str(folder), str(tmp_path / "small"), "--storage", "int8"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'small'}\n"
    assert load_checkpoint(tmp_path / "small").config == load_checkpoint(folder).config
    sizes = [(place / "semantic.safetensors").stat().st_size for place in (tmp_path / "small", folder)]
    assert sizes[0] < sizes[1] / 2


def test_convert_of_no_model_is_one_line_and_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be read is one clear line, exit code 2, and nothing is written."""
    assert main(["convert", str(tmp_path / "nowhere"), str(tmp_path / "new")]) == 2
    captured = capsys.readouterr()
    assert "nowhere" in captured.err
    assert "Traceback" not in captured.err
    assert not (tmp_path / "new").exists()


def test_convert_onto_something_else_is_one_line_and_code_2(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder with other things in it is left alone."""
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter").write_text("one")
    assert main(["convert", str(folder), str(tmp_path / "thesis")]) == 2
    assert "exists" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["chapter"]


def test_voices_lists_names_and_aliases(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One voice a line, with the names it also goes by."""
    assert main(["voices", "--model", str(folder)]) == 0
    assert capsys.readouterr().out == "en_speaker_0 (v2/en_speaker_0)\n"


def test_random_model_writes_a_model_that_warns(tmp_path: Path) -> None:
    """A random model can be loaded, and carries a notice that it does not speak."""
    assert main(["random-model", "--shape", "tiny", str(tmp_path / "tiny"), "--seed", "3"]) == 0
    assert "random" in (load_checkpoint(tmp_path / "tiny").config.notice or "")


def test_fetch_of_no_repository_is_one_line_and_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    """A name that is none is one clear line and exit code 2, without asking the network."""
    assert main(["fetch", "not-a-repository"]) == 2
    assert "no name of a repository" in capsys.readouterr().err
