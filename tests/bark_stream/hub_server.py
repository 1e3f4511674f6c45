"""A Hugging Face Hub on the loopback: as much of it as huggingface_hub asks for when it fetches a model."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class HubServer(ThreadingHTTPServer):
    """Serves one repository from a folder."""

    daemon_threads = True

    def __init__(self, repo: str, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), HubRequest)
        self.repo = repo
        self.folder = folder
        self.endpoint = f"http://127.0.0.1:{self.server_address[1]}"
        self.breaks: dict[str, int] = {}
        """How many more transfers of a file break off half-way."""
        self.digests: dict[str, str] = {}
        """SHA-256 that the Hub claims instead of the true one."""
        self.ranges: list[tuple[str, str]] = []
        """(file, Range header) of what was asked for from the middle."""

    def paths(self) -> list[str]:
        return sorted(path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file())

    def info_paths(self) -> set[str]:
        root = f"api/models/{self.repo}"
        return {root, f"{root}/revision/main", f"{root}/revision/{COMMIT}"}

    def digest(self, path: str) -> str:
        return self.digests.get(path) or hashlib.sha256((self.folder / path).read_bytes()).hexdigest()


class HubRequest(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HubServer

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._respond(with_body=False)

    def do_GET(self) -> None:
        self._respond(with_body=True)

    def _respond(self, *, with_body: bool) -> None:
        path = unquote(urlsplit(self.path).path).strip("/")
        if path in self.server.info_paths():
            self._json(
                {"id": self.server.repo, "sha": COMMIT, "siblings": [self._file(p) for p in self.server.paths()]}
            )
        elif path.startswith(f"api/models/{self.server.repo}/tree/"):
            self._json([self._file(p) for p in self.server.paths()])
        elif path.startswith(f"{self.server.repo}/resolve/"):
            self._send_file(path.removeprefix(f"{self.server.repo}/resolve/").split("/", 1)[1], with_body)
        else:
            self._json({"error": "Repository not found"}, status=404, code="RepoNotFound")

    def _file(self, path: str) -> dict[str, Any]:
        size, digest = (self.server.folder / path).stat().st_size, self.server.digest(path)
        facts: dict[str, Any] = {"type": "file", "path": path, "rfilename": path, "size": size, "oid": digest[:40]}
        if path.endswith((".bin", ".safetensors")):
            facts["lfs"] = {"oid": digest, "sha256": digest, "size": size, "pointerSize": 130}
        return facts

    def _json(self, content: object, status: int = 200, code: str | None = None) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _send_file(self, path: str, with_body: bool) -> None:
        content = (self.server.folder / path).read_bytes()
        start = 0
        if "Range" in self.headers:
            self.server.ranges.append((path, self.headers["Range"]))
            start = int(self.headers["Range"].removeprefix("bytes=").split("-")[0])
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("ETag", f'"{self.server.digest(path)}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if not with_body:
            return
        if self.server.breaks.get(path, 0) > 0:
            self.server.breaks[path] -= 1
            self.wfile.write(content[start : (start + len(content)) // 2])
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        self.wfile.write(content[start:])


@contextmanager
def hub_server(repo: str, folder: Path) -> Iterator[HubServer]:
    server = HubServer(repo, folder)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
