"""LiveKit's own ElevenLabs plugin, unchanged: speaks texts one after the other and prints what it heard, as JSON.

Arguments: base URL, API key, voice, and the texts. Runs where `livekit-plugins-elevenlabs` is installed.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import aiohttp
from livekit.plugins import elevenlabs


async def _speak(voice: elevenlabs.TTS, text: str) -> dict[str, Any]:
    samples, words = 0, []
    stream = voice.stream()
    for token in text.split(" "):
        stream.push_text(f"{token} ")
    stream.end_input()
    async for audio in stream:
        samples += audio.frame.samples_per_channel
        for word in audio.frame.userdata.get("lk.timed_transcripts", []):
            words.append([str(word), word.start_time, word.end_time])
    await stream.aclose()
    return {"seconds": samples / voice.sample_rate, "words": words}


async def _main(base_url: str, key: str, voice_id: str, *texts: str) -> None:
    async with aiohttp.ClientSession() as session:
        voice = elevenlabs.TTS(
            base_url=base_url, api_key=key, voice_id=voice_id, encoding="pcm_24000", http_session=session
        )
        heard = [await _speak(voice, text) for text in texts]
        await voice.aclose()
    print(json.dumps(heard))


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
