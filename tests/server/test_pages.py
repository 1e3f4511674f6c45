"""Plain GETs, answered without a socket."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bark_server.pages import Asset, Pages, Voices, browser_dir, load_assets

from bark_stream.errors import ConfigError


class _State:
    reason: str | None = None
    voices: Voices | None = Voices(model="m", default="a", voices=("a", "b"))


def _pages(state: _State) -> Pages:
    return Pages(
        assets={"/": Asset("text/html", b"page")},
        not_ready=lambda: state.reason,
        exposition=lambda: b"bark_contexts 0.0\n",
        voices=lambda: state.voices,
    )


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/", 200, b"page"),
        ("/healthz", 200, b"ok\n"),
        ("/readyz", 200, b"ready\n"),
        ("/metrics", 200, b"bark_contexts 0.0\n"),
        ("/nothing", 404, b"nothing is here\n"),
        ("/../etc/passwd", 404, b"nothing is here\n"),
    ],
)
def test_get(path: str, status: int, body: bytes) -> None:
    """Each path has its answer, with its length."""
    response = _pages(_State()).get(path)
    assert (response.status_code, response.body) == (status, body)
    assert response.headers["Content-Length"] == str(len(body))


def test_get_when_not_ready() -> None:
    """`/readyz` says why and when to ask again; `/healthz` stays well."""
    state = _State()
    state.reason, state.voices = "stalled", None
    response = _pages(state).get("/readyz")
    assert (response.status_code, response.body, response.headers["Retry-After"]) == (503, b"stalled\n", "1")
    assert _pages(state).get("/v1/voices").status_code == 503
    assert _pages(state).get("/healthz").status_code == 200


def test_get_voices() -> None:
    """JSON with the model, its voices and which one speaks unless asked."""
    response = _pages(_State()).get("/v1/voices")
    assert response.headers["Content-Type"] == "application/json"
    assert json.loads(response.body) == {"model": "m", "default": "a", "voices": ["a", "b"]}


def test_load_assets_takes_what_browsers_use(tmp_path: Path) -> None:
    """Pages, modules and styles of a folder and below it, nothing else; `/` is the page."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "index.html").write_text("page")
    (tmp_path / "lib" / "a.js").write_text("js")
    (tmp_path / "notes.txt").write_text("no")
    assets = load_assets(tmp_path)
    assert set(assets) == {"/", "/index.html", "/lib/a.js"}
    assert assets["/lib/a.js"].content_type.startswith("text/javascript")
    assert load_assets(None) == {}


def test_browser_dir_must_hold_a_page(tmp_path: Path) -> None:
    """A folder without a page is a mistake that is named at start."""
    with pytest.raises(ConfigError, match=r"index\.html"):
        browser_dir(tmp_path)
