"""Recorded sessions: `tests/sessions/*.jsonl`, what a client sent and what it got, line by line.

    {"client": {...}}                      a message of the client
    {"server": {...}}                      a message of the server
    {"audio": "..."}                       a binary frame of the server, base64
    {"do": "engine", "steps": 3}           the engine makes three events (clients skip `do`)
    {"do": "wait", "seconds": 0.5}         the clock goes on
    {"do": "reconnect"}                    the socket breaks and a new one is opened

`python tests/server/recorded.py` plays the client's lines of every file to the server and writes down its answers anew.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from bark_server.frames import AudioFrame, pack
from harness import Client, Stage

FOLDER = Path(__file__).parents[1] / "sessions"
Line = dict[str, Any]


def read(path: Path) -> list[Line]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def play(lines: list[Line]) -> list[Line]:
    """The same lines with the server's answers as they are now."""
    stage = Stage(with_words=True)
    played: list[Line] = []
    client = stage.connect()
    played += _answers(client)
    for line in lines:
        if "server" in line or "audio" in line:
            continue
        played.append(line)
        if "client" in line:
            client.send_raw(json.dumps(line["client"]))
        elif line["do"] == "engine":
            for _ in range(line["steps"]):
                stage.engine.step()
        elif line["do"] == "wait":
            stage.now += line["seconds"]
        elif line["do"] == "reconnect":
            client.drop()
            client = stage.connect()
        played += _answers(client)
    return played


def _answers(client: Client) -> list[Line]:
    before = len(client.frames)
    client.pump()
    return [_line(frame) for frame in client.frames[before:]]


def _line(frame: dict[str, Any] | AudioFrame) -> Line:
    if isinstance(frame, dict):
        return {"server": frame}
    packed = pack(frame.stream, frame.sequence, frame.timestamp, frame.flags, frame.payload)
    return {"audio": base64.b64encode(packed).decode()}


def main() -> None:
    for path in sorted(FOLDER.glob("*.jsonl")):
        lines = [json.dumps(line, ensure_ascii=False, separators=(",", ":")) for line in play(read(path))]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
