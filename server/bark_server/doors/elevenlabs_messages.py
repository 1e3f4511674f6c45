"""What ElevenLabs' WebSocket protocol says, one struct per message. Knows no session."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec
from msgspec import Meta, Struct

from bark_server.errors import ClientError
from bark_server.messages import Name
from bark_server.sound import ALAW, MAX_SPEED, MIN_SPEED, MP3, OGG_OPUS, PCM, ULAW, SoundFormat

_PREFIX = "/v1/text-to-speech/"
DEFAULT_FORMAT = "mp3_44100_128"
FORMATS: dict[str, SoundFormat] = {
    **{f"pcm_{rate}": PCM.at(rate) for rate in (8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)},
    "mp3_22050_32": MP3.at(22_050, 32_000),
    "mp3_24000_48": MP3.at(24_000, 48_000),
    **{f"mp3_44100_{kbits}": MP3.at(44_100, kbits * 1_000) for kbits in (32, 64, 96, 128, 192)},
    **{f"opus_48000_{kbits}": OGG_OPUS.at(48_000, kbits * 1_000) for kbits in (32, 64, 96, 128, 192)},
    "ulaw_8000": ULAW,
    "alaw_8000": ALAW,
}


class Query(Struct, frozen=True, kw_only=True):
    """Of the request. What steers the original's buffering is accepted and has no effect."""

    output_format: Annotated[str, Meta(max_length=32)] = DEFAULT_FORMAT
    auto_mode: bool = False
    """Each text is a whole sentence or phrase: speak it at once."""
    sync_alignment: bool = False
    """Times count from the context's start, not from each message's."""
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0


class Request(Struct, frozen=True, kw_only=True):
    voice: str
    has_contexts: bool
    """`multi-stream-input`."""
    query: Query


class VoiceSettings(Struct, frozen=True, kw_only=True):
    """Bark takes its manner from its voice; only the tempo can be set."""

    speed: Annotated[float, Meta(ge=MIN_SPEED, le=MAX_SPEED)] | None = None


class Said(Struct, frozen=True, kw_only=True):
    """Any message of a client. Fields that are not known are ignored."""

    text: str | None = None
    context_id: Name | None = None
    flush: bool = False
    close_context: bool = False
    close_socket: bool = False
    voice_settings: VoiceSettings | None = None


class Alignment(Struct, frozen=True, kw_only=True, rename="camel"):
    chars: list[str]
    char_start_times_ms: list[int]
    char_durations_ms: list[int]


class Heard(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A piece of sound; or, with `is_final`, a context's end."""

    audio: str | None = None
    """Base64."""
    alignment: Alignment | None = None
    normalized_alignment: Alignment | None = None
    is_final: Literal[True] | None = None
    context_id: str | None = None


class Failed(Struct, frozen=True, kw_only=True, rename={"context_id": "contextId"}, omit_defaults=True):
    """One context, or one message, came to nothing; the socket stays."""

    error: str
    message: str
    code: int
    """As a WebSocket close code."""
    context_id: str | None = None


_said = msgspec.json.Decoder(Said)
_encoder = msgspec.json.Encoder()


def read_target(target: str) -> Request | None:
    """Path and query; None for a path that is not this protocol's. Raises: ClientError `bad_field`."""
    parts = urlsplit(target)
    voice, _, kind = parts.path.removeprefix(_PREFIX).rpartition("/")
    if not parts.path.startswith(_PREFIX) or not voice or kind not in ("stream-input", "multi-stream-input"):
        return None
    values = {name: value[-1] for name, value in parse_qs(parts.query).items()}
    try:
        query = msgspec.convert(values, Query, strict=False)
    except msgspec.ValidationError as problem:
        raise ClientError("bad_field", str(problem)) from problem
    if query.output_format not in FORMATS:
        raise ClientError("bad_field", f"output_format must be one of {', '.join(FORMATS)}")
    return Request(voice=unquote(voice), has_contexts=kind == "multi-stream-input", query=query)


def read_said(data: bytes | str) -> Said:
    """Raises: ClientError `bad_json` or `bad_field`."""
    try:
        return _said.decode(data)
    except msgspec.ValidationError as problem:
        raise ClientError("bad_field", str(problem)) from problem
    except (ValueError, RecursionError) as problem:
        raise ClientError("bad_json", "not a JSON object in UTF-8") from problem


def write(message: Heard | Failed) -> str:
    return _encoder.encode(message).decode()
