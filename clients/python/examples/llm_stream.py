"""Pipe a language model's tokens into speech while it is still writing, and interrupt it.

    python clients/python/examples/llm_stream.py ws://127.0.0.1:8765

`tokens` stands for any language model that streams: replace it with yours. What is remembered of the answer after the
interruption is what was heard, not what was written: that is what the model should see as its own last turn.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator

from bark_client import BarkClient, Sentence

ANSWER = (
    "Of course. The old lighthouse was built on the northern cliff, long before there was a road. "
    "Its keeper carried the oil up by hand, two hundred and twelve steps, every evening. "
    "One winter the harbour froze, and for three weeks no ship came in at all. "
)
SECONDS_PER_TOKEN = 0.03
INTERRUPT_AFTER_MS = 4_000


async def tokens(text: str) -> AsyncIterator[str]:
    """Word pieces, one after the other, as language models write."""
    for token in re.findall(r"\s*\S{1,4}", text):
        await asyncio.sleep(SECONDS_PER_TOKEN)
        yield token


async def main(url: str) -> None:
    async with BarkClient(url) as client:
        speech = client.speak(tokens(ANSWER))
        loop = asyncio.get_running_loop()
        began_s = None
        async for packet in speech:
            began_s = began_s or loop.time()  # a loudspeaker would begin here, with packet.payload or speech.pcm()
            for caption in packet.captions:
                if isinstance(caption, Sentence):
                    print(f"{caption.start_ms / 1000:6.2f} s  {caption.text.strip()}")
            played_ms = round(1000 * (loop.time() - began_s))
            if played_ms >= INTERRUPT_AFTER_MS:  # a voice activity detector would say so
                answer = await speech.cancel(played_ms)
                print(f"interrupted after {answer.played_ms / 1000:.2f} s")
                print(f"heard:    {answer.spoken.strip()}")
                print(f"unheard:  {answer.unspoken.strip()}")
        async for _packet in client.speak("All right. What would you like to know?"):
            pass


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:8765"))
