"""The protocol's text messages, `bark-stream.v1`: one struct each.

What the server sends is read leniently: fields and messages of later versions are passed over. Knows no socket.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec
from msgspec import Struct

from bark_client.errors import ProtocolViolation, ServerError, kind_of_code

PROTOCOL = "bark-stream.v1"
AudioFormat: TypeAlias = Literal["opus", "pcm_s16le"]
Carry: TypeAlias = Literal["voice", "last", "anchored"]


class _ToServer(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type"):
    """Fields left at None stay away: the server decides."""


class Open(_ToServer, frozen=True, kw_only=True, tag="open"):
    context: str
    voice: str | None = None
    format: AudioFormat | None = None
    bitrate: int | None = None
    seed: int | None = None
    text_temperature: float | None = None
    waveform_temperature: float | None = None
    carry: Carry | None = None
    max_lead_ms: int | None = None
    visemes: bool | None = None


class Text(_ToServer, frozen=True, kw_only=True, tag="text"):
    context: str
    text: str


class Flush(_ToServer, frozen=True, kw_only=True, tag="flush"):
    context: str


class Close(_ToServer, frozen=True, kw_only=True, tag="close"):
    context: str


class Cancel(_ToServer, frozen=True, kw_only=True, tag="cancel"):
    context: str
    played_ms: int | None = None


class Played(_ToServer, frozen=True, kw_only=True, tag="played"):
    context: str
    played_ms: int


class Resume(_ToServer, frozen=True, kw_only=True, tag="resume"):
    session: str
    received: dict[str, int]


ToServer: TypeAlias = Open | Text | Flush | Close | Cancel | Played | Resume


class _FromServer(Struct, frozen=True, kw_only=True, tag_field="type"):
    pass


class ContextProgress(Struct, frozen=True, kw_only=True):
    """What the server has got of a context that it goes on with."""

    text_characters: int
    closed: bool


class Ready(_FromServer, frozen=True, kw_only=True, tag="ready"):
    """First message on every socket: who the server is."""

    protocol: str
    session: str
    resumed: bool
    model: str
    sample_rate: int
    """Hz."""
    voices: tuple[str, ...]
    formats: tuple[str, ...]
    limits: dict[str, int | float]
    contexts: dict[str, ContextProgress] | None = None
    """After a resume."""


class Opened(_FromServer, frozen=True, kw_only=True, tag="opened"):
    context: str
    stream: int
    voice: str | None
    format: str
    sample_rate: int
    """Hz."""
    frame_ms: int
    pre_skip: int
    """Samples that an Opus decoder gives before the first of the audio."""
    voice_origin: str | None = None
    """`preset`, `own`, or `cloned`: a person's, who agreed."""


class Sentence(_FromServer, frozen=True, kw_only=True, tag="sentence"):
    """This sentence begins."""

    context: str
    index: int
    text: str
    """The exact span of what was sent."""
    start_ms: int


class Word(Struct, frozen=True, kw_only=True):
    text: str
    start_ms: int
    end_ms: int


class Words(_FromServer, frozen=True, kw_only=True, tag="words"):
    """When words of a sentence are heard."""

    context: str
    index: int
    words: tuple[Word, ...]
    estimated: bool = False


class Viseme(Struct, frozen=True, kw_only=True):
    """How a speaking face holds its mouth: one of sil PP FF TH DD kk CH SS nn RR aa E ih oh ou (Oculus Lipsync)."""

    shape: str
    start_ms: int
    end_ms: int


class Visemes(_FromServer, frozen=True, kw_only=True, tag="visemes"):
    """Mouth shapes of a stretch of audio, for contexts that asked, from models that can tell."""

    context: str
    index: int
    visemes: tuple[Viseme, ...]


class Done(_FromServer, frozen=True, kw_only=True, tag="done"):
    """Everything was spoken and sent."""

    context: str
    audio_ms: int
    sentences: int
    ttfa_ms: float | None = None
    """As the server measures it."""
    rtf: float | None = None
    audio_samples: int | None = None
    """Exact length; the last packet is padded beyond it."""


class Cancelled(_FromServer, frozen=True, kw_only=True, tag="cancelled"):
    """What an interruption left: `spoken + unspoken` is the text that was sent."""

    context: str
    audio_ms: int
    played_ms: int
    spoken: str
    unspoken: str


class Error(_FromServer, frozen=True, kw_only=True, tag="error"):
    code: str
    message: str
    context: str | None = None
    retryable: bool = False
    retry_after_ms: float | None = None

    def as_exception(self) -> ServerError:
        return kind_of_code(self.code)(
            self.code,
            self.message,
            context=self.context,
            is_retryable=self.retryable,
            retry_after_s=None if self.retry_after_ms is None else self.retry_after_ms / 1000,
        )


Caption: TypeAlias = Sentence | Words | Visemes
FromServer: TypeAlias = Ready | Opened | Sentence | Words | Visemes | Done | Cancelled | Error

_KNOWN_TYPES = frozenset({"ready", "opened", "sentence", "words", "visemes", "done", "cancelled", "error"})


class _Envelope(Struct, frozen=True):
    type: str


_decoder = msgspec.json.Decoder(FromServer)
_envelopes = msgspec.json.Decoder(_Envelope)
_encoder = msgspec.json.Encoder()


def encode(message: ToServer) -> str:
    return _encoder.encode(message).decode()


def decode(frame: str) -> FromServer | None:
    """Read what the server sent; None for a message of a later version. Raises: ProtocolViolation."""
    try:
        message: FromServer = _decoder.decode(frame)
    except msgspec.DecodeError as problem:
        if _type_of(frame) in _KNOWN_TYPES or not isinstance(problem, msgspec.ValidationError):
            raise ProtocolViolation(str(problem)) from problem
        return None
    return message


def _type_of(frame: str) -> str | None:
    """None when there is no such thing; that is a violation too, told apart by the caller."""
    try:
        return _envelopes.decode(frame).type
    except msgspec.DecodeError as problem:
        raise ProtocolViolation(str(problem)) from problem
