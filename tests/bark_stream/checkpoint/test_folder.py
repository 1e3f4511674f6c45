"""Our own folder format."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from bark_stream.checkpoint import Checkpoint, build_models, load_checkpoint, random_checkpoint, save_checkpoint
from bark_stream.checkpoint.folder import ENCODER
from bark_stream.checkpoint.storage import Storage
from bark_stream.errors import CheckpointError, OutputError, UnknownModel

PARTS = ("semantic", "coarse", "fine", "codec")


@pytest.fixture
def folder(tiny_checkpoint: Checkpoint, tmp_path: Path) -> Path:
    save_checkpoint(tiny_checkpoint, tmp_path / "model")
    return tmp_path / "model"


def test_folder_written_and_read_is_the_same_model(tiny_checkpoint: Checkpoint, folder: Path) -> None:
    """Configuration, every tensor, tokenizer and voices survive a round trip exactly."""
    read = load_checkpoint(folder)
    assert read.config == tiny_checkpoint.config
    assert read.tokenizer == tiny_checkpoint.tokenizer
    assert read.voices.names() == tiny_checkpoint.voices.names()
    assert read.voices.get("v2/en_speaker_0") == tiny_checkpoint.voices.get("en_speaker_0")
    for part in PARTS:
        mine, theirs = getattr(read, part), getattr(tiny_checkpoint, part)
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_folder_of_a_changed_model_keeps_what_its_tokens_mean(tmp_path: Path) -> None:
    """`mini` written anew still tells mouth shapes and can clone: phones and semantic encoder come along."""
    mini = load_checkpoint("mini")
    save_checkpoint(mini, tmp_path / "changed", "int8")
    changed = load_checkpoint(tmp_path / "changed")
    assert changed.phones == mini.phones != ()
    assert mini.folder is not None
    assert (tmp_path / "changed" / ENCODER).read_bytes() == (mini.folder / ENCODER).read_bytes()


def test_folder_can_be_read_by_everybody(folder: Path) -> None:
    """An installed model serves every user of the machine."""
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in folder.rglob("*"))


@pytest.mark.parametrize(("storage", "tolerance"), [("float16", 2e-3), ("int8", 1 / 127)])
def test_folder_in_small_storage_is_close(
    tiny_checkpoint: Checkpoint, tmp_path: Path, storage: Storage, tolerance: float
) -> None:
    """Smaller storage loses no more than its step, relative to each row's largest weight."""
    save_checkpoint(tiny_checkpoint, tmp_path / "model", storage)
    read = load_checkpoint(tmp_path / "model")
    for part in PARTS:
        for name, tensor in getattr(tiny_checkpoint, part).items():
            row = tensor.flatten(1) if tensor.ndim > 1 else tensor[None]
            error = (getattr(read, part)[name] - tensor).abs().reshape(row.shape).amax(-1)
            assert bool((error <= tolerance * row.abs().amax(-1) + 1e-6).all()), name
    assert read.semantic["transformer.wte.weight"].dtype == torch.float32


def test_folder_saved_over_an_older_model_keeps_its_card(folder: Path) -> None:
    """A new model replaces an old one of ours, and files that the format does not know stay."""
    (folder / "MODEL_CARD.md").write_text("card")
    save_checkpoint(random_checkpoint("tiny", seed=1), folder, "float16")
    assert (folder / "MODEL_CARD.md").read_text() == "card"
    assert load_checkpoint(folder).semantic["lm_head.weight"].shape == (112, 32)
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_folder_saved_over_something_else_is_refused(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    """What is not ours is never replaced."""
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match="exists"):
        save_checkpoint(tiny_checkpoint, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_folder_that_cannot_be_written_leaves_nothing(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    """A failure half-way leaves neither the folder nor a temporary one."""
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        save_checkpoint(tiny_checkpoint, tmp_path / "file" / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("name", "change", "problem"),
    [
        ("transformer.ln_f.weight", "drop", "transformer.ln_f.weight is missing"),
        ("transformer.surplus", "add", "transformer.surplus is not part of the model"),
        ("transformer.wpe.weight", "cut", r"transformer.wpe.weight is \[3, 32\], not \[384, 32\]"),
        ("transformer.wpe.weight", "retype", "transformer.wpe.weight is torch.int64"),
        ("transformer.wpe.weight", "unscaled", "transformer.wpe.weight_scale is missing"),
    ],
)
def test_folder_with_a_wrong_tensor_names_it(folder: Path, name: str, change: str, problem: str) -> None:
    """A tensor that is missing, unknown, misshapen or of a strange type is named."""
    path = folder / "semantic.safetensors"
    weights = load_file(path)
    if change == "drop":
        del weights[name]
    else:
        original = weights.get(name, torch.zeros(1))
        weights[name] = {
            "add": original,
            "cut": original[:3].clone(),
            "retype": original.to(torch.int64),
            "unscaled": original.to(torch.int8),
        }[change]
    save_file(weights, path)
    with pytest.raises(CheckpointError, match=problem):
        load_checkpoint(folder)


@pytest.mark.parametrize("num_bytes", [0, 5, 1000])
def test_folder_with_a_truncated_file_says_so(folder: Path, num_bytes: int) -> None:
    """A file that ends early is an error that names the file, at whatever byte it ends."""
    path = folder / "coarse.safetensors"
    path.write_bytes(path.read_bytes()[:num_bytes])
    with pytest.raises(CheckpointError, match=r"coarse\.safetensors"):
        load_checkpoint(folder)


@pytest.mark.parametrize("name", ["semantic.safetensors", "tokenizer.json"])
def test_folder_without_a_file_names_it(folder: Path, name: str) -> None:
    """A file that is missing is named."""
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=name):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"version": 2}, "version 2"),
        ({"codec": {}}, r"config\.codec\.sample_rate_hz: is missing"),
        ({"shoe_size": 43}, r"config\.shoe_size: is not a known setting"),
    ],
)
def test_folder_with_a_wrong_config_names_the_setting(folder: Path, change: dict[str, object], problem: str) -> None:
    """A setting of config.json that is missing, unknown or of another version is named."""
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(values | change))
    with pytest.raises(CheckpointError, match=problem):
        load_checkpoint(folder)


def test_folder_of_something_else_is_no_model(tmp_path: Path) -> None:
    """A folder without any known layout is refused with its path; a path that is not there is an unknown model."""
    with pytest.raises(CheckpointError, match="known format"):
        load_checkpoint(tmp_path)
    with pytest.raises(UnknownModel, match="nowhere"):
        load_checkpoint(tmp_path / "nowhere")


def test_models_of_a_folder_compute_as_the_original(tiny_checkpoint: Checkpoint, folder: Path) -> None:
    """Built models give the same hidden states, and the fine heads stay tied to their tables."""
    read, original = build_models(load_checkpoint(folder)), build_models(tiny_checkpoint)
    tokens = torch.arange(20)[None]
    with torch.inference_mode():
        assert torch.equal(
            read.semantic(read.semantic.embed(tokens)), original.semantic(original.semantic.embed(tokens))
        )
        codes = torch.arange(80).reshape(1, 10, 8) % 64
        assert torch.equal(read.fine(3, codes), original.fine(3, codes))
    parameters = dict(read.fine.named_parameters(remove_duplicate=False))
    assert all(parameters[f"lm_heads.{i}.weight"] is parameters[f"transformer.wtes.{i + 1}.weight"] for i in range(7))
