"""LiveKit's and Pipecat's own ElevenLabs plugins, pointed at our address.

They are heavier than all the rest together, so they live in an environment of their own: `BARK_STREAM_AGENTS_PYTHON` is
its interpreter, with `livekit-plugins-elevenlabs` and `pipecat-ai[elevenlabs]` installed.
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest
from bark_server.prepared import S_PER_CHARACTER

PYTHON = os.environ.get("BARK_STREAM_AGENTS_PYTHON")
TEXTS = ("Hello there, my good old friend. How are you?", "And again, it is me.")
SECONDS = [(len(TEXTS[0]) - 1) * S_PER_CHARACTER, len(TEXTS[1]) * S_PER_CHARACTER]

pytestmark = pytest.mark.skipif(
    PYTHON is None, reason="BARK_STREAM_AGENTS_PYTHON names no interpreter with the agent frameworks"
)


async def _run(script: str, *arguments: str) -> Any:
    process = await asyncio.create_subprocess_exec(
        str(PYTHON),
        "-W",
        "ignore",
        str(Path(__file__).parent / script),
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, errors = await asyncio.wait_for(process.communicate(), 90)
    assert process.returncode == 0, errors.decode()[-2_000:]
    return json.loads(out.splitlines()[-1])


async def test_livekit_hears_every_text_with_its_words(live: Any) -> None:
    """Two turns on one connection: all of the sound, and LiveKit's own word times in order."""
    server = await live.start(elevenlabs=True, api_keys=("sesame",), speed=4.0)
    heard = await _run("livekit_client.py", f"http://127.0.0.1:{server.port}/v1", "sesame", "prepared", *TEXTS)
    assert [turn["seconds"] for turn in heard] == pytest.approx(SECONDS, abs=0.02)
    for turn, text in zip(heard, TEXTS, strict=True):
        assert "".join(word for word, _, _ in turn["words"]).split() == text.split()
        starts = [start for _, start, _ in turn["words"]]
        assert starts == sorted(starts)
        assert 0.5 * turn["seconds"] < starts[-1] < turn["seconds"]


async def test_pipecat_hears_every_text_with_its_words(live: Any) -> None:
    """Two turns in a pipeline: all of the sound, no error, and Pipecat's own word times in order."""
    server = await live.start(elevenlabs=True, api_keys=("sesame",), speed=4.0)
    heard = await _run("pipecat_client.py", f"ws://127.0.0.1:{server.port}", "sesame", "prepared", *TEXTS)
    assert heard["errors"] == []
    assert heard["seconds"] == pytest.approx(sum(SECONDS), abs=0.02)
    assert [word for word, _ in heard["words"]] == " ".join(TEXTS).split()
    starts_s = [start / 1e9 for _, start in heard["words"]]
    assert starts_s == sorted(starts_s)
    last_of_first_s = starts_s[len(TEXTS[0].split()) - 1] - starts_s[0]
    assert 0.7 * SECONDS[0] < last_of_first_s < SECONDS[0]
