"""Small text files of a model folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bark_stream.errors import CheckpointError


def read_json(path: Path) -> dict[str, Any]:
    """Raises: CheckpointError if the file is missing or is no JSON object."""
    try:
        values = json.loads(read_text(path))
    except json.JSONDecodeError as exc:
        raise CheckpointError(str(path), f"is no JSON: {exc}") from exc
    if not isinstance(values, dict):
        raise CheckpointError(str(path), "is no JSON object")
    return values


def read_text(path: Path) -> str:
    """Raises: CheckpointError if the file is missing or is no UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as exc:
        raise CheckpointError(str(path), exc.strerror or str(exc)) from exc
    except UnicodeDecodeError as exc:
        raise CheckpointError(str(path), f"is no UTF-8 text: {exc}") from exc
