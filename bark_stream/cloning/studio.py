"""Cloning as a service: one model's ears, opened once, and the store that its voices go to.

May be called from any thread; one sample is heard at a time.
"""

from __future__ import annotations

import threading

from bark_stream.checkpoint import Checkpoint
from bark_stream.cloning.clone import clone, encoder_of
from bark_stream.cloning.encoder import SemanticTokenizer
from bark_stream.errors import VoiceExists
from bark_stream.provenance import Provenance
from bark_stream.voice_store import VoiceStore, check_voice_name


class Studio:
    def __init__(self, checkpoint: Checkpoint, store: VoiceStore, encoder: SemanticTokenizer | None = None) -> None:
        """Args: encoder: the model's own, or HuBERT, without it.

        Raises: CheckpointError, ConfigError or DownloadError if nothing can name the model's tokens.
        """
        self._checkpoint = checkpoint
        self._store = store
        self._encoder = encoder or encoder_of(checkpoint)
        self._lock = threading.Lock()

    @property
    def num_voices(self) -> int:
        """In the store."""
        return len(self._store.names())

    def clone(self, sample: bytes, *, name: str, consent: str) -> Provenance:
        """Make and keep a voice. Raises: as `bark_stream.clone`; BadVoiceName, VoiceExists, OutputError."""
        check_voice_name(name)
        with self._lock:
            if self._checkpoint.voices.is_of_model(name) or name in self._store:
                raise VoiceExists(name)
            voice = clone(sample, name=name, consent=consent, model=self._checkpoint, encoder=self._encoder)
            self._store.save(voice)
        assert voice.provenance is not None
        return voice.provenance

    def delete(self, name: str) -> None:
        """Raises: UnknownVoice, also for a voice of the model; OutputError."""
        with self._lock:
            self._store.delete(name)
