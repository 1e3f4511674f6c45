"""One JSON object per line, and never what people say."""

from __future__ import annotations

import io
import json

from bark_server.logs import EventLog
from bark_server.notices import AudioSent, ContextOpened
from harness import Stage


def test_log_writes_one_object_per_event() -> None:
    """Time, event name, facts; bursts of audio are left out."""
    stream = io.StringIO()
    log = EventLog(stream, clock=lambda: 12.3456)
    log.write("listening", url="ws://h:1")
    log.observe("s1", ContextOpened(1, "opus"))
    log.observe("s1", AudioSent(1, 2, 3.0))
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert lines == [
        {"time": 12.346, "event": "listening", "url": "ws://h:1"},
        {"time": 12.346, "event": "context_opened", "session": "s1", "stream": 1, "audio_format": "opus"},
    ]


def test_log_never_holds_text_names_or_secrets(stage: Stage) -> None:
    """Through speaking, failing, cancelling and nonsense, no word of anybody and no session id is logged."""
    stream = io.StringIO()
    log, client = EventLog(stream), stage.connect()
    client.send("open", context="SECRETname", voice="alice")
    client.send("text", context="SECRETname", text="SECRETtext is unspeakable. SECRETtext can be spoken well. ")
    client.send("text", context="SECRETname", text=7)
    client.send("open", context="SECRETother", voice="SECRETvoice")
    stage.run(client, seconds=1)
    client.send("cancel", context="SECRETname")
    client.send_raw('{"SECRET')
    stage.run(client)
    assert len(stage.notices) > 5
    for notice in stage.notices:
        log.observe(client.session.label, notice)
    assert "SECRET" not in stream.getvalue()
    assert client.session.id not in stream.getvalue()
