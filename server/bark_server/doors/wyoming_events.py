"""Wyoming's events on a stream: a line of JSON, more JSON, and a payload. Reading is bounded. Knows no speech."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from bark_server.errors import ClientError

Length = Annotated[int, Meta(ge=0)]


class _Header(Struct, frozen=True):
    type: str
    data: dict[str, Any] = {}
    data_length: Length | None = None
    payload_length: Length | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """What clients send carries no payload that matters here."""

    type: str
    data: dict[str, Any]


_headers = msgspec.json.Decoder(_Header)
_data = msgspec.json.Decoder(dict[str, Any])


async def read_event(reader: asyncio.StreamReader, *, max_bytes: int) -> Event | None:
    """The next event, None at the stream's end. `reader` must be limited to `max_bytes`, too.

    Raises: ClientError `bad_json` or `text_too_long`: what follows cannot be told from what was wrong.
    """
    try:
        line = await reader.readline()
        if not line:
            return None
        header = _headers.decode(line)
        num_bytes = (header.data_length or 0) + (header.payload_length or 0)
        if num_bytes > max_bytes:
            raise ClientError("text_too_long", f"an event has at most {max_bytes} bytes")
        more = _data.decode(await reader.readexactly(header.data_length)) if header.data_length else {}
        await reader.readexactly(header.payload_length or 0)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    except (ValueError, RecursionError) as problem:
        # A line that is too long is a ValueError, too.
        raise ClientError("bad_json", "not an event") from problem
    return Event(header.type, {**header.data, **more})


def encode_event(kind: str, data: dict[str, Any] | None = None, payload: bytes = b"") -> bytes:
    """One event as it goes over the wire."""
    header: dict[str, Any] = {"type": kind}
    body = b"" if not data else json.dumps(data, ensure_ascii=False).encode()
    if body:
        header["data_length"] = len(body)
    if payload:
        header["payload_length"] = len(payload)
    return json.dumps(header).encode() + b"\n" + body + payload
