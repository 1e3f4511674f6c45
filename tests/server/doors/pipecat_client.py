"""Pipecat's own ElevenLabs service, unchanged, in a pipeline: speaks texts and prints what came out, as JSON.

Arguments: URL, API key, voice, and the texts. Runs where `pipecat-ai[elevenlabs]` is installed.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from loguru import logger
from pipecat.frames.frames import EndFrame, ErrorFrame, Frame, TTSAudioRawFrame, TTSSpeakFrame, TTSTextFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.runner import PipelineRunner
from pipecat.pipeline.task import PipelineParams, PipelineTask
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.elevenlabs.tts import ElevenLabsTTSService

RATE_HZ = 24_000


class Ear(FrameProcessor):
    """Counts sound, notes words and errors."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: dict[str, Any] = {"seconds": 0.0, "words": [], "errors": []}

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, TTSAudioRawFrame):
            self.heard["seconds"] += len(frame.audio) / 2 / RATE_HZ
        elif isinstance(frame, TTSTextFrame):
            self.heard["words"].append([frame.text, frame.pts])
        elif isinstance(frame, ErrorFrame):
            self.heard["errors"].append(str(frame.error))
        await self.push_frame(frame, direction)


async def _main(url: str, key: str, voice_id: str, *texts: str) -> None:
    logger.remove()
    settings = ElevenLabsTTSService.Settings(voice=voice_id)
    voice = ElevenLabsTTSService(url=url, api_key=key, settings=settings, sample_rate=RATE_HZ)
    ear = Ear()
    task = PipelineTask(
        Pipeline([voice, ear]), params=PipelineParams(audio_out_sample_rate=RATE_HZ), cancel_on_idle_timeout=False
    )
    await task.queue_frames([*(TTSSpeakFrame(text) for text in texts), EndFrame()])
    await PipelineRunner(handle_sigint=False).run(task)
    print(json.dumps(ear.heard))


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
