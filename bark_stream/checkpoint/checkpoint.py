"""A model as read from disk, whatever its format was: one shape that everything else is built from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from torch import Tensor

from bark_stream.config import ModelConfig
from bark_stream.voice_library import VoiceLibrary

StateDict: TypeAlias = Mapping[str, Tensor]
"""Tensors by name, float32."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    source: str
    """Where it came from, for messages."""
    config: ModelConfig
    semantic: StateDict
    """Suno's names, as are those of the next two."""
    coarse: StateDict
    fine: StateDict
    """Holds the embedding tables; the heads are tied to them and not stored."""
    codec: StateDict
    """encodec's names: `encoder.*`, `decoder.*`, `quantizer.*`."""
    tokenizer: str
    """A `tokenizers` tokenizer.json, as text."""
    voices: VoiceLibrary
    phones: tuple[str, ...] = ()
    """What each semantic token stands for; empty where tokens stand for no phones, as in Suno's models."""
    folder: Path | None = None
    """The folder of our own format that it was read from, where other files of the model may lie."""
