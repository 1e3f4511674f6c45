"""Fetching, against a Hub on the loopback and with the real huggingface_hub."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
from hub_server import COMMIT, HubServer, hub_server
from hugging_face_reference import bark_model, save_bark
from rich.console import Console
from rich.progress import Progress

from bark_stream.checkpoint import Checkpoint, load_checkpoint
from bark_stream.checkpoint.fetch import fetch
from bark_stream.checkpoint.hub import PINS, Pin, cached_folder
from bark_stream.errors import DownloadError, UnknownModel

REPO = "suno/bark-tiny"
WEIGHTS = "pytorch_model.bin"


@pytest.fixture(scope="module")
def published(tiny_checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    save_bark(bark_model(tiny_checkpoint.config), folder, tiny_checkpoint.tokenizer, safetensors=False)
    voice = tiny_checkpoint.voices.get("en_speaker_0")
    (folder / "speaker_embeddings").mkdir()
    paths = {}
    for part, array in (("semantic", voice.semantic), ("coarse", voice.coarse), ("fine", voice.fine)):
        paths[f"{part}_prompt"] = f"speaker_embeddings/en_speaker_0_{part}_prompt.npy"
        np.save(folder / paths[f"{part}_prompt"], array)
    (folder / "speaker_embeddings_path.json").write_text(json.dumps({"repo_or_path": REPO, "en_speaker_0": paths}))
    (folder / "text.pt").write_text("Suno's own files are not needed beside these")
    (folder / "README.md").write_text("nor is this")
    return folder


@pytest.fixture
def hub(published: Path, tmp_path: Path) -> Iterator[HubServer]:
    with hub_server(REPO, Path(shutil.copytree(published, tmp_path / "published"))) as server:
        yield server


def test_fetch_into_the_cache_is_loaded_by_name(hub: HubServer, tmp_path: Path) -> None:
    """What was fetched is a model under its repository's name, voices included; nothing unneeded came along."""
    cache = tmp_path / "cache"
    root = fetch(REPO, endpoint=hub.endpoint, cache=cache)
    assert root == cached_folder(REPO, cache)
    checkpoint = load_checkpoint(REPO, cache=cache)
    assert checkpoint.config.name == "bark-tiny"
    assert checkpoint.voices.names() == ("en_speaker_0",)
    assert not (root / "text.pt").exists()
    assert not (root / "README.md").exists()


def test_fetch_into_a_folder_is_loaded_by_path(hub: HubServer, tmp_path: Path) -> None:
    """With a folder named, the files lie there as files."""
    root = fetch(REPO, tmp_path / "bark", endpoint=hub.endpoint)
    assert root == tmp_path / "bark"
    assert not (root / WEIGHTS).is_symlink()
    load_checkpoint(root)


def test_fetch_again_transfers_nothing(hub: HubServer, tmp_path: Path) -> None:
    """What is there already is not asked for again."""
    fetch(REPO, endpoint=hub.endpoint, cache=tmp_path)
    hub.breaks = dict.fromkeys(hub.paths(), 100)
    fetch(REPO, endpoint=hub.endpoint, cache=tmp_path)


