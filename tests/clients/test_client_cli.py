"""`bark-client` and the example as programs, against the real server."""

from __future__ import annotations

import asyncio
import io
import os
import sys
import wave
from pathlib import Path

import av
import numpy as np
import pytest
from bark_client.outputs import PLAYERS
from prepared_server import tones

TEXT = "Good evening. How was your journey?"
EXAMPLE = Path(__file__).resolve().parents[2] / "clients" / "python" / "examples" / "llm_stream.py"


async def run(*arguments: str, given: bytes = b"", **environment: str) -> tuple[int, bytes, str]:
    """Exit code, standard output and standard error of `bark-client`."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "bark_client"),
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | environment,
    )
    output, errors = await process.communicate(given)
    assert process.returncode is not None
    return process.returncode, output, errors.decode()


def decoded(file: Path | io.BytesIO) -> np.ndarray:
    """[T] float32 at 48 kHz."""
    with av.open(file if isinstance(file, io.BytesIO) else str(file)) as container:
        frames = [frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)]
    return np.concatenate(frames)


async def test_say_into_ogg_keeps_every_sample(url: str, tmp_path: Path) -> None:
    """The file plays in any player, is exactly as long as the speech and sounds like it."""
    target = tmp_path / "speech.ogg"
    code, _, errors = await run("say", "--url", url, TEXT, "-o", str(target), "--captions")
    assert code == 0
    assert TEXT.split(". ")[0] in errors
    pcm = decoded(target)[::2]
    seconds = float(errors.splitlines()[-1].split()[0])
    assert abs(len(pcm) / 24_000 - seconds) < 0.01
    assert np.corrcoef(pcm, tones()[: len(pcm)])[0, 1] > 0.98
    assert list(tmp_path.iterdir()) == [target]


async def test_say_into_wav_has_the_exact_length(url: str, tmp_path: Path) -> None:
    """A WAV file holds the engine's samples, without the last packet's padding."""
    target = tmp_path / "speech.wav"
    code, _, _ = await run("say", "--url", url, TEXT, "-o", str(target))
    assert code == 0
    with wave.open(str(target)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (24_000, 1, 2)
        pcm = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2") / 32768
    assert len(pcm) % 480  # no whole number of packets
    np.testing.assert_allclose(pcm, tones()[: len(pcm)], atol=2 / 32768)


async def test_say_standard_input_to_standard_output(url: str) -> None:
    """`-` reads what is piped in, and `-o -` pipes on."""
    code, output, _ = await run("say", "--url", url, "-", "-o", "-", given=TEXT.encode())
    assert code == 0
    assert len(decoded(io.BytesIO(output))) > 48_000


async def test_say_play_feeds_the_first_player_found(url: str, tmp_path: Path) -> None:
    """A player gets the whole speech as raw PCM on its standard input."""
    heard = tmp_path / "heard.raw"
    player = tmp_path / "aplay"
    player.write_text(f"#!/bin/sh\nexec /bin/cat > {heard}\n")
    player.chmod(0o755)
    code, _, errors = await run("say", "--url", url, TEXT, "--play", PATH=str(tmp_path))
    assert code == 0, errors
    pcm = np.frombuffer(heard.read_bytes(), dtype="<i2") / 32768
    assert len(pcm) > 24_000
    assert np.corrcoef(pcm, np.resize(tones(), len(pcm)))[0, 1] > 0.9


async def test_say_play_without_a_player_names_those_it_knows(url: str, tmp_path: Path) -> None:
    """Nothing to play with: the message says what to install."""
    code, _, errors = await run("say", "--url", url, TEXT, "--play", PATH=str(tmp_path))
    assert code == 1
    assert all(name in errors for name in PLAYERS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("say", TEXT, "-o", "speech.mp3"), "must end in .ogg, .opus or .wav"),
        (("say", TEXT, "-o", "no/such/folder/speech.ogg"), "No such file"),
        (("say", TEXT, "-o", "speech.ogg", "--voice", "nobody"), "no voice of that name"),
        (("say", " ", "-o", "speech.ogg"), "nothing to say"),
        (("say", TEXT, "-o", "speech.ogg", "--url", "ws://127.0.0.1:1"), "ws://127.0.0.1:1"),
    ],
)
async def test_say_what_cannot_be_done_fails_in_one_line(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    """Exit code 1, one line that says why, and no file left behind."""
    monkeypatch.chdir(tmp_path)
    address = () if "--url" in arguments else ("--url", url)
    code, _, errors = await run(*arguments, *address)
    assert code == 1
    assert message in errors
    assert len(errors.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


async def test_voices_lists_what_the_server_has(url: str) -> None:
    """One voice a line."""
    code, output, _ = await run("voices", "--url", url)
    assert (code, output.decode().split()) == (0, ["prepared", "other"])


async def test_example_interrupts_and_tells_what_was_heard(url: str) -> None:
    """The example runs as it is printed; heard and unheard are the whole answer."""
    source = EXAMPLE.read_text().replace("INTERRUPT_AFTER_MS = 4_000", "INTERRUPT_AFTER_MS = 800")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", source, url, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    lines = dict(line.split(":", 1) for line in output.decode().splitlines() if line.startswith(("heard:", "unheard:")))
    assert lines["heard"].strip().startswith("Of course.")
    assert lines["unheard"].strip()
