"""Every limit of the server, by name. What a client must know of them is in `ready.limits`."""

from __future__ import annotations

from dataclasses import dataclass, fields

from bark_stream.errors import ConfigError

PACKET_MS = 20
MAX_LEAD_MS = 600_000
MIN_BITRATE = 6_000
MAX_BITRATE = 256_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What one server, one socket and one context may take.

    Memory of a session is at most `replay_bytes` for what was sent, about `max_control_bytes` for answers not yet sent
    and, for each of `max_contexts_per_session`, `max_text_characters` of text, `max_buffer_ms` of float32 audio and one
    chunk; one sentence instead of the chunk where others waited for the engine's slot that it had.
    """

    max_connections: int = 512
    """Sockets; beyond it the upgrade is refused with 503."""
    max_contexts: int = 64
    """Contexts being spoken in the whole server; beyond it `overloaded`."""
    max_contexts_per_session: int = 32
    """Beyond it `too_many_contexts`."""
    max_text_characters: int = 50_000
    """Text of one context from first to last; beyond it `text_too_long`."""
    max_message_bytes: int = 65_536
    """A longer frame closes the socket with 1009."""
    max_body_bytes: int = 655_360
    """A longer HTTP request gets 413. Room for `max_text_characters`, each escaped twice."""
    max_sample_bytes: int = 8_388_608
    """A longer request with a sample to clone gets 413: fifteen seconds in the widest format, and video around it."""
    max_clones_per_hour: int = 30
    """Samples heard, taken or refused; beyond it 429."""
    max_voices: int = 1_000
    """Cloned voices that are kept; beyond it 507."""
    max_messages_per_s: int = 1_000
    """Lasting rate of one session's messages; twice as many may come at once. Beyond it `rate_limited`."""
    max_lead_ms: int = 2_000
    """How far audio is sent ahead of its playback unless the client says otherwise."""
    max_buffer_ms: int = 5_000
    """Audio made but not sent, per context, at which the engine pauses."""
    max_unacknowledged_bytes: int = 262_144
    """Sent but not known to have arrived; at which sending pauses, at the latest sixteen packets later."""
    replay_bytes: int = 524_288
    """What is kept for a client that resumes."""
    max_control_bytes: int = 65_536
    """Answers waiting to be sent; at which reading from the socket pauses."""
    resume_window_ms: int = 30_000
    """How long a session lives on without its socket; 0: not at all."""
    reader_idle_ms: int = 30_000
    """A client that acknowledges nothing for so long is closed with 1008."""
    context_idle_ms: int = 120_000
    """An open context without text or speech for so long gets `idle_timeout` and is closed as if by its client."""
    session_idle_ms: int = 600_000
    """A socket without contexts or messages for so long gets `idle_timeout` and 1008."""
    keepalive_ms: int = 20_000
    """A silent socket is pinged so often."""
    overload_ms: int = 2_000
    """For so long after the engine failed to keep up, new contexts are refused; 0: never for that reason."""
    max_first_audio_ms: int = 3_000
    """A sentence that waits longer for its first audio means that the engine does not keep up."""
    stall_ms: int = 30_000
    """Speech that makes no audio for so long turns `/readyz` to 503."""
    drain_ms: int = 30_000
    """How long a server that was told to stop goes on speaking what it has accepted."""

    def __post_init__(self) -> None:
        may_be_zero = {"resume_window_ms", "max_lead_ms", "overload_ms", "drain_ms"}
        for item in fields(self):
            value, least = getattr(self, item.name), 0 if item.name in may_be_zero else 1
            if value < least:
                raise ConfigError(item.name, f"must be at least {least}, not {value}")
        if self.max_lead_ms > MAX_LEAD_MS:
            raise ConfigError("max_lead_ms", f"must be at most {MAX_LEAD_MS}")
        if self.replay_bytes < self.max_unacknowledged_bytes:
            raise ConfigError("replay_bytes", "must not be below max_unacknowledged_bytes")

    def announced(self) -> dict[str, int]:
        """What `ready` tells."""
        names = (
            "max_contexts",
            "max_contexts_per_session",
            "max_text_characters",
            "max_message_bytes",
            "max_messages_per_s",
            "max_lead_ms",
            "resume_window_ms",
            "context_idle_ms",
            "session_idle_ms",
        )
        return {name: getattr(self, name) for name in names} | {
            "min_bitrate": MIN_BITRATE,
            "max_bitrate": MAX_BITRATE,
        }
