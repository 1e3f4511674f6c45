"""What a client is told when a message cannot be obeyed.

BarkStreamError
└── ClientError        one `error` message; the code is one of the protocol's
"""

from __future__ import annotations

from bark_stream.errors import BarkStreamError

RETRYABLE_CODES = frozenset({"too_many_contexts", "rate_limited", "overloaded", "generation_failed", "internal"})


class ClientError(BarkStreamError):
    """Carries the fields of the `error` message."""

    def __init__(
        self, code: str, message: str, *, context: str | None = None, retry_after_ms: int | None = None
    ) -> None:
        super().__init__(code, message)
        self.wire_code = code
        self.message = message
        self.context = context
        self.retry_after_ms = retry_after_ms

    @property
    def is_retryable(self) -> bool:
        return self.wire_code in RETRYABLE_CODES

    def __str__(self) -> str:
        return f"{self.wire_code}: {self.message}"
