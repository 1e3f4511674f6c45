"""The server still answers recorded sessions as it did when they were recorded."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from bark_server.frames import HEADER_BYTES
from recorded import FOLDER, Line, play, read


def _comparable(line: Line) -> Line:
    """Packets differ from one libopus to the next; their headers do not."""
    return {"audio": base64.b64decode(line["audio"])[:HEADER_BYTES]} if "audio" in line else line


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.jsonl")), ids=lambda path: path.stem)
def test_recorded_session_is_answered_as_before(path: Path) -> None:
    """Same messages of the client, same clock: the same answers, in the same order."""
    recorded = read(path)
    assert [_comparable(line) for line in play(recorded)] == [_comparable(line) for line in recorded]
