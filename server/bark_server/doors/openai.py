"""OpenAI's speech API: text in a request, the sound in its answer while it is still being spoken.

POST /v1/audio/speech    GET /v1/audio/voices    GET /v1/models    GET /v1/models/NAME
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bark_server.access import offered_key
from bark_server.doors.api_error import ApiError, of_refusal
from bark_server.doors.caller import CONTEXT
from bark_server.doors.door import Reception
from bark_server.doors.spoken_response import SpokenResponse, Wish
from bark_server.hub import Hub
from bark_server.messages import Open
from bark_server.services import Model
from bark_server.sound import AAC, FLAC, MAX_SPEED, MIN_SPEED, MP3, OGG_OPUS, PCM, WAV, SoundFormat

FORMATS: dict[str, SoundFormat] = {
    "mp3": MP3,
    "opus": OGG_OPUS,
    "aac": AAC,
    "flac": FLAC,
    "wav": WAV,
    "pcm": PCM,
}
VOICES = (
    "alloy",
    "ash",
    "ballad",
    "coral",
    "echo",
    "fable",
    "nova",
    "onyx",
    "sage",
    "shimmer",
    "verse",
    "marin",
    "cedar",
)
"""OpenAI's own. The first stands for the model's first English voice, and so on, round and round."""
MODELS = ("tts-1", "tts-1-hd", "gpt-4o-mini-tts")
"""OpenAI's own, later editions included: whatever is called so is spoken by the model that is here."""


class VoiceId(Struct, frozen=True):
    id: str


class SpeechBody(Struct, frozen=True, kw_only=True):
    """Of `POST /v1/audio/speech`. Fields that are not known are ignored, as newer clients send newer fields."""

    input: Annotated[str, Meta(min_length=1)]
    model: str
    voice: str | VoiceId | None = None
    instructions: str | None = None
    """Accepted; Bark takes its manner from its voice and its text."""
    response_format: Literal["mp3", "opus", "aac", "flac", "wav", "pcm"] = "mp3"
    speed: Annotated[float, Meta(ge=MIN_SPEED, le=MAX_SPEED)] = 1.0
    stream_format: Literal["audio", "sse"] = "audio"


_bodies = msgspec.json.Decoder(SpeechBody)


def routes(reception: Reception) -> list[Route]:
    api = _Api(reception)
    return [
        Route("/v1/audio/speech", api.speak, methods=["POST"]),
        Route("/v1/audio/voices", api.list_voices, methods=["GET"]),
        Route("/v1/models", api.list_models, methods=["GET"]),
        Route("/v1/models/{name}", api.show_model, methods=["GET"]),
    ]


class _Api:
    def __init__(self, reception: Reception) -> None:
        self._reception = reception

    async def speak(self, request: Request) -> Response:
        hub = admit(request, self._reception)
        limits = hub.limits
        data = await read_body(request, max_bytes=limits.max_body_bytes, timeout_s=limits.reader_idle_ms / 1000)
        body = _read(data)
        _check_model(body.model, hub.model)
        speech = Open(context=CONTEXT, voice=_voice(body, hub.model), format="pcm_s16le", max_lead_ms=0)
        wish = Wish(
            request=speech,
            text=body.input,
            sound=FORMATS[body.response_format],
            speed=body.speed,
            as_events=body.stream_format == "sse",
        )
        return SpokenResponse(hub, wish)

    async def list_voices(self, request: Request) -> Response:
        hub = admit(request, self._reception)
        return JSONResponse({"voices": [{"id": name, "name": name} for name in hub.model.voices]})

    async def list_models(self, request: Request) -> Response:
        hub = admit(request, self._reception)
        return JSONResponse({"object": "list", "data": [_model(hub.model.name)]})

    async def show_model(self, request: Request) -> Response:
        hub, name = admit(request, self._reception), request.path_params["name"]
        _check_model(name, hub.model)
        return JSONResponse(_model(name))


def admit(request: Request, reception: Reception) -> Hub:
    """Raises: ApiError 401, 403 or 503 for who may not speak."""
    headers = request.headers
    refusal = reception.refusal(
        key=offered_key(headers.get("Authorization"), ()), origin=headers.get("Origin"), host=headers.get("Host")
    )
    hub = reception.hub()
    if refusal is not None:
        raise of_refusal(refusal)
    if hub is None:
        raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, "warming up", code="overloaded")
    return hub


async def read_body(request: Request, *, max_bytes: int, timeout_s: float) -> bytes:
    """Raises: ApiError 413 for a longer body, 408 for one that does not come."""
    try:
        return await asyncio.wait_for(_read_up_to(request, max_bytes), timeout_s)
    except asyncio.TimeoutError as late:
        raise ApiError(HTTPStatus.REQUEST_TIMEOUT, "the request did not come", code="timeout") from late
    except ClientDisconnect as gone:
        raise ApiError(HTTPStatus.BAD_REQUEST, "the request broke off", code="incomplete_request") from gone


async def _read_up_to(request: Request, max_bytes: int) -> bytes:
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > max_bytes:
            message = f"a request has at most {max_bytes} bytes"
            raise ApiError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message, code="request_too_large")
    return bytes(data)


def _read(data: bytes) -> SpeechBody:
    """Raises: ApiError 400, with the field at fault."""
    try:
        return _bodies.decode(data)
    except msgspec.ValidationError as problem:
        param = _param(str(problem))
        raise ApiError(HTTPStatus.BAD_REQUEST, str(problem), code="invalid_value", param=param) from problem
    except (ValueError, RecursionError) as problem:
        raise ApiError(HTTPStatus.BAD_REQUEST, "the body is no JSON in UTF-8", code="invalid_json") from problem


def _param(problem: str) -> str | None:
    """The field that a message of the decoder names: "… - at `$.speed`", "… missing required field `model`"."""
    _, _, place = problem.rpartition("`$.")
    if not place and "field `" in problem:
        place = problem.rpartition("field `")[2]
    return place.partition("`")[0].partition(".")[0] or None


def _voice(body: SpeechBody, model: Model) -> str | None:
    """One of ours by its name, else one of ours for one of OpenAI's. What is neither is refused where it is opened."""
    name = body.voice.id if isinstance(body.voice, VoiceId) else body.voice
    if name is None or name in model.voices or name not in VOICES:
        return name
    english = [voice for voice in model.voices if "en_speaker" in voice] or model.voices
    return english[VOICES.index(name) % len(english)] if english else None


def _check_model(name: str, model: Model) -> None:
    if name != model.name and not name.startswith(MODELS):
        raise ApiError(HTTPStatus.NOT_FOUND, "there is no such model here", code="model_not_found", param="model")


def _model(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "bark-stream"}
