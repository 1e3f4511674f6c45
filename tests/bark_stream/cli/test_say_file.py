"""`bark-stream say -f`: a dialogue into one file, and one clear line for what cannot go together."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from bark_stream.audio_file import read_audio
from bark_stream.checkpoint import random_checkpoint, save_checkpoint
from bark_stream.cli import main
from bark_stream.long_form.workspace import STATE

PARAGRAPH = "One sentence is here.\n\n"
MIB = 1 << 20


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


def read_in_a_process(model: str, script: Path, target: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "bark_stream", "say", "-f", str(script), "-o", str(target), "--model", model]
    return subprocess.Popen([*command, "--captions", "srt"], stderr=subprocess.DEVNULL)


def kill_after(process: subprocess.Popen[bytes], part: Path, num_sentences: int) -> None:
    """SIGKILL as soon as so many sentences are done."""
    while process.poll() is None:
        if num_done(part) >= num_sentences:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.01)
    assert process.wait() == -signal.SIGKILL


def num_done(part: Path) -> int:
    """Sentences of a job that is still running."""
    if not (part / STATE).exists():
        return 0
    with np.load(part / STATE) as arrays:
        num_sentences: int = json.loads(arrays["done"].tobytes())["num_sentences"]
    return num_sentences


@pytest.mark.slow
def test_say_file_killed_twice_ends_as_if_it_had_not_been(model: str, tmp_path: Path) -> None:
    """`kill -9` in the middle, twice: nothing appears at the output until it is whole, and then it is the same file."""
    script = tmp_path / "book.txt"
    script.write_text(PARAGRAPH * 4)
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    assert read_in_a_process(model, script, tmp_path / "whole" / "book.ogg").wait() == 0
    target = tmp_path / "killed" / "book.ogg"
    part = target.with_name("book.ogg.part")
    for num_sentences in (1, 3):
        kill_after(read_in_a_process(model, script, target), part, num_sentences)
        assert [path.name for path in target.parent.iterdir()] == [part.name]
    assert read_in_a_process(model, script, target).wait() == 0
    for name in ("book.ogg", "book.srt"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "killed" / name).read_bytes()
    assert not part.exists()


@pytest.mark.slow
def test_say_file_of_many_chapters_takes_no_more_memory(model: str, tmp_path: Path) -> None:
    """Peak memory of eight times as long a text is hardly higher."""
    peaks = []
    for num_paragraphs in (4, 32):
        script = tmp_path / f"{num_paragraphs}.txt"
        script.write_text(PARAGRAPH * num_paragraphs)
        process = read_in_a_process(model, script, tmp_path / f"{num_paragraphs}.ogg")
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        peaks.append(usage.ru_maxrss * 1024)
    assert peaks[1] - peaks[0] < 24 * MIB, [peak // MIB for peak in peaks]
