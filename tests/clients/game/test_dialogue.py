"""Characters that talk over one socket, against a real server and without a loudspeaker."""

from __future__ import annotations

import asyncio
import json
import re
import struct
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bark_client import BarkClient
from bark_server.app import BarkServer
from numpy.typing import NDArray
from websockets.sync.client import connect

GAME = Path(__file__).resolve().parents[3] / "clients" / "game"
RATE_HZ = 24_000
FRAME_SAMPLES = 480


@pytest.fixture(autouse=True)
def _module_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(GAME))


@pytest.fixture
async def scene(url: str) -> AsyncIterator[Any]:
    """Two may speak at once; audio comes as fast as it can, so that no clock is waited for."""
    from dialogue import Scene

    async with BarkClient(url) as client:
        yield Scene(client, max_voices=2, max_lead_ms=0)


async def _play(scene: Any, until: Callable[[], bool]) -> NDArray[np.float32]:
    """Frame after frame until something is so."""
    heard = []
    while not until():
        scene.update()
        heard.append(scene.mix(FRAME_SAMPLES))
        await asyncio.sleep(0.001)
    return np.concatenate(heard) if heard else np.zeros(0, dtype=np.float32)


async def test_a_line_is_heard_with_captions_and_a_moving_mouth(scene: Any) -> None:
    """Sound, the sentence that is being said, its words in order, and a mouth that opens and is closed at the end."""
    guard = scene.character("guard", voice="other")
    scene.say(guard, "Halt! Who goes there at this hour? Speak up, or I call the others.")
    captions, words, mouths = [], [], set()

    def observe() -> bool:
        captions.append(guard.caption)
        words.append(guard.utterance.word if guard.utterance else "")
        mouths.add(guard.mouth)
        return bool(scene.is_quiet)

    heard = await _play(scene, observe)
    assert np.abs(heard).max() > 0.05
    assert [caption for caption in dict.fromkeys(captions) if caption] == [
        "Halt! Who goes there at this hour?",
        "Speak up, or I call the others.",
    ]
    assert " ".join(word for word in dict.fromkeys(words) if word).startswith(
        "Halt! Who goes there at this hour? Speak"
    )
    assert mouths == {"sil", "aa"}
    assert guard.mouth == "sil"


async def test_no_more_than_may_speak_at_once(scene: Any) -> None:
    """The third waits until one of the others is done."""
    people = [scene.character(f"p{number}") for number in range(3)]
    for person in people:
        scene.say(person, "Good day to you.")
    most = 0

    def observe() -> bool:
        nonlocal most
        most = max(most, len(scene.speaking))
        return bool(scene.is_quiet)

    await _play(scene, observe)
    assert most == 2
    assert all(person.utterance is not None for person in people)


async def test_the_important_takes_the_place_of_the_less_important(scene: Any) -> None:
    """One gossip falls silent for the alarm, the other is quieter meanwhile; what was not heard is said afterwards."""
    gossips = [scene.character("bard"), scene.character("old man")]
    guard = scene.character("guard")
    for gossip in gossips:
        scene.say(gossip, "They say that the king is ill again, and that nobody knows why.")
    await _play(scene, lambda: all(g.utterance and g.utterance.heard_ms > 500 for g in gossips))
    first = [gossip.utterance for gossip in gossips]
    scene.say(guard, "Fire!", priority=1)
    await _play(scene, lambda: guard.is_speaking and guard.utterance.heard_ms > 0)
    assert sum(gossip.is_speaking for gossip in gossips) == 1
    await _play(scene, lambda: scene.is_quiet)
    again = [gossip for gossip, before in zip(gossips, first, strict=True) if gossip.utterance is not before]
    assert len(again) == 1
    assert again[0].utterance is not None
    assert "why." in again[0].utterance.line.text
    assert not again[0].utterance.line.text.startswith("They")


async def test_lines_of_one_speaker_keep_their_order(scene: Any) -> None:
    """Nobody speaks with two voices."""
    guard = scene.character("guard")
    scene.say(guard, "One.")
    scene.say(guard, "Two.")
    captions: list[str] = []

    def observe() -> bool:
        captions.append(guard.caption)
        return bool(scene.is_quiet)

    await _play(scene, observe)
    assert [caption for caption in dict.fromkeys(captions) if caption] == ["One.", "Two."]


async def test_the_player_interrupts(scene: Any) -> None:
    """Silence in the same frame; the answer says what was heard; lines that waited are forgotten."""
    keeper = scene.character("innkeeper")
    text = "Welcome, stranger! Sit down, and let me tell you what we have today."
    scene.say(keeper, text)
    scene.say(keeper, "And then there is the soup.")
    await _play(scene, lambda: keeper.is_speaking and keeper.utterance.heard_ms > 2_000)
    answering = asyncio.create_task(scene.interrupt(keeper))
    await asyncio.sleep(0)
    assert not scene.mix(FRAME_SAMPLES).any()
    answer = await answering
    assert answer.spoken + answer.unspoken == text
    assert answer.spoken.startswith("Welcome, stranger!")
    assert answer.unspoken
    assert scene.is_quiet
    assert await scene.interrupt(keeper) is None


async def test_a_line_that_cannot_be_said_ends(url: str) -> None:
    """A voice that the server does not know makes no sound and holds nobody up."""
    from dialogue import Scene

    async with BarkClient(url) as client:
        scene = Scene(client, max_lead_ms=0)
        ghost, guard = scene.character("ghost", voice="nobody"), scene.character("guard")
        scene.say(ghost, "Boo.")
        scene.say(guard, "Did you hear that?")
        heard = await _play(scene, lambda: bool(scene.is_quiet))
    assert np.abs(heard).max() > 0.05


async def test_tavern_runs_without_a_loudspeaker(serve: Any, tmp_path: Path) -> None:
    """The example plays to its end: everybody is heard, and the player interrupts."""
    async with serve() as server:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(GAME / "tavern.py"),
            f"ws://127.0.0.1:{server.port}",
            str(tmp_path / "tavern.wav"),
            stdout=asyncio.subprocess.PIPE,
        )
        output = (await process.communicate())[0].decode()
    assert process.returncode == 0
    assert all(name in output for name in ("Innkeeper", "Bard", "Old man", "Guard", "the player heard"))
    assert (tmp_path / "tavern.wav").stat().st_size > RATE_HZ


async def test_raw_recipe_speaks(server: BarkServer) -> None:
    """The recipe for engines with WebSockets and PCM, as it stands in the README."""
    (recipe,) = re.findall(r"```python\n(def speak.*?)```", (GAME / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, Any] = {"connect": connect, "json": json, "struct": struct}
    exec(compile(recipe, "README.md", "exec"), names)
    url = f"ws://127.0.0.1:{server.port}/v1/stream"
    blocks = await asyncio.to_thread(lambda: list(names["speak"](url, "Hello there.", voice="other")))
    assert {rate for _, rate in blocks} == {RATE_HZ}
    pcm = np.frombuffer(b"".join(block for block, _ in blocks), dtype="<i2")
    assert len(pcm) > RATE_HZ // 2
    assert np.abs(pcm).max() > 1_000
