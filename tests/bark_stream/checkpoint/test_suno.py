"""Suno's own files, written as Suno wrote them."""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from bark_stream.checkpoint import Checkpoint, build_models, load_checkpoint, random_checkpoint
from bark_stream.checkpoint.bark_numbers import ENCODEC_24KHZ, bark_config
from bark_stream.checkpoint.models import with_tied_heads
from bark_stream.checkpoint.random_model import random_weights
from bark_stream.config import ModelConfig, TransformerConfig
from bark_stream.errors import CheckpointError, UnsafeCheckpoint
from bark_stream.voice import save_voice

VOCABULARY = "[PAD]\n[UNK]\nHello\nwor\n##ld\n.\n"


def suno_config() -> ModelConfig:
    """Suno's vocabularies, which its files do not hold, around networks as small as can be."""

    def transformer(input_size: int, output_size: int) -> TransformerConfig:
        return TransformerConfig(
            num_layers=1,
            num_heads=2,
            hidden_size=4,
            block_size=1024,
            input_vocab_size=input_size,
            output_vocab_size=output_size,
        )

    return bark_config(
        "bark-small",
        semantic=transformer(129_600, 10_048),
        coarse=transformer(12_096, 12_096),
        fine=transformer(1_056, 1_056),
    )


@pytest.fixture(scope="module")
def original() -> Checkpoint:
    weights = random_weights(suno_config(), seed=0)
    return replace(random_checkpoint("tiny"), config=suno_config(), **weights)


@pytest.fixture(scope="module")
def saved(original: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("suno")
    write_suno(original, folder, "")
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """Links, for the codec is large: replace a file, never write into it."""
    return Path(shutil.copytree(saved, tmp_path / "suno", copy_function=os.link))


def save(content: object, path: Path, **options: Any) -> None:
    path.unlink(missing_ok=True)
    torch.save(content, path, **options)


def write_suno(checkpoint: Checkpoint, folder: Path, suffix: str) -> None:
    config = checkpoint.config
    parts = (
        ("text", checkpoint.semantic, config.semantic.transformer),
        ("coarse", checkpoint.coarse, config.coarse.transformer),
        ("fine", with_tied_heads(checkpoint.fine, config), config.fine.transformer),
    )
    for name, weights, sizes in parts:
        arguments: dict[str, Any] = {"n_layer": 1, "n_head": 2, "n_embd": 4, "block_size": 1024, "bias": False}
        arguments |= {"dropout": 0.0}
        if sizes.input_vocab_size == sizes.output_vocab_size:
            arguments["vocab_size"] = sizes.input_vocab_size
        else:
            arguments |= {"input_vocab_size": sizes.input_vocab_size, "output_vocab_size": sizes.output_vocab_size}
        model = {f"_orig_mod.{name}": tensor for name, tensor in weights.items()}
        model["_orig_mod.transformer.h.0.attn.bias"] = torch.ones(1, 1, 8, 8)
        content = {"model": model, "model_args": arguments, "best_val_loss": np.float64(2.5), "iter_num": 10}
        save(content, folder / f"{name}{suffix}.pt")
    if not list(folder.glob("*.th")):
        save(dict(checkpoint.codec), folder / "encodec_24khz-d7cc33bc.th")
    (folder / "vocab.txt").write_text(VOCABULARY, encoding="utf-8")


def test_suno_folder_computes_as_the_original(original: Checkpoint, folder: Path) -> None:
    """Prefixes, masks and the old vocabulary argument are understood, and Suno's numbers filled in."""
    read = load_checkpoint(folder)
    assert read.config == suno_config()
    ours, theirs = build_models(read), build_models(original)
    tokens = torch.tensor([[5, 12_047, 3]])
    codes = torch.arange(24).reshape(1, 3, 8)
    with torch.inference_mode():
        assert torch.equal(ours.coarse(ours.coarse.embed(tokens)), theirs.coarse(theirs.coarse.embed(tokens)))
        assert torch.equal(ours.fine(4, codes), theirs.fine(4, codes))
    assert read.codec.keys() == original.codec.keys()


def test_suno_folder_with_both_sizes_takes_the_large(original: Checkpoint, folder: Path) -> None:
    """Where both are, Suno's own default is read."""
    write_suno(original, folder, "_2")
    assert load_checkpoint(folder).config.name == "bark"


def test_suno_folder_tokenizer_of_a_vocabulary_is_cased_word_piece(folder: Path) -> None:
    """vocab.txt alone gives BERT's cased word pieces."""
    tokenizer = Tokenizer.from_str(load_checkpoint(folder).tokenizer)
    assert tokenizer.encode("Hello world.", add_special_tokens=False).ids == [2, 3, 4, 5]
    assert tokenizer.encode("hello", add_special_tokens=False).ids == [1]


@pytest.mark.parametrize("place", ["assets/prompts/v2", "v2"])
def test_suno_folder_finds_presets(folder: Path, place: str) -> None:
    """Presets have Suno's names, from its repository's layout or beside the weights."""
    voice = random_checkpoint("tiny").voices.get("en_speaker_0")
    (folder / place).mkdir(parents=True)
    save_voice(voice, folder / place / "en_speaker_6.npz")
    voices = load_checkpoint(folder).voices
    assert voices.names() == ("v2/en_speaker_6",)
    assert voices.get("v2/en_speaker_6") == voice


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("coarse.pt", r"coarse\.pt"),
        ("encodec_24khz-d7cc33bc.th", r"encodec_24khz-d7cc33bc\.th is missing"),
        ("vocab.txt", r"tokenizer\.json"),
    ],
)
def test_suno_folder_without_a_file_names_it(folder: Path, name: str, problem: str) -> None:
    """A file that is missing is named."""
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=problem):
        load_checkpoint(folder)


