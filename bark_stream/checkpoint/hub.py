"""Models of the Hugging Face Hub by name, as far as no network is needed: what is pinned, what is already here."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

_REPO = re.compile(r"\w[\w.-]*/\w[\w.-]*")


@dataclass(frozen=True, kw_only=True, slots=True)
class Pin:
    """The state of a repository that is known to be right."""

    revision: str
    sha256: dict[str, str] = field(default_factory=dict)
    """By file."""


PINS = {
    "suno/bark-small": Pin(
        revision="1dbd7a128513b8ae4a4e2130fed57b7ac9da5bcd",
        sha256={"pytorch_model.bin": "f0f7f16b24f65789ce42b3c491aa6a1cdf219f7ef425066fcd194485245e65d9"},
    )
}


def is_repo_name(name: str) -> bool:
    """`suno/bark-small`, and no path that is one folder deep: the caller looks for a folder first."""
    return _REPO.fullmatch(name) is not None


def revision_of(repo: str) -> str | None:
    """The pinned revision; None means the newest."""
    return PINS[repo].revision if repo in PINS else None


def cached_folder(repo: str, cache: Path | None = None) -> Path | None:
    """Where huggingface_hub keeps what was fetched of it; None if nothing was. Asks no network.

    Args: cache: huggingface_hub's own (HF_HOME) without it.
    """
    # Imported here: it takes half a second, and a model in a folder does not need it.
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repo, "config.json", cache_dir=cache, revision=revision_of(repo))
    return Path(found).parent if isinstance(found, str) else None
