"""Cloning over HTTP, for keys that may: a sample in, a voice that everybody here can speak with.

POST /v1/audio/voices           multipart: name, consent, audio_sample
DELETE /v1/audio/voices/NAME

Off unless the server was started with it. Names of files that clients send are not looked at.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from http import HTTPStatus

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from bark_server.access import is_known_key, offered_key
from bark_server.doors.api_error import ApiError
from bark_server.doors.door import Reception
from bark_server.doors.openai import admit, read_body
from bark_server.hub import Hub
from bark_server.speech import Studio
from bark_stream.errors import (
    BadAudio,
    BadVoiceName,
    BarkStreamError,
    MissingConsent,
    RequestError,
    UnknownVoice,
    VoiceExists,
)
from bark_stream.provenance import Provenance

SAMPLE_FIELDS = ("audio_sample", "file")
MAX_FIELDS = 8
MAX_FIELD_BYTES = 16_384
HOUR_S = 3600.0


def routes(reception: Reception) -> list[Route]:
    """None unless the configuration allows cloning."""
    if not reception.config.allow_cloning:
        return []
    api = _VoicesApi(reception)
    return [
        Route("/v1/audio/voices", api.clone, methods=["POST"]),
        Route("/v1/audio/voices/{name}", api.delete, methods=["DELETE"]),
    ]


class _VoicesApi:
    def __init__(self, reception: Reception) -> None:
        self._reception = reception
        self._cloned_at_s: deque[float] = deque()

    async def clone(self, request: Request) -> JSONResponse:
        hub, studio = self._admit(request)
        limits = hub.limits
        data = await read_body(request, max_bytes=limits.max_sample_bytes, timeout_s=limits.reader_idle_ms / 1000)
        name, consent, sample = await _read_form(request, data)
        self._count(hub, studio)
        try:
            origin = await asyncio.to_thread(studio.clone, sample, name=name, consent=consent)
        except BarkStreamError as error:
            raise _refusal(error) from error
        return JSONResponse(_voice(name, origin), HTTPStatus.CREATED)

    async def delete(self, request: Request) -> JSONResponse:
        _, studio = self._admit(request)
        name = request.path_params["name"]
        try:
            await asyncio.to_thread(studio.delete, name)
        except BarkStreamError as error:
            raise _refusal(error) from error
        return JSONResponse({"id": name, "object": "audio.voice", "deleted": True})

    def _admit(self, request: Request) -> tuple[Hub, Studio]:
        """Raises: ApiError for who may not speak, and 403 for who may, but not clone."""
        hub = admit(request, self._reception)
        key = offered_key(request.headers.get("Authorization"), ())
        if not is_known_key(key, self._reception.config.cloning_keys):
            raise ApiError(HTTPStatus.FORBIDDEN, "this key may not clone voices", code="cloning_not_allowed")
        studio = self._reception.studio()
        if studio is None:
            raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, "warming up", code="overloaded")
        return hub, studio

    def _count(self, hub: Hub, studio: Studio) -> None:
        """Refused samples count too: hearing them is the work. Raises: ApiError 429 or 507."""
        now_s, limits = hub.now(), hub.limits
        while self._cloned_at_s and now_s - self._cloned_at_s[0] >= HOUR_S:
            self._cloned_at_s.popleft()
        if len(self._cloned_at_s) >= limits.max_clones_per_hour:
            wait_ms = round((self._cloned_at_s[0] + HOUR_S - now_s) * 1000)
            message = f"at most {limits.max_clones_per_hour} samples are heard in an hour"
            raise ApiError(HTTPStatus.TOO_MANY_REQUESTS, message, code="rate_limited", retry_after_ms=wait_ms)
        if studio.num_voices >= limits.max_voices:
            message = f"at most {limits.max_voices} voices are kept; delete one"
            raise ApiError(HTTPStatus.INSUFFICIENT_STORAGE, message, code="too_many_voices")
        self._cloned_at_s.append(now_s)


async def _read_form(request: Request, data: bytes) -> tuple[str, str, bytes]:
    """Name, consent and sample. Raises: ApiError 400."""
    if not request.headers.get("Content-Type", "").startswith("multipart/form-data"):
        raise ApiError(HTTPStatus.BAD_REQUEST, "the body is no multipart/form-data", code="invalid_form")

    async def once() -> AsyncGenerator[bytes, None]:
        yield data

    parser = MultiPartParser(request.headers, once(), max_files=1, max_fields=MAX_FIELDS, max_part_size=MAX_FIELD_BYTES)
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError) as problem:
        raise ApiError(HTTPStatus.BAD_REQUEST, "the form cannot be read", code="invalid_form") from problem
    try:
        return _text(form, "name"), _text(form, "consent"), await _sample(form)
    finally:
        await form.close()


def _text(form: FormData, name: str) -> str:
    value = form.get(name)
    if not isinstance(value, str) or not value.strip():
        if name == "consent":
            raise _refusal(MissingConsent())
        raise ApiError(HTTPStatus.BAD_REQUEST, f"the field {name} is missing", code="missing_field", param=name)
    return value


async def _sample(form: FormData) -> bytes:
    for name in SAMPLE_FIELDS:
        value = form.get(name)
        if isinstance(value, UploadFile):
            return await value.read()
    param = SAMPLE_FIELDS[0]
    raise ApiError(HTTPStatus.BAD_REQUEST, f"the file {param} is missing", code="missing_field", param=param)


def _voice(name: str, origin: Provenance) -> dict[str, object]:
    return {
        "id": name,
        "object": "audio.voice",
        "name": name,
        "origin": "cloned",
        "created_at": origin.created_at,
        "sample_s": origin.source_s,
    }


_REFUSALS: tuple[tuple[type[RequestError], HTTPStatus, str], ...] = (
    (MissingConsent, HTTPStatus.BAD_REQUEST, "consent"),
    (BadAudio, HTTPStatus.BAD_REQUEST, SAMPLE_FIELDS[0]),
    (VoiceExists, HTTPStatus.CONFLICT, "name"),
    (BadVoiceName, HTTPStatus.BAD_REQUEST, "name"),
    (UnknownVoice, HTTPStatus.NOT_FOUND, "name"),
)


def _refusal(error: BarkStreamError) -> ApiError:
    """The caller's faults in their own words; ours, which may name a path, in none."""
    for kind, status, param in _REFUSALS:
        if isinstance(error, kind):
            message = f"no voice of that name is kept here: {param}" if kind is UnknownVoice else str(error)
            return ApiError(status, message, code=error.code, param=param)
    return ApiError(HTTPStatus.INTERNAL_SERVER_ERROR, "the voice could not be kept", code=error.code)
