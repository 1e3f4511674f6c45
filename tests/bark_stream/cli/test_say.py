"""Promises of `bark-stream say`: a file, figures, and one clear line when something is wrong."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bark_stream.audio_file import read_audio
from bark_stream.checkpoint import random_checkpoint, save_checkpoint
from bark_stream.cli import main
from bark_stream.voice import read_voice


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_checkpoint(random_checkpoint("tiny", seed=6), folder)
    return str(folder)


def say(model: str, *arguments: str) -> int:
    return main(["say", *arguments, "--model", model, "--max-seconds", "0.6"])


@pytest.mark.parametrize("suffix", ["wav", "ogg", "mp3", "flac"])
def test_say_writes_each_format(model: str, tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The file holds the speech, in the format its name asks for; the figures go to stderr."""
    target = tmp_path / f"out.{suffix}"
    assert say(model, "Hello there.", "-o", str(target)) == 0
    pcm, rate = read_audio(target)
    assert len(pcm) / rate == pytest.approx(0.6, abs=0.06)
    assert np.abs(pcm).max() > 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "RTF" in captured.err


def test_say_json_is_one_object(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --json stdout is one object with every figure."""
    assert say(model, "Hello there.", "-o", str(tmp_path / "a.wav"), "--json") == 0
    figures = json.loads(capsys.readouterr().out)
    assert set(figures) == {"audio_s", "load_s", "ttfa_s", "synth_s", "rtf", "peak_mb", "tokens_per_s"}
    assert set(figures["tokens_per_s"]) == {"semantic", "coarse", "fine", "codec"}
    assert figures["audio_s"] == 0.6
    assert 0 < figures["ttfa_s"] <= figures["synth_s"]


def test_say_same_seed_same_file(model: str, tmp_path: Path) -> None:
    """Seed, voice and text decide every byte; a greedy sentence does not even need the seed."""
    names = ("a", "b", "c")
    for name, seed in zip(names, ("5", "5", "6"), strict=True):
        say(model, "Throw the dice.", "-o", str(tmp_path / f"{name}.wav"), "--seed", seed)
        say(model, "No dice.", "-o", str(tmp_path / f"greedy-{name}.wav"), "--seed", seed, "--temperature", "0")
    a, b, c = ((tmp_path / f"{name}.wav").read_bytes() for name in names)
    assert a == b != c
    assert len({(tmp_path / f"greedy-{name}.wav").read_bytes() for name in names}) == 1


def test_say_stdin_to_stdout_is_python_m(model: str) -> None:
    """`python -m bark_stream say - -o -` is a filter: text in, WAV out, nothing else on stdout."""
    command = [sys.executable, "-m", "bark_stream", "say", "-", "-o", "-", "--model", model, "--max-seconds", "0.3"]
    done = subprocess.run(command, input=b"Hello there.", capture_output=True, check=True)
    pcm, rate = read_audio(io.BytesIO(done.stdout))
    assert (len(pcm), rate) == (7200, 24000)


def test_say_saved_prompt_is_a_voice(model: str, tmp_path: Path) -> None:
    """What was said is kept as a voice and can be spoken with, under every policy."""
    prompt = tmp_path / "me.npz"
    assert say(model, "Remember me.", "-o", str(tmp_path / "a.wav"), "--save-prompt", str(prompt)) == 0
    assert len(read_voice(prompt).semantic) > 6
    for extra in (["--policy", "reference"], ["--carry", "last"], ["--carry", "voice"]):
        target = tmp_path / f"{extra[1]}.wav"
        assert say(model, "It is me.", "--voice", str(prompt), "-o", str(target), *extra) == 0
        assert target.stat().st_size > 10_000


BAD = {
    "nothing to say": ([""], "nothing that can be spoken"),
    "no letter": (["… !"], "nothing that can be spoken"),
    "unknown voice": (["Hi.", "--voice", "nobody"], "nobody"),
    "voice with a path": (["Hi.", "--voice", "../../secret"], "secret"),
    "no such voice file": (["Hi.", "--voice", "none.npz"], "none.npz"),
    "negative temperature": (["Hi.", "--temperature", "-1"], "temperature"),
    "no number": (["Hi.", "--waveform-temperature", "nan"], "waveform_temperature"),
    "unknown suffix": (["Hi.", "-o", "a.xyz"], "a.xyz"),
    "no such folder": (["Hi.", "-o", "/no/such/folder/a.wav"], "folder does not exist"),
    "stdout twice": (["Hi.", "-o", "-", "--json"], "stdout"),
    "no time": (["Hi.", "--max-seconds", "0"], "--max-seconds"),
}


@pytest.mark.parametrize("case", BAD)
def test_say_bad_input_is_one_line(
    model: str, case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bad input: exit code 2, one clear line on stderr, no traceback, and nothing half-written."""
    monkeypatch.chdir(tmp_path)
    arguments, words = BAD[case]
    limit = [] if "--max-seconds" in arguments else ["--max-seconds", "0.6"]
    assert main(["say", *arguments, "--model", model, *limit]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len([line for line in lines if line.startswith("bark-stream: ") and "note:" not in line]) == 1
    assert words in lines[-1]
    assert list(tmp_path.iterdir()) == []


def test_say_unknown_model_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A model that is neither a name nor a folder is refused with what there is."""
    assert main(["say", "Hi.", "--model", "no-such-model"]) == 2
    assert "mini" in capsys.readouterr().err


def test_say_truncated_checkpoint_is_one_line(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A damaged model file is named, and no sound file appears."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "broken"
    save_checkpoint(random_checkpoint("tiny"), folder)
    weights = folder / "coarse.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    assert main(["say", "Hi.", "--model", str(folder)]) == 2
    assert "coarse.safetensors" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["broken"]
