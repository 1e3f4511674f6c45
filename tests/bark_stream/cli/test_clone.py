"""`bark-stream clone` and `bark-stream voices`: a voice from a file, looked after by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from bark_stream.checkpoint import random_checkpoint, save_checkpoint
from bark_stream.checkpoint.folder import ENCODER
from bark_stream.cli import main
from bark_stream.cloning.mel_encoder import MelEncoder, MelEncoderConfig
from bark_stream.voice import read_voice

SAMPLE = str(Path(__file__).parents[2] / "samples" / "man.ogg")
CONSENT = ("--consent", "Bob, on the phone, 2026-11-01")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_checkpoint(random_checkpoint("tiny", seed=6), folder)
    encoder = MelEncoder(MelEncoderConfig(num_classes=100, channels=8, num_blocks=1, kernel=3))
    save_file({name: tensor.half() for name, tensor in encoder.state_dict().items()}, folder / ENCODER)
    return str(folder)


def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = main(list(arguments))
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_clone_then_say_show_rename_export_delete(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole life of a voice on the command line; the environment says where it is kept."""
    torch.set_num_threads(1)
    monkeypatch.setenv("BARK_STREAM_VOICES", str(tmp_path / "mine"))
    status, out, err = command(capsys, "clone", SAMPLE, "--name", "bob", *CONSENT, "--model", model)
    assert (status, out.strip(), err) == (0, str(tmp_path / "mine" / "bob.npz"), "")
    _, listed, _ = command(capsys, "voices", "--model", model)
    assert "en_speaker_0" in listed
    assert "bob (cloned 20" in listed
    assert "consent: Bob, on the phone" in listed
    target = tmp_path / "hello.wav"
    say = ("say", "Hello.", "--model", model, "--voice", "bob", "-o", str(target), "--max-seconds", "0.3")
    assert command(capsys, *say)[0] == 0
    assert b"cloned" in target.read_bytes()
    assert command(capsys, "voices", "rename", "bob", "robert")[0] == 0
    _, shown, _ = command(capsys, "voices", "show", "robert")
    assert "sha256" in shown
    assert "Bob, on the phone" in shown
    assert command(capsys, "voices", "export", "robert", str(tmp_path / "r.npz"))[0] == 0
    assert read_voice(tmp_path / "r.npz").is_cloned
    assert command(capsys, "voices", "delete", "robert")[0] == 0
    assert "robert" not in command(capsys, "voices", "--model", model)[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([SAMPLE, "--name", "bob"], "who agreed"),
        ([SAMPLE, "--name", "../bob", *CONSENT], "is no name"),
        ([SAMPLE, "--name", "en_speaker_0", *CONSENT], "exists already"),
        (["nowhere.wav", "--name", "bob", *CONSENT], "cannot be read"),
    ],
)
def test_clone_refuses_in_one_line(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    """Status 2, one line, nothing kept."""
    store = ("--voices", str(tmp_path / "mine"))
    status, out, err = command(capsys, "clone", *arguments, "--model", model, *store)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert words in err
    assert not list(tmp_path.rglob("*.npz"))


def test_clone_replaces_only_when_told(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The second clone of a name is refused, and taken with --replace."""
    clone = ("clone", SAMPLE, "--name", "bob", *CONSENT, "--model", model, "--voices", str(tmp_path))
    assert command(capsys, *clone)[0] == 0
    assert "exists already" in command(capsys, *clone)[2]
    assert command(capsys, *clone, "--replace")[0] == 0


def test_voices_shows_a_damaged_voice_as_such(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is no voice does not hide the others."""
    (tmp_path / "broken.npz").write_bytes(b"PK")
    status, out, _ = command(capsys, "voices", "--model", model, "--voices", str(tmp_path))
    assert status == 0
    assert "broken (damaged" in out
