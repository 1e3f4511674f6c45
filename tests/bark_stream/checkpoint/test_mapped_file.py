"""Promises of `bark_stream.checkpoint.mapped_file`: what the library reads, and no page longer than it is held."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from bark_stream.checkpoint.mapped_file import MappedFile
from bark_stream.errors import CheckpointError

TENSORS = {
    "matrix": torch.arange(12.0).view(3, 4),
    "half": torch.tensor([1.5, -2.0], dtype=torch.float16),
    "brain": torch.tensor([[0.25], [3.0]], dtype=torch.bfloat16),
    "bytes": torch.tensor([-128, 127, 0], dtype=torch.int8),
    "scalar": torch.tensor(7),
    "empty": torch.zeros(0, 5),
    "flags": torch.tensor([True, False]),
    "far": torch.arange(5_000, dtype=torch.int32),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save_file(TENSORS, tmp_path / "some.safetensors", metadata={"format": "pt"})
    return tmp_path / "some.safetensors"


def test_mapped_file_equals_the_library(path: Path) -> None:
    """Names, types, shapes and values are those that safetensors itself reads, wherever in the file they lie."""
    mapped, expected = MappedFile(path), load_file(path)
    assert set(mapped) == set(expected)
    assert len(mapped) == len(expected)
    for name, tensor in expected.items():
        assert mapped[name].dtype == tensor.dtype
        assert torch.equal(mapped[name], tensor)


def test_mapped_file_is_not_written_to(path: Path) -> None:
    """A tensor may be changed: neither the file nor the next reader sees it."""
    mapped = MappedFile(path)
    mapped["matrix"].zero_()
    assert torch.equal(mapped["matrix"], TENSORS["matrix"])


def test_mapped_file_outlives_its_replacement(path: Path) -> None:
    """Who opened a file goes on reading that file when another takes its place."""
    mapped = MappedFile(path)
    path.unlink()
    save_file({"other": torch.zeros(1)}, path)
    assert torch.equal(mapped["far"], TENSORS["far"])


def test_mapped_file_keeps_no_tensor(path: Path) -> None:
    """What nobody holds any more is no longer mapped."""
    mapped = MappedFile(path)

    def num_mappings() -> int:
        return Path("/proc/self/maps").read_text(encoding="utf-8").count(str(path))

    held = mapped["far"]
    assert num_mappings() == 1
    del held
    assert "far" in mapped
    assert num_mappings() == 0


def test_mapped_file_of_an_unknown_type_names_the_tensor(tmp_path: Path) -> None:
    """A type that no weights are stored in is refused by the tensor's name."""
    save_file({"odd": torch.zeros(2, dtype=torch.float8_e4m3fn)}, tmp_path / "odd.safetensors")
    with pytest.raises(CheckpointError, match="odd is F8_E4M3"):
        MappedFile(tmp_path / "odd.safetensors")
