"""A tavern: four people talk at once, a fight is more important than gossip, and the player talks over the innkeeper.

    python clients/game/tavern.py ws://127.0.0.1:8765 [tavern.wav]

Without a loudspeaker: what would be heard goes into a file, and what would be seen is printed.
"""

from __future__ import annotations

import asyncio
import sys
import wave

import numpy as np
from bark_client import BarkClient
from bark_client.opus import to_pcm_16
from dialogue import Character, Scene

FRAME_S = 0.02
INTERRUPT_AFTER_MS = 1_500
GOSSIP, TALK, DANGER = 0, 1, 2


async def play(scene: Scene, people: list[Character], rate_hz: int, *, until: float | None = None) -> list[bytes]:
    """Run frames until everybody is silent, or for `until` seconds of sound. Returns what was heard, 16-bit."""
    loop = asyncio.get_running_loop()
    heard: list[bytes] = []
    shown: dict[str, str] = {}
    begin_s = loop.time()
    while not scene.is_quiet and (until is None or len(heard) * FRAME_S < until):
        scene.update()
        pcm = scene.mix(round(rate_hz * FRAME_S))
        heard.append(to_pcm_16(pcm))
        for person in people:
            if person.caption and shown.get(person.name) != person.caption:
                shown[person.name] = person.caption
                print(f"{len(heard) * FRAME_S:6.2f} s  {person.name:10} {person.caption}")
        await asyncio.sleep(max(0.0, begin_s + len(heard) * FRAME_S - loop.time()))
    return heard


async def main(url: str, file: str) -> None:
    async with BarkClient(url) as client:
        voices = client.ready.voices or (None,)
        scene = Scene(client, max_voices=2)
        people = [
            scene.character(name, voice=voices[number % len(voices)])
            for number, name in enumerate(("Innkeeper", "Bard", "Old man", "Guard"))
        ]
        innkeeper, bard, old_man, guard = people
        rate_hz = client.ready.sample_rate
        scene.say(
            bard, "They say the king is ill again. I heard it from a sailor, and sailors never lie.", priority=GOSSIP
        )
        scene.say(old_man, "The king is always ill when the taxes are due.", priority=GOSSIP)
        scene.say(innkeeper, "Welcome, stranger! Sit down, and let me tell you what we have today.", priority=TALK)
        heard = await play(scene, people, rate_hz, until=INTERRUPT_AFTER_MS / 1000)
        answer = await scene.interrupt(innkeeper)  # the player has pressed a key
        if answer is not None:
            print(f"          the player heard {answer.spoken.strip()!r} and missed {answer.unspoken.strip()!r}")
        scene.say(guard, "Nobody leaves this house!", priority=DANGER)
        heard += await play(scene, people, rate_hz)
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate_hz)
        sound.writeframes(b"".join(heard))
    loudest = max((int(np.abs(np.frombuffer(block, "<i2")).max()) for block in heard), default=0)
    print(f"{file}: {len(heard) * FRAME_S:.1f} s, peak {loudest}")


if __name__ == "__main__":
    arguments = sys.argv[1:]
    asyncio.run(main(arguments[0] if arguments else "ws://127.0.0.1:8765", [*arguments[1:], "tavern.wav"][0]))
