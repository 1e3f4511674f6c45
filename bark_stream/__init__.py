"""Bark that streams: text in any slices in, speech out while the rest is still being thought of.

`load(model)` gives a `Bark`; its `generate` returns a whole clip, its `stream` chunks. `generate_audio` has Suno's
signature. Names are resolved on first use, so that what needs no tensors can be imported without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_EXPORTS = {
    "SAMPLE_RATE": "bark_stream.suno_api",
    "Bark": "bark_stream.bark",
    "BarkStreamError": "bark_stream.errors",
    "ChunkPolicy": "bark_stream.config",
    "Engine": "bark_stream.engine",
    "SamplingConfig": "bark_stream.config",
    "SentenceStream": "bark_stream.sentences",
    "SpeechState": "bark_stream.state",
    "VoiceStore": "bark_stream.voice_store",
    "clone": "bark_stream.cloning.clone",
    "generate_audio": "bark_stream.suno_api",
    "load": "bark_stream.bark",
    "preload_models": "bark_stream.suno_api",
    "save_as_prompt": "bark_stream.suno_api",
}

__all__ = [
    "SAMPLE_RATE",
    "Bark",
    "BarkStreamError",
    "ChunkPolicy",
    "Engine",
    "SamplingConfig",
    "SentenceStream",
    "SpeechState",
    "VoiceStore",
    "__version__",
    "clone",
    "generate_audio",
    "load",
    "preload_models",
    "save_as_prompt",
]

if TYPE_CHECKING:
    from bark_stream.bark import Bark, load
    from bark_stream.cloning.clone import clone
    from bark_stream.config import ChunkPolicy, SamplingConfig
    from bark_stream.engine import Engine
    from bark_stream.errors import BarkStreamError
    from bark_stream.sentences import SentenceStream
    from bark_stream.state import SpeechState
    from bark_stream.suno_api import SAMPLE_RATE, generate_audio, preload_models, save_as_prompt
    from bark_stream.voice_store import VoiceStore


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_EXPORTS[name]), name)
