"""What an HTTP client is told when it cannot have what it asked for, in the shape that OpenAI's clients read.

BarkStreamError
└── ApiError           one response: {"error": {"message", "type", "param", "code"}}
"""

from __future__ import annotations

from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from bark_server.doors.door import Refusal
from bark_server.errors import ClientError
from bark_stream.errors import BarkStreamError

_STATUS_OF_CODE = {
    "bad_field": HTTPStatus.BAD_REQUEST,
    "text_too_long": HTTPStatus.BAD_REQUEST,
    "unknown_voice": HTTPStatus.BAD_REQUEST,
    "overloaded": HTTPStatus.SERVICE_UNAVAILABLE,
    "rate_limited": HTTPStatus.TOO_MANY_REQUESTS,
}
_CODE_OF_STATUS = {
    HTTPStatus.UNAUTHORIZED: "invalid_api_key",
    HTTPStatus.FORBIDDEN: "forbidden",
    HTTPStatus.NOT_FOUND: "not_found",
    HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed",
    HTTPStatus.SERVICE_UNAVAILABLE: "overloaded",
}
_PARAM_OF_CODE = {"unknown_voice": "voice", "text_too_long": "input"}


class ApiError(BarkStreamError):
    """`param`: the field at fault, if one is."""

    def __init__(
        self,
        status: HTTPStatus,
        message: str,
        *,
        code: str,
        param: str | None = None,
        retry_after_ms: int | None = None,
    ) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message
        self.error_code = code
        self.param = param
        self.retry_after_ms = retry_after_ms

    def __str__(self) -> str:
        return f"{self.status.value} {self.error_code}: {self.message}"

    @property
    def kind(self) -> str:
        """OpenAI's word for it."""
        if self.status is HTTPStatus.UNAUTHORIZED:
            return "authentication_error"
        if self.status is HTTPStatus.TOO_MANY_REQUESTS:
            return "rate_limit_error"
        return "invalid_request_error" if self.status < HTTPStatus.INTERNAL_SERVER_ERROR else "server_error"

    @property
    def body(self) -> dict[str, object]:
        error = {"message": self.message, "type": self.kind, "param": self.param, "code": self.error_code}
        return {"error": error}

    def response(self) -> JSONResponse:
        headers = {}
        if self.status is HTTPStatus.UNAUTHORIZED:
            headers["WWW-Authenticate"] = "Bearer"
        if self.retry_after_ms is not None:
            headers["Retry-After"] = str(-(-self.retry_after_ms // 1000))
            headers["Retry-After-Ms"] = str(self.retry_after_ms)
        return JSONResponse(self.body, self.status.value, headers)


def of_client_error(error: ClientError) -> ApiError:
    """The protocol's error as HTTP says it."""
    return ApiError(
        _STATUS_OF_CODE.get(error.wire_code, HTTPStatus.INTERNAL_SERVER_ERROR),
        error.message,
        code=error.wire_code,
        param=_PARAM_OF_CODE.get(error.wire_code),
        retry_after_ms=error.retry_after_ms,
    )


def of_refusal(refusal: Refusal) -> ApiError:
    retry_ms = None if refusal.retry_after_s is None else refusal.retry_after_s * 1000
    return ApiError(refusal.status, refusal.reason, code=_CODE_OF_STATUS[refusal.status], retry_after_ms=retry_ms)


async def answer_api_error(request: Request, error: Exception) -> JSONResponse:
    """Starlette's handler of our errors."""
    if not isinstance(error, ApiError):
        raise error
    return error.response()


async def answer_http_error(request: Request, error: Exception) -> JSONResponse:
    """Starlette's handler of its own errors: no such path, no such method."""
    if not isinstance(error, HTTPException):
        raise error
    status = HTTPStatus(error.status_code)
    response = ApiError(status, error.detail, code=_CODE_OF_STATUS.get(status, "bad_request")).response()
    response.headers.update(error.headers or {})
    return response
