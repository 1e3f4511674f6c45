"""What can go wrong for a client, one family.

    BarkStreamError
    └── BarkClientError
        ├── ConnectionFailed       no session with the server (url, reason)
        │   ├── Unauthorized       the key is missing or wrong
        │   └── ServerBusy         the server is full or going away (retry_after_s)
        ├── ConnectionLost         the socket broke and could not be brought back in time
        │   └── ResumeExpired      it came back too late: the server has given the session up
        ├── ProtocolViolation      the server sent what the contract does not allow
        ├── ServerError            the server refused or failed (server_code, context, is_retryable, retry_after_s)
        │   ├── RequestRejected    the request is at fault: another try fails the same way
        │   ├── Overloaded         too much at once: try again later
        │   ├── IdleTimeout        nothing was sent for too long
        │   └── GenerationFailed   a sentence could not be spoken
        ├── CodecUnavailable       libopus is missing
        └── OutputFailed           a file or loudspeaker that cannot be used

Facts are attributes; the text is `str(error)`.
"""

from __future__ import annotations

from bark_stream.errors import BarkStreamError


class BarkClientError(BarkStreamError):
    """Root of the client's errors."""

    code = "client"


class ConnectionFailed(BarkClientError):
    code = "connection_failed"

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(url, reason)
        self.url = url
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.url}: {self.reason}"


class Unauthorized(ConnectionFailed):
    code = "unauthorized"


class ServerBusy(ConnectionFailed):
    code = "server_busy"

    def __init__(self, url: str, reason: str, retry_after_s: float | None) -> None:
        super().__init__(url, reason)
        self.retry_after_s = retry_after_s


class ConnectionLost(BarkClientError):
    code = "connection_lost"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"the connection is gone: {self.reason}"


class ResumeExpired(ConnectionLost):
    code = "resume_expired"


class ProtocolViolation(BarkClientError):
    code = "protocol_violation"

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return f"the server broke the protocol: {self.problem}"


class ServerError(BarkClientError):
    code = "server_error"

    def __init__(
        self,
        server_code: str,
        message: str,
        *,
        context: str | None = None,
        is_retryable: bool = False,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(server_code, message)
        self.server_code = server_code
        self.message = message
        self.context = context
        self.is_retryable = is_retryable
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return f"{self.server_code}: {self.message}"


class RequestRejected(ServerError):
    code = "request_rejected"


class Overloaded(ServerError):
    code = "overloaded"


class IdleTimeout(ServerError):
    code = "idle_timeout"


class GenerationFailed(ServerError):
    code = "generation_failed"


class CodecUnavailable(BarkClientError):
    code = "codec_unavailable"

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.problem}; ask for format='pcm_s16le' to do without Opus"


class OutputFailed(BarkClientError):
    code = "output_failed"

    def __init__(self, target: str, problem: str) -> None:
        super().__init__(target, problem)
        self.target = target
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.target}: {self.problem}"


_KIND_OF_CODE: dict[str, type[ServerError]] = {
    "bad_json": RequestRejected,
    "unknown_message": RequestRejected,
    "bad_field": RequestRejected,
    "unknown_voice": RequestRejected,
    "unknown_context": RequestRejected,
    "context_exists": RequestRejected,
    "context_closed": RequestRejected,
    "text_too_long": RequestRejected,
    "too_many_contexts": Overloaded,
    "rate_limited": Overloaded,
    "overloaded": Overloaded,
    "idle_timeout": IdleTimeout,
    "generation_failed": GenerationFailed,
}


def kind_of_code(server_code: str) -> type[ServerError]:
    """The class for a code of the protocol; `ServerError` itself for `internal` and for codes of later versions."""
    return _KIND_OF_CODE.get(server_code, ServerError)
