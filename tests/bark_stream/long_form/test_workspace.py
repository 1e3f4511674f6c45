"""What a long job keeps on disk: only what is whole counts."""

from __future__ import annotations

import resource
from pathlib import Path

import numpy as np
import pytest

from bark_stream.errors import OutputError
from bark_stream.long_form.workspace import Workspace

PCM = np.arange(1000, dtype=np.int16)


def test_workspace_on_a_full_disk_keeps_what_was_whole(tmp_path: Path) -> None:
    """A sentence that does not fit is an error; the ones before it, and their states, are still there."""
    with Workspace(tmp_path / "part", {"job": 1}) as workspace:
        workspace.append(PCM, {"text": "one"}, {"A": b"state 1"})
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, hard))
        try:
            with pytest.raises(OutputError):
                workspace.append(PCM, {"text": "two"}, {"A": b"state 2"})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    with Workspace(tmp_path / "part", {"job": 1}) as workspace:
        assert workspace.done.num_sentences == 1
        assert workspace.done.states == {"A": b"state 1"}
        assert [sentence["text"] for sentence in workspace.sentences()] == ["one"]
        assert np.array_equal(np.rint(np.concatenate(list(workspace.pcm())) * 32767).astype(np.int16), PCM)


def test_workspace_gives_sound_piece_by_piece(tmp_path: Path) -> None:
    """However long it is, a piece is a few seconds."""
    with Workspace(tmp_path / "part", {}) as workspace:
        for _ in range(3):
            workspace.append(np.zeros(100_000, np.int16), {}, {})
        pieces = [len(piece) for piece in workspace.pcm()]
        assert sum(pieces) == 300_000
        assert max(pieces) <= 65_536


def test_workspace_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    """A place that is no folder is named."""
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file"):
        Workspace(tmp_path / "file" / "part", {})
