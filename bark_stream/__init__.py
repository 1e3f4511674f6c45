"""Bark that streams: text in any slices in, speech out while the rest is still being thought of.

`load(model)` gives a `Bark`; its `generate` returns a whole clip, its `stream` chunks. `generate_audio` has Suno's
signature. Names are resolved on first use, so that what needs no tensors can be imported without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_EXPORTS = {
    "BarkStreamError": "bark_stream.errors",
    "ChunkPolicy": "bark_stream.config",
    "SamplingConfig": "bark_stream.config",
    "SentenceStream": "bark_stream.sentences",
}

__all__ = ["BarkStreamError", "ChunkPolicy", "SamplingConfig", "SentenceStream", "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_EXPORTS[name]), name)
