"""The protocol's text messages: one struct each, read and written as JSON.

Reading checks every field; whatever is wrong becomes a `ClientError` with the protocol's code. Knows no session.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct

from bark_server.errors import ClientError
from bark_server.limits import MAX_BITRATE, MAX_LEAD_MS, MIN_BITRATE
from bark_stream.provenance import VoiceOrigin

PROTOCOL = "bark-stream.v1"

AudioFormat: TypeAlias = Literal["opus", "pcm_s16le"]
FORMATS: tuple[AudioFormat, ...] = ("opus", "pcm_s16le")
Name: TypeAlias = Annotated[str, Meta(min_length=1, max_length=64)]
Temperature: TypeAlias = Annotated[float, Meta(ge=0, le=10)]
Milliseconds: TypeAlias = Annotated[int, Meta(ge=0, le=2**40)]


class _Incoming(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    """What clients send."""


class Open(_Incoming, frozen=True, tag="open"):
    """Start a context."""

    context: Name
    voice: str | None = None
    """One of the server's voices; None for the model's own."""
    format: AudioFormat = "opus"
    bitrate: Annotated[int, Meta(ge=MIN_BITRATE, le=MAX_BITRATE)] | None = None
    """bit/s, Opus only."""
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    text_temperature: Temperature | None = None
    waveform_temperature: Temperature | None = None
    carry: Literal["voice", "last", "anchored"] | None = None
    """What a sentence remembers of the ones before."""
    max_lead_ms: Annotated[int, Meta(ge=0, le=MAX_LEAD_MS)] | None = None
    """How far audio is sent ahead of its playback; 0: as fast as it can."""
    visemes: bool = False
    """Mouth shapes are wanted, if the model can tell them."""


class Text(_Incoming, frozen=True, tag="text"):
    """More text of a context; opens it with defaults if there is none."""

    context: Name
    text: str


class Flush(_Incoming, frozen=True, tag="flush"):
    """Speak what is buffered, whether its sentence has ended or not."""

    context: Name


class Close(_Incoming, frozen=True, tag="close"):
    """No more text."""

    context: Name


class Cancel(_Incoming, frozen=True, tag="cancel"):
    """Stop at once."""

    context: Name
    played_ms: Milliseconds | None = None
    """What the listener has heard, in ms of the context's audio."""


class Played(_Incoming, frozen=True, tag="played"):
    """What the listener has heard so far."""

    context: Name
    played_ms: Milliseconds


class Resume(_Incoming, frozen=True, tag="resume"):
    """Go on with a session whose socket broke."""

    session: Annotated[str, Meta(max_length=128)]
    received: dict[str, Annotated[int, Meta(ge=-1, lt=2**32)]]
    """Context -> last sequence number that arrived, -1 for none."""
    frames: Annotated[int, Meta(ge=0)] | None = None
    """How many frames of the session arrived, text and audio, over all its sockets. With it no text comes twice."""


ClientMessage: TypeAlias = Open | Text | Flush | Close | Cancel | Played | Resume


class _Outgoing(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type"):
    """What the server sends; fields that are None stay away."""


class ContextProgress(Struct, frozen=True, kw_only=True):
    """What the server has got of a context, for a client that resumes."""

    text_characters: int
    closed: bool


class Ready(_Outgoing, frozen=True, tag="ready"):
    """First message on every socket."""

    protocol: str
    session: str
    resumed: bool
    model: str
    sample_rate: int
    """Hz."""
    voices: tuple[str, ...]
    formats: tuple[str, ...]
    limits: dict[str, int]
    contexts: dict[str, ContextProgress] | None = None
    """Only when resumed."""


class Opened(_Outgoing, frozen=True, tag="opened"):
    context: str
    stream: int
    """The number in this context's audio headers."""
    voice: str | None
    voice_origin: VoiceOrigin | None
    """`cloned`: a person's, who agreed."""
    format: AudioFormat
    sample_rate: int
    """Hz."""
    frame_ms: int
    pre_skip: int
    """Samples to drop from the start of the decoded audio (the encoder's delay)."""


class SentenceStarted(_Outgoing, frozen=True, tag="sentence"):
    """Before the first packet of a sentence."""

    context: str
    index: int
    text: str
    """The exact span of the input."""
    start_ms: int


class WordTime(Struct, frozen=True, kw_only=True):
    text: str
    start_ms: int
    """On the context's clock."""
    end_ms: int


class Words(_Outgoing, frozen=True, tag="words"):
    """Before the audio it describes."""

    context: str
    index: int
    words: tuple[WordTime, ...]
    estimated: bool


class Viseme(Struct, frozen=True, kw_only=True):
    shape: str
    """One of the fifteen of Oculus Lipsync: sil PP FF TH DD kk CH SS nn RR aa E ih oh ou."""
    start_ms: int
    """On the context's clock."""
    end_ms: int


class Visemes(_Outgoing, frozen=True, tag="visemes"):
    """Before the audio it describes, for contexts that asked, from models that can tell."""

    context: str
    index: int
    visemes: tuple[Viseme, ...]


class Done(_Outgoing, frozen=True, tag="done"):
    """After the last packet."""

    context: str
    audio_ms: int
    audio_samples: int
    """True length; the last packet is padded beyond it."""
    sentences: int
    ttfa_ms: int | None
    """From the text that completed the first sentence to its first packet; None when nothing was spoken."""
    rtf: float | None
    """Compute time / audio time."""


class Cancelled(_Outgoing, frozen=True, tag="cancelled"):
    """The last word on a context that was interrupted."""

    context: str
    audio_ms: int
    """What was sent."""
    played_ms: int
    spoken: str
    unspoken: str


class Error(_Outgoing, frozen=True, tag="error"):
    code: str
    message: str
    retryable: bool
    context: str | None = None
    retry_after_ms: int | None = None


class _Envelope(Struct, frozen=True):
    """As much of a bad message as can still be told."""

    context: str | None = None


_decoder = msgspec.json.Decoder(ClientMessage)
_envelopes = msgspec.json.Decoder(_Envelope)
_encoder = msgspec.json.Encoder()


def decode(data: bytes | str) -> ClientMessage:
    """Read one message. Raises: ClientError `bad_json`, `unknown_message` or `bad_field`, and nothing else."""
    try:
        message: ClientMessage = _decoder.decode(data)
    except msgspec.ValidationError as problem:
        raise _explain(str(problem), _context_of(data)) from problem
    except (ValueError, RecursionError) as problem:
        raise ClientError("bad_json", "not a JSON object in UTF-8") from problem
    return message


def encode(message: _Outgoing) -> str:
    """Write one message as a JSON object."""
    return _encoder.encode(message).decode()


def error_message(error: ClientError) -> Error:
    return Error(
        code=error.wire_code,
        message=error.message,
        retryable=error.is_retryable,
        context=error.context,
        retry_after_ms=error.retry_after_ms,
    )


def _explain(problem: str, context: str | None) -> ClientError:
    if problem.endswith("`$.type`") or "field `type`" in problem:
        return ClientError("unknown_message", f"no such message type: {problem}", context=context)
    if problem.startswith("Expected `object`") and " - at " not in problem:
        return ClientError("bad_json", "a message is a JSON object")
    return ClientError("bad_field", problem, context=context)


def _context_of(data: bytes | str) -> str | None:
    try:
        context = _envelopes.decode(data).context
    except (ValueError, RecursionError):
        return None
    return context if context is not None and len(context) <= 64 else None