def test_fetch_of_a_broken_transfer_resumes(hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection lost half-way is taken up where it broke, and the file is right in the end."""
    monkeypatch.setattr(huggingface_hub.constants, "DOWNLOAD_CHUNK_SIZE", 1 << 14)
    hub.breaks[WEIGHTS] = 1
    root = fetch(REPO, endpoint=hub.endpoint, cache=tmp_path)
    size = (hub.folder / WEIGHTS).stat().st_size
    assert (root / WEIGHTS).read_bytes() == (hub.folder / WEIGHTS).read_bytes()
    assert hub.ranges
    assert all(0 < int(range_.removeprefix("bytes=").split("-")[0]) < size for _, range_ in hub.ranges)


@pytest.mark.parametrize("into_folder", [True, False])
def test_fetch_with_a_wrong_digest_is_refused(hub: HubServer, tmp_path: Path, into_folder: bool) -> None:
    """A file that is not what was published is removed again, and fetching once more mends it."""
    hub.digests[WEIGHTS] = "0" * 64
    folder = tmp_path / "bark" if into_folder else None
    with pytest.raises(DownloadError, match=r"pytorch_model\.bin is not what was published"):
        fetch(REPO, folder, endpoint=hub.endpoint, cache=tmp_path / "cache")
    assert not list(tmp_path.glob(f"bark/**/{WEIGHTS}"))
    assert not list(tmp_path.glob(f"cache/**/{WEIGHTS}"))
    hub.digests.clear()
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)
    shutil.rmtree(tmp_path / "bark", ignore_errors=True)
    fetch(REPO, folder, endpoint=hub.endpoint, cache=tmp_path / "cache")


def test_fetch_of_a_pinned_model_checks_the_pin(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A digest pinned here counts more than what the Hub says; the pinned revision is found in the cache."""
    monkeypatch.setitem(PINS, REPO, Pin(revision=COMMIT, sha256={WEIGHTS: hub.digest(WEIGHTS)}))
    fetch(REPO, endpoint=hub.endpoint, cache=tmp_path / "right")
    assert cached_folder(REPO, tmp_path / "right") is not None
    monkeypatch.setitem(PINS, REPO, Pin(revision=COMMIT, sha256={WEIGHTS: "f" * 64}))
    with pytest.raises(DownloadError, match="SHA-256"):
        fetch(REPO, endpoint=hub.endpoint, cache=tmp_path / "wrong")


def test_fetch_shows_progress(hub: HubServer, tmp_path: Path) -> None:
    """A bar for the small files, one for each weight file, one for its check; all full at the end."""
    with Progress(console=Console(file=io.StringIO())) as progress:
        fetch(REPO, endpoint=hub.endpoint, cache=tmp_path, progress=progress)
    assert len(progress.tasks) >= 3
    assert all(task.completed == task.total for task in progress.tasks)
    assert any(WEIGHTS in task.description for task in progress.tasks)


def test_fetch_of_what_the_hub_does_not_have_says_so(hub: HubServer, tmp_path: Path) -> None:
    """An unknown repository is one clear sentence."""
    with pytest.raises(DownloadError, match="no such public model"):
        fetch("suno/nothing", endpoint=hub.endpoint, cache=tmp_path)


def test_fetch_of_a_repository_without_weights_says_so(hub: HubServer, tmp_path: Path) -> None:
    """A repository that holds no Bark is refused before anything is transferred."""
    (hub.folder / WEIGHTS).unlink()
    with pytest.raises(DownloadError, match=r"holds none of model\.safetensors"):
        fetch(REPO, endpoint=hub.endpoint, cache=tmp_path)


@pytest.mark.parametrize("name", ["", "bark", "../x/y", "a/b/c", "a b/c"])
def test_fetch_of_no_repository_name_says_so(tmp_path: Path, name: str) -> None:
    """A name that cannot be one is refused without asking the network."""
    with pytest.raises(DownloadError, match="no name of a repository"):
        fetch(name, cache=tmp_path)


def test_fetch_where_nobody_answers_says_so(tmp_path: Path) -> None:
    """Without a network, one clear sentence says what can be done."""
    with pytest.raises(DownloadError, match="cannot be reached"):
        fetch(REPO, endpoint="http://127.0.0.1:9", cache=tmp_path)


def test_fetch_when_told_to_stay_offline_says_so(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HF_HUB_OFFLINE is obeyed, and what was fetched before still loads."""
    fetch(REPO, endpoint=hub.endpoint, cache=tmp_path)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DownloadError, match="HF_HUB_OFFLINE"):
        fetch(REPO, endpoint=hub.endpoint, cache=tmp_path)
    load_checkpoint(REPO, cache=tmp_path)


def test_load_of_what_was_not_fetched_names_the_command(tmp_path: Path) -> None:
    """A repository's name without its files is an unknown model, and the sentence says how to get it."""
    with pytest.raises(UnknownModel, match="bark-stream fetch suno/bark-small"):
        load_checkpoint("suno/bark-small", cache=tmp_path)
