"""Reading and writing of text messages."""

from __future__ import annotations

import json

import pytest
from bark_server.errors import ClientError
from bark_server.messages import Cancel, Close, Error, Flush, Open, Played, Resume, Text, decode, encode
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("wire", "message"),
    [
        ('{"type":"open","context":"a"}', Open(context="a")),
        ('{"type":"open","context":"a","format":"pcm_s16le","seed":7}', Open(context="a", format="pcm_s16le", seed=7)),
        ('{"type":"open","context":"a","text_temperature":0}', Open(context="a", text_temperature=0)),
        ('{"type":"text","context":"a","text":"h"}', Text(context="a", text="h")),
        ('{"type":"flush","context":"a"}', Flush(context="a")),
        ('{"type":"close","context":"a"}', Close(context="a")),
        ('{"type":"cancel","context":"a"}', Cancel(context="a")),
        ('{"type":"cancel","context":"a","played_ms":12}', Cancel(context="a", played_ms=12)),
        ('{"type":"played","context":"a","played_ms":12}', Played(context="a", played_ms=12)),
        ('{"type":"resume","session":"s","received":{"a":-1}}', Resume(session="s", received={"a": -1})),
    ],
)
def test_decode_of_each_message(wire: str, message: object) -> None:
    """Every message of the protocol is read, from text and from bytes."""
    assert decode(wire) == message
    assert decode(wire.encode()) == message


@pytest.mark.parametrize(
    ("wire", "code"),
    [
        ("", "bad_json"),
        ("{", "bad_json"),
        ("[]", "bad_json"),
        ("null", "bad_json"),
        ('"text"', "bad_json"),
        (b"\xff\xfe", "bad_json"),
        (b'{"type":"text","context":"a","text":"\xc3\x28"}', "bad_json"),
        ('{"type":"text","context":"a","text":"\\ud800"}', "bad_json"),
        ("[" * 20_000, "bad_json"),
        ('{"type":"text","context":' + "[" * 20_000, "bad_field"),
        ("{}", "unknown_message"),
        ('{"type":"sing","context":"a"}', "unknown_message"),
        ('{"type":7}', "unknown_message"),
        ('{"type":"text","context":"a"}', "bad_field"),
        ('{"type":"text","context":"a","text":7}', "bad_field"),
        ('{"type":"text","context":"a","text":"x","loud":true}', "bad_field"),
        ('{"type":"open","context":""}', "bad_field"),
        ('{"type":"open","context":"' + "x" * 65 + '"}', "bad_field"),
        ('{"type":"open","context":"a","format":"mp3"}', "bad_field"),
        ('{"type":"open","context":"a","bitrate":1}', "bad_field"),
        ('{"type":"open","context":"a","seed":-1}', "bad_field"),
        ('{"type":"open","context":"a","seed":' + "9" * 40 + "}", "bad_field"),
        ('{"type":"open","context":"a","text_temperature":1e999}', "bad_field"),
        ('{"type":"open","context":"a","text_temperature":-0.1}', "bad_field"),
        ('{"type":"open","context":"a","carry":"all"}', "bad_field"),
        ('{"type":"played","context":"a","played_ms":-1}', "bad_field"),
        ('{"type":"played","context":"a","played_ms":1.5}', "bad_field"),
        ('{"type":"resume","session":"s","received":{"a":-2}}', "bad_field"),
    ],
)
def test_decode_of_what_is_wrong(wire: str | bytes, code: str) -> None:
    """Whatever is wrong with a message has a code of the protocol."""
    with pytest.raises(ClientError) as caught:
        decode(wire)
    assert caught.value.wire_code == code


def test_decode_names_the_context_of_a_bad_message() -> None:
    """The error says which context the message was meant for, when that can be read."""
    with pytest.raises(ClientError) as caught:
        decode('{"type":"text","context":"npc","text":7}')
    assert caught.value.context == "npc"


def _code(data: bytes | str) -> str | None:
    """The code of the error that reading `data` brings, if it does."""
    try:
        decode(data)
    except ClientError as error:
        return error.wire_code
    return None


@given(st.binary(max_size=200))
def test_decode_of_any_bytes_raises_only_client_errors(data: bytes) -> None:
    """No bytes at all bring anything but a message or a ClientError."""
    assert _code(data) in {None, "bad_json", "unknown_message", "bad_field"}


_text = st.text('ab \n"\\é你\U0001f600\x00', max_size=8)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3),
    max_leaves=8,
)
_kinds = st.sampled_from(["open", "text", "flush", "close", "cancel", "played", "resume", "ready", ""])
_fields = st.sampled_from(
    ["context", "text", "played_ms", "voice", "format", "seed", "received", "session", "max_lead_ms", "carry"]
)


@given(_kinds, st.dictionaries(_fields, _json, max_size=6))
def test_decode_of_nearly_right_messages_raises_only_client_errors(kind: str, fields: dict[str, object]) -> None:
    """Right names with any values bring a message or a ClientError."""
    assert _code(json.dumps({"type": kind, **fields})) in {None, "bad_json", "unknown_message", "bad_field"}


def test_encode_leaves_out_what_is_not_there() -> None:
    """Optional fields without a value do not go over the wire; required ones always do, even if false."""
    wire = json.loads(encode(Error(code="bad_json", message="m", retryable=False)))
    assert wire == {"type": "error", "code": "bad_json", "message": "m", "retryable": False}
