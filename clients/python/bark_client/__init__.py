"""Speak with a bark-stream server: text in as it is written, speech out as it is made.

    async with BarkClient("ws://127.0.0.1:8765") as client:
        async for block in client.speak("Good evening.").pcm(): ...

Knows the wire protocol (`clients/README.md`) and nothing of the model; needs no torch.
"""

from bark_client.backoff import Backoff
from bark_client.client import BarkClient
from bark_client.context import Context
from bark_client.errors import (
    BarkClientError,
    CodecUnavailable,
    ConnectionFailed,
    ConnectionLost,
    GenerationFailed,
    IdleTimeout,
    OutputFailed,
    Overloaded,
    ProtocolViolation,
    RequestRejected,
    ResumeExpired,
    ServerBusy,
    ServerError,
    Unauthorized,
)
from bark_client.messages import Cancelled, Done, Opened, Ready, Sentence, Viseme, Visemes, Word, Words
from bark_client.packet import Packet

__all__ = [
    "Backoff",
    "BarkClient",
    "BarkClientError",
    "Cancelled",
    "CodecUnavailable",
    "ConnectionFailed",
    "ConnectionLost",
    "Context",
    "Done",
    "GenerationFailed",
    "IdleTimeout",
    "Opened",
    "OutputFailed",
    "Overloaded",
    "Packet",
    "ProtocolViolation",
    "Ready",
    "RequestRejected",
    "ResumeExpired",
    "Sentence",
    "ServerBusy",
    "ServerError",
    "Unauthorized",
    "Viseme",
    "Visemes",
    "Word",
    "Words",
]
