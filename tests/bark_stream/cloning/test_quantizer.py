"""Quantizers: every published form is read, and nothing in a file is run."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bark_stream.cloning.quantizer import Quantizer, QuantizerConfig, load_quantizer
from bark_stream.errors import CheckpointError, UnsafeCheckpoint


class Published(nn.Module):
    """The layers as the published training code lays them out."""

    def __init__(self, version: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(24, 16, 2, batch_first=True)
        width = 16
        if version == 1:
            self.intermediate = nn.Linear(16, 32)
            width = 32
        self.fc = nn.Linear(width, 100)
        self.softmax = nn.LogSoftmax(dim=1)

    def tokens(self, features: Tensor) -> Tensor:
        x, _ = self.lstm(features)
        if hasattr(self, "intermediate"):
            x = self.intermediate(x)
        return self.softmax(self.fc(x)[0]).argmax(1)


def publish(path: Path, version: int, info: dict[str, Any] | None) -> Published:
    torch.manual_seed(version)
    model = Published(version)
    torch.save(model.state_dict(), path)
    if info is not None:
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(f"{path.stem}/.info", json.dumps(info))
    return model


INFO = {"input_size": 24, "hidden_size": 16, "output_size": 100}


@pytest.mark.parametrize(("version", "with_info"), [(0, False), (0, True), (1, True), (1, False)])
def test_load_quantizer_reads_every_version(tmp_path: Path, version: int, with_info: bool) -> None:
    """Versions 0 and 1, with and without `.info`, name the tokens that the published code names."""
    path = tmp_path / "quantifier.pth"
    published = publish(path, version, {**INFO, "version": version} if with_info else None)
    quantizer = load_quantizer(path)
    assert quantizer.config.version == version
    features = torch.randn(1, 40, 24)
    assert torch.equal(quantizer.scores(features)[0].argmax(-1), published.tokens(features))


def test_load_quantizer_reads_the_older_torch_format(tmp_path: Path) -> None:
    """Files from before torch's zip format."""
    path = tmp_path / "old.pth"
    torch.save(Published(0).state_dict(), path, _use_new_zipfile_serialization=False)
    assert load_quantizer(path).config == QuantizerConfig(
        input_size=24, hidden_size=16, output_size=100, intermediate_size=None
    )


class Poison:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("zipped", [True, False])
def test_load_quantizer_refuses_a_poisoned_file(tmp_path: Path, zipped: bool) -> None:
    """A pickle that asks for a function is refused by name, and the function is not run."""
    path, marker = tmp_path / "evil.pth", tmp_path / "marker"
    torch.save({"fc.bias": Poison(marker)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(UnsafeCheckpoint, match="mkdir"):
        load_quantizer(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("info", "words"),
    [
        ({**INFO, "version": 1}, "version 1; the tensors say 0"),
        ({**INFO, "hidden_size": 8, "version": 0}, "hidden_size 8; the tensors say 16"),
        (["no object"], "no JSON object"),
    ],
)
def test_load_quantizer_refuses_an_info_that_lies(tmp_path: Path, info: Any, words: str) -> None:
    """What `.info` says must be what the tensors are."""
    path = tmp_path / "quantifier.pth"
    publish(path, 0, info)
    with pytest.raises(CheckpointError, match=words):
        load_quantizer(path)


def test_load_quantizer_refuses_a_huge_info(tmp_path: Path) -> None:
    """A bomb of zeros is not unpacked."""
    path = tmp_path / "quantifier.pth"
    publish(path, 0, None)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("quantifier/.info", b"0" * 50_000_000)
    with pytest.raises(CheckpointError, match="larger than"):
        load_quantizer(path)


@pytest.mark.parametrize("content", [{"fc.bias": torch.zeros(3)}, [torch.zeros(3)], {"lstm": 3}])
def test_load_quantizer_refuses_other_files(tmp_path: Path, content: Any) -> None:
    """A torch file of something else, and one that is missing, are named."""
    path = tmp_path / "other.pth"
    torch.save(content, path)
    with pytest.raises(CheckpointError, match="no quantizer"):
        load_quantizer(path)
    with pytest.raises(CheckpointError, match="nowhere"):
        load_quantizer(tmp_path / "nowhere.pth")


def test_quantizer_config_tells_its_version() -> None:
    """One more layer is version 1."""
    sizes = {"input_size": 768, "hidden_size": 1024, "output_size": 10_000}
    assert QuantizerConfig(**sizes, intermediate_size=4096).version == 1
    assert Quantizer(QuantizerConfig(**sizes, intermediate_size=None)).config.version == 0