def rewrite(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = torch.load(path, weights_only=False)
    change(content)
    save(content, path)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda content: content.pop("model_args"), '"model_args"'),
        (lambda content: content["model_args"].pop("n_head"), "n_head"),
        (lambda content: content["model_args"].update(n_head=3), "num_heads"),
        (lambda content: content["model_args"].update(n_layer=2), r"transformer\.h\.1\.ln_1\.weight is missing"),
        (lambda content: content["model"].update(extra=torch.ones(1)), "extra is not part"),
        (lambda content: content["model"].update(extra=3), "extra is no tensor"),
        (lambda content: content["model"].pop("_orig_mod.lm_head.weight"), r"lm_head\.weight is missing"),
    ],
)
def test_suno_file_with_something_wrong_names_it(
    folder: Path, change: Callable[[dict[str, Any]], object], problem: str
) -> None:
    """An argument or tensor that is missing, unknown or impossible is named."""
    rewrite(folder / "coarse.pt", change)
    with pytest.raises(CheckpointError, match=problem):
        load_checkpoint(folder)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_suno_file_that_is_truncated_says_so(folder: Path, share: float) -> None:
    """A file that ends early is an error that names it, wherever it ends."""
    path = folder / "coarse.pt"
    whole = path.read_bytes()
    path.unlink()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(CheckpointError, match=r"coarse\.pt: is truncated"):
        load_checkpoint(folder)


class Poison:
    """Unpickled by an ordinary unpickler, runs a command."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize("name", ["coarse.pt", "encodec_24khz-d7cc33bc.th"])
def test_suno_file_that_is_poisoned_runs_nothing(folder: Path, tmp_path: Path, name: str, is_zip: bool) -> None:
    """A pickle that would run a command is refused, and the command has not run."""
    proof = tmp_path / "proof"
    poison = Poison(f"touch {proof}")
    content = {"model": {}, "model_args": {}, "best_val_loss": poison}
    save(content, folder / name, _use_new_zipfile_serialization=is_zip)
    with pytest.raises(UnsafeCheckpoint, match="system"):
        load_checkpoint(folder)
    assert not proof.exists()


def test_suno_file_that_is_a_bare_pickle_runs_nothing(folder: Path, tmp_path: Path) -> None:
    """A pickle without torch's wrapping is refused as well, and has not run."""
    proof = tmp_path / "proof"
    (folder / "coarse.pt").unlink()
    (folder / "coarse.pt").write_bytes(pickle.dumps(Poison(f"touch {proof}")))
    with pytest.raises(CheckpointError):
        load_checkpoint(folder)
    assert not proof.exists()


def test_suno_codec_is_the_published_encodec() -> None:
    """The codec's numbers are those of EnCodec at 24 kHz: 75 frames of 320 samples a second, 32 x 1024 codes."""
    assert (ENCODEC_24KHZ.hop_samples, ENCODEC_24KHZ.frame_rate_hz) == (320, 75)
