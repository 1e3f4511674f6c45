"""Where a voice comes from, when it was cloned from a person's: who agreed, from which sound, when, by what.

Travels inside the voice's file as plain bytes, which other readers of such files pass over. Knows no voices.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, Literal

from bark_stream.errors import MissingConsent

VoiceOrigin = Literal["preset", "own", "cloned"]
"""`preset`: the model came with it; `own`: kept beside it, of unknown origin; `cloned`: from a person's."""
MAX_CONSENT_CHARACTERS = 2_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance:
    consent: str
    """Who agreed, and when; as it was given."""
    source_sha256: str
    """Of the sample's bytes."""
    source_s: float
    """Seconds of the sample that the voice is made of."""
    created_at: str
    """ISO 8601, UTC."""
    tool: str
    """Name and version of the program."""
    model: str
    """The model it was cloned for."""
    encoder: str
    """What named the semantic tokens."""
    tokens: str
    """Whose tokens they are: `bark` for all of Suno's models."""

    def __post_init__(self) -> None:
        if not self.consent.strip() or len(self.consent) > MAX_CONSENT_CHARACTERS:
            raise MissingConsent

    def to_bytes(self) -> bytes:
        """JSON in UTF-8."""
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False).encode("utf-8")

    @classmethod
    def from_bytes(cls, data: bytes) -> Provenance:
        """Raises: ValueError for anything but what `to_bytes` writes."""
        values: Any = json.loads(data.decode("utf-8"))
        kinds = {name: float if name == "source_s" else str for name in cls.__dataclass_fields__}
        if not isinstance(values, dict) or set(values) != set(kinds):
            raise ValueError("does not hold the fields of a provenance")
        if not all(isinstance(values[name], kind) for name, kind in kinds.items()):
            raise ValueError("a field has another type")
        try:
            return cls(**values)
        except MissingConsent as exc:
            raise ValueError("holds no consent") from exc

    def tags(self, voice: str) -> dict[str, str]:
        """Comment tags of a sound that is spoken with this voice."""
        return {
            "comment": f"Synthetic speech; voice {voice!r} was cloned from a person's, who agreed: {self.consent}",
            "encoded_by": self.tool,
            "voice_origin": "cloned",
        }
