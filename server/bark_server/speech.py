"""What the server asks of an engine. `bark_stream.engine.Engine` has this shape; so has `PreparedEngine`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from bark_stream.config import ChunkPolicy, SamplingConfig
from bark_stream.events import Event
from bark_stream.provenance import Provenance, VoiceOrigin
from bark_stream.sentences import Sentence


class SpeechStream(Protocol):
    """One speaker's turn. Every method may be called from any thread and returns at once."""

    @property
    def num_pending(self) -> int:
        """Sentences queued or running."""

    def say(self, sentence: Sentence) -> None:
        """Queue a sentence."""

    def report(self, *, played_samples: int | None = None, limit_samples: int | None = None) -> None:
        """Where the listener is, and the sample at or beyond which no chunk may start."""

    def cancel(self) -> None:
        """Drop what is queued and running at the next step."""

    def close(self) -> None:
        """Cancel, and give everything back."""


class StageTotals(Protocol):
    """One stage's work since the engine started; tokens / steps is the mean batch."""

    @property
    def num_tokens(self) -> int: ...
    @property
    def num_steps(self) -> int: ...
    @property
    def compute_s(self) -> float: ...


class EngineStats(Protocol):
    @property
    def num_streams(self) -> int: ...
    @property
    def num_running(self) -> int: ...
    @property
    def num_waiting(self) -> int: ...
    @property
    def stages(self) -> Mapping[str, StageTotals]: ...


class Engine(Protocol):
    @property
    def model_name(self) -> str: ...
    @property
    def sample_rate_hz(self) -> int: ...
    @property
    def voices(self) -> tuple[str, ...]: ...
    def voice_origin(self, voice: str) -> VoiceOrigin:
        """Raises: UnknownVoice, BadVoice."""

    @property
    def default_voice(self) -> str | None: ...
    @property
    def default_sampling(self) -> SamplingConfig: ...
    @property
    def num_slots(self) -> int: ...

    def open(
        self,
        *,
        on_event: Callable[[Event], None],
        voice: str | None = None,
        seed: int = 0,
        sampling: SamplingConfig | None = None,
        policy: ChunkPolicy | None = None,
    ) -> SpeechStream:
        """A new speaker; `on_event` is called in the engine's thread."""

    def stats(self) -> EngineStats: ...

    def close(self) -> None:
        """Stop and join the worker."""


class Studio(Protocol):
    """Where voices are cloned. Its methods take seconds, and may be called from any thread."""

    @property
    def num_voices(self) -> int:
        """That it keeps."""

    def clone(self, sample: bytes, *, name: str, consent: str) -> Provenance:
        """Make and keep a voice. Raises: BarkStreamError."""

    def delete(self, name: str) -> None:
        """Raises: UnknownVoice for a voice that it does not keep."""
