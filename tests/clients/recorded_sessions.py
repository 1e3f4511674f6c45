"""Recorded sessions as a client lives through them: what its user asks for, and what the server sends.

The files are `tests/sessions/*.jsonl`; what a client's user cannot ask for (unknown messages, text for nobody) is left
out, but the server's answers to it stay.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any, TypeAlias

from bark_client.errors import BarkClientError
from bark_client.messages import Cancelled, Done, Open, Opened, Sentence, Words
from bark_client.packet import Packet
from bark_client.session import ClientSession

FOLDER = Path(__file__).parents[1] / "sessions"
NAMES = sorted(path.stem for path in FOLDER.glob("*.jsonl"))
Line: TypeAlias = dict[str, Any]
Told: TypeAlias = list[Any]
"""What a user is told: the context's name, the kind, and the facts."""


def steps(name: str) -> list[Line]:
    """The lines, without those that no client would send; a context that text opens is opened before it."""
    result: list[Line] = []
    alive: set[str] = set()
    closed: set[str] = set()
    for line in (json.loads(line) for line in (FOLDER / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()):
        message = line.get("server", {})
        if message.get("type") in ("done", "cancelled"):
            alive.discard(message["context"])
            closed.discard(message["context"])
        if "client" in line:
            line = _ask(line["client"], alive, closed)
            if not line:
                continue
            if "opens" in line:
                result.append({"open": {"type": "open", "context": line["opens"]}})
        result.append(line)
        if message.get("code") == "unknown_voice":
            alive.discard(message["context"])
    return result


def _ask(message: Line, alive: set[str], closed: set[str]) -> Line:
    name, kind = message.get("context", ""), message["type"]
    if kind == "open" and name not in alive:
        alive.add(name)
        return {"open": message}
    if kind == "text" and "text" in message and name not in closed:
        line = {"ask": message} if name in alive else {"ask": message, "opens": name}
        alive.add(name)
        return line
    if kind in ("close", "flush", "cancel", "played") and name in alive and name not in closed:
        if kind == "close":
            closed.add(name)
        return {"ask": message}
    return {}


def python_tells(name: str) -> tuple[list[Told], list[Line]]:
    """Play a session to the Python client: what its user is told, and what it sends."""
    session, told, sent = ClientSession(), list[Told](), list[str]()
    is_new_socket, is_asked = True, False
    for step in steps(name):
        if "open" in step:
            session.open(Open(**{key: value for key, value in step["open"].items() if key != "type"}))
            sent += session.announce(step["open"]["context"])
            session.sent()
        elif "ask" in step:
            sent += _say(session, step["ask"])
        elif step.get("do") == "reconnect":
            is_new_socket, is_asked = True, False
        elif "audio" in step:
            told += _told(session.receive(base64.b64decode(step["audio"])))
        elif step.get("server", {}).get("type") == "ready" and is_new_socket and not is_asked:
            resume = session.resume_message()
            is_asked = resume is not None
            if resume is None:
                session.receive(json.dumps(step["server"]))
                is_new_socket = False
            else:
                sent.append(resume)
        elif step.get("server", {}).get("type") == "ready":
            [(_, ready)] = session.receive(json.dumps(step["server"]))
            frames, lost = session.restore(ready)  # type: ignore[arg-type]
            sent += frames
            told += _told(list(lost))
            is_new_socket = False
        elif "server" in step:
            told += _told(session.receive(json.dumps(step["server"])))
    return told, [json.loads(frame) for frame in sent]


def _say(session: ClientSession, message: Line) -> list[str]:
    name = message["context"]
    match message["type"]:
        case "text":
            return session.send_text(name, message["text"])
        case "flush":
            return session.flush(name)
        case "close":
            return session.close(name)
        case "cancel":
            return session.cancel(name, message["played_ms"])
        case _:
            return session.report_played(name, message["played_ms"])


def _told(events: list[Any]) -> list[Told]:
    told: list[Told] = []
    for name, event in events:
        match event:
            case Packet():
                for caption in event.captions:
                    match caption:
                        case Sentence():
                            told.append([name, "sentence", caption.text, caption.start_ms])
                        case Words():
                            told.append([name, "words", [word.text for word in caption.words]])
                told.append([name, "packet", event.sequence, event.timestamp, len(event.payload)])
            case Opened():
                told.append([name, "opened", event.stream])
            case Done():
                told.append([name, "done", event.audio_ms])
            case Cancelled():
                told.append([name, "cancelled", event.spoken, event.unspoken])
            case BarkClientError():
                told.append([name, "error", getattr(event, "server_code", event.code)])
    return told
