"""Fetches a model from the Hugging Face Hub: what the loader reads and no more, resumed where it broke off, checked."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled, RepositoryNotFoundError
from huggingface_hub.hf_api import ModelInfo
from huggingface_hub.utils import tqdm  # type: ignore[attr-defined]
from rich.progress import Progress

from bark_stream.checkpoint.hub import PINS, is_repo_name, revision_of
from bark_stream.checkpoint.hugging_face import VOICES_FILE, WEIGHT_FILES
from bark_stream.errors import DownloadError

SMALL_FILES = ("config.json", "generation_config.json", "tokenizer.json", "vocab.txt", VOICES_FILE)
SMALL_PATTERNS = (*SMALL_FILES, "*.index.json", "speaker_embeddings/**")
"""Everything but the weights."""

_BLOCK_BYTES = 1 << 20


def fetch(
    repo: str,
    folder: Path | None = None,
    *,
    progress: Progress | None = None,
    endpoint: str | None = None,
    cache: Path | None = None,
) -> Path:
    """Fetch a model; what is already there is kept.

    Args:
        repo: `owner/name` on the Hub, fetched at the revision that is pinned here, or else at the newest.
        folder: where to; huggingface_hub's cache without it, where `load_checkpoint(repo)` finds it.
        progress: shows bars; the caller starts and stops it.
        endpoint: of the Hub; huggingface_hub's own (HF_ENDPOINT) without it.
        cache: huggingface_hub's own (HF_HOME) without it.
    Returns: the folder.
    Raises: DownloadError, also when huggingface_hub is told to stay offline; what was received is kept for next time.
    """
    if not is_repo_name(repo):
        raise DownloadError(repo, "is no name of a repository, such as suno/bark-small")
    progress = progress or Progress(disable=True)
    place: dict[str, Any] = {"local_dir": folder} if folder is not None else {"cache_dir": cache}
    place |= {"endpoint": endpoint, "tqdm_class": _bar_class(progress)}
    try:
        info = HfApi(endpoint=endpoint).model_info(repo, revision=revision_of(repo), files_metadata=True)
        weights = _choose_weights(repo, info)
        root = Path(snapshot_download(repo, revision=revision_of(repo), allow_patterns=list(SMALL_PATTERNS), **place))
        for name in weights:
            hf_hub_download(repo, name, revision=info.sha, **place)
    except DownloadError:
        raise
    except Exception as exc:  # huggingface_hub has changed its HTTP library, and with it the errors, three times
        raise DownloadError(repo, _reason(exc)) from exc
    _check_digests(repo, root, weights, _published_digests(repo, info), progress)
    return root


def _choose_weights(repo: str, info: ModelInfo) -> list[str]:
    """The files of the first kind of weights that the repository has, in shards or whole."""
    names = [sibling.rfilename for sibling in info.siblings or ()]
    for weight_file in WEIGHT_FILES:
        if weight_file in names:
            return [weight_file]
        if f"{weight_file}.index.json" in names:
            stem, suffix = weight_file.rsplit(".", 1)
            return [name for name in names if name.startswith(f"{stem}-") and name.endswith(f".{suffix}")]
    raise DownloadError(repo, f"holds none of {', '.join(WEIGHT_FILES)}")


def _published_digests(repo: str, info: ModelInfo) -> dict[str, str]:
    """SHA-256 by file: the Hub's, overridden by those pinned here."""
    theirs = {sibling.rfilename: sibling.lfs.sha256 for sibling in info.siblings or () if sibling.lfs is not None}
    return theirs | (PINS[repo].sha256 if repo in PINS else {})


def _check_digests(repo: str, root: Path, names: Iterable[str], digests: dict[str, str], progress: Progress) -> None:
    for name in names:
        path = root / name
        if name in digests and _sha256(path, progress) != digests[name]:
            path.resolve().unlink()  # in the cache, the file is a link to it
            path.unlink(missing_ok=True)
            raise DownloadError(repo, f"{name} is not what was published (its SHA-256 differs); it was removed again")


def _sha256(path: Path, progress: Progress) -> str:
    digest = hashlib.sha256()
    task = progress.add_task(f"checking {path.name}", total=path.stat().st_size)
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
            progress.advance(task, len(block))
    return digest.hexdigest()


def _bar_class(progress: Progress) -> type[Any]:
    """huggingface_hub's bars, shown by rich."""

    class Bar(tqdm):  # type: ignore[misc, unused-ignore]
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **(options | {"file": io.StringIO()}))  # type: ignore[no-untyped-call]
            total = options.get("total")
            # A bar without a total only sums up others.
            description, start = options.get("desc") or "", options.get("initial", 0)
            self._task = progress.add_task(description, total=total, completed=start) if total else None

        def update(self, n: float | None = 1) -> bool | None:
            if self._task is not None:
                progress.advance(self._task, n or 0)
            shown: bool | None = super().update(n)
            return shown

    return Bar


def _reason(exc: Exception) -> str:
    if isinstance(exc, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE forbids the network; fetch it elsewhere and name the folder instead"
    if isinstance(exc, RepositoryNotFoundError):
        return "the Hub has no such public model"
    if isinstance(exc, LocalEntryNotFoundError) or type(exc).__name__ in {"ConnectError", "ConnectionError"}:
        return "the Hub cannot be reached; check the network, or name a folder instead"
    first_line = next(iter(str(exc).splitlines()), type(exc).__name__)
    return f"the transfer failed ({first_line}); run it again to go on where it stopped"
