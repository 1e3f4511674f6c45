"""Plain GETs on the server's port: the browser client, health, readiness, metrics, voices. Knows no sessions."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import msgspec
from websockets.datastructures import Headers
from websockets.http11 import Response

from bark_server import metrics
from bark_stream.errors import ConfigError

_CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
PRIVATE_PATHS = frozenset({"/metrics", "/v1/voices"})
"""What tells about the work is for those with a key, when there are keys. The page and health checks are not."""


@dataclass(frozen=True, slots=True)
class Asset:
    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Voices:
    """Body of `/v1/voices`."""

    model: str
    default: str | None
    voices: tuple[str, ...]


def respond(status: HTTPStatus, body: bytes, content_type: str = "text/plain; charset=utf-8", **more: str) -> Response:
    """A whole response; `more` are headers, with `_` for `-`."""
    headers = Headers()
    headers["Content-Type"] = content_type
    headers["Content-Length"] = str(len(body))
    headers["Connection"] = "close"
    headers["Cache-Control"] = "no-cache"
    headers["X-Content-Type-Options"] = "nosniff"
    for name, value in more.items():
        headers[name.replace("_", "-")] = value
    return Response(status.value, status.phrase, headers, body)


def refuse(status: HTTPStatus, reason: str, **more: str) -> Response:
    return respond(status, f"{reason}\n".encode(), **more)


def browser_dir(configured: Path | None) -> Path | None:
    """Where the browser client lies: as configured, else as installed, else beside a checkout's server."""
    if configured is not None:
        if not (configured / "index.html").is_file():
            raise ConfigError("browser_dir", f"{configured} holds no index.html")
        return configured
    package = importlib.util.find_spec("bark_browser")
    candidates = [Path(folder) for folder in (package.submodule_search_locations or [])] if package else []
    candidates.append(Path(__file__).resolve().parents[2] / "clients" / "browser" / "bark_browser")
    return next((folder for folder in candidates if (folder / "index.html").is_file()), None)


def load_assets(folder: Path | None) -> dict[str, Asset]:
    """Every file that a browser can use, by its path on the server; read once."""
    if folder is None:
        return {}
    assets = {}
    for path in sorted(folder.rglob("*")):
        content_type = _CONTENT_TYPES.get(path.suffix)
        if content_type is not None and path.is_file():
            assets["/" + path.relative_to(folder).as_posix()] = Asset(content_type, path.read_bytes())
    if "/index.html" in assets:
        assets["/"] = assets["/index.html"]
    return assets


class Pages:
    """`not_ready` tells why the server takes no work, or None; `voices` is None until there is a model."""

    def __init__(
        self,
        *,
        assets: Mapping[str, Asset],
        not_ready: Callable[[], str | None],
        exposition: Callable[[], bytes],
        voices: Callable[[], Voices | None],
    ) -> None:
        self._assets = assets
        self._not_ready = not_ready
        self._exposition = exposition
        self._voices = voices

    def get(self, path: str) -> Response:
        """Answer a GET of `path`, which has no query."""
        if path == "/healthz":
            return respond(HTTPStatus.OK, b"ok\n")
        if path == "/readyz":
            return self._readiness()
        if path == "/metrics":
            return respond(HTTPStatus.OK, self._exposition(), metrics.CONTENT_TYPE)
        if path == "/v1/voices":
            return self._list_voices()
        asset = self._assets.get(path)
        if asset is None:
            return refuse(HTTPStatus.NOT_FOUND, "nothing is here")
        return respond(HTTPStatus.OK, asset.body, asset.content_type)

    def _readiness(self) -> Response:
        reason = self._not_ready()
        if reason is None:
            return respond(HTTPStatus.OK, b"ready\n")
        return refuse(HTTPStatus.SERVICE_UNAVAILABLE, reason, Retry_After="1")

    def _list_voices(self) -> Response:
        voices = self._voices()
        if voices is None:
            return refuse(HTTPStatus.SERVICE_UNAVAILABLE, "warming up", Retry_After="1")
        return respond(HTTPStatus.OK, msgspec.json.encode(voices), "application/json")
