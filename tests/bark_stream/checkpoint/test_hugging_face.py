"""Folders of the transformers package, written by the package itself."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hugging_face_reference import bark_model, save_bark
from safetensors.torch import load_file, save_file

from bark_stream.checkpoint import Checkpoint, build_models, load_checkpoint, save_checkpoint
from bark_stream.codec import Codec
from bark_stream.errors import BadVoice, CheckpointError


@pytest.fixture(scope="module")
def model(tiny_checkpoint: Checkpoint) -> Any:
    return bark_model(tiny_checkpoint.config)


@pytest.fixture(scope="module")
def saved(model: Any, tiny_checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hub") / "bark"
    save_bark(model, folder, tiny_checkpoint.tokenizer)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "bark"))


def put_voices(folder: Path, checkpoint: Checkpoint) -> None:
    voice = checkpoint.voices.get("en_speaker_0")
    (folder / "speaker_embeddings" / "v2").mkdir(parents=True)
    paths = {}
    for part, array in (("semantic", voice.semantic), ("coarse", voice.coarse), ("fine", voice.fine)):
        paths[f"{part}_prompt"] = f"speaker_embeddings/v2/en_speaker_6_{part}_prompt.npy"
        np.save(folder / paths[f"{part}_prompt"], array.astype(np.int32))
    listing = {"repo_or_path": "suno/bark-small", "v2/en_speaker_6": paths, "v2/absent": {**paths, PART: "gone.npy"}}
    (folder / "speaker_embeddings_path.json").write_text(json.dumps(listing))


PART = "semantic_prompt"


def test_hugging_face_folder_gives_every_constant(tiny_checkpoint: Checkpoint, saved: Path) -> None:
    """Sizes and special tokens come from config.json and generation_config.json, none from code."""
    read, ours = load_checkpoint(saved).config, tiny_checkpoint.config
    assert (read.semantic, read.coarse, read.fine, read.codec) == (ours.semantic, ours.coarse, ours.fine, ours.codec)
    assert read.sampling.fine_temperature == 0.5


@pytest.mark.parametrize("kind", ["safetensors", "bin", "safetensors shards", "bin shards"])
def test_hugging_face_weights_compute_as_in_transformers(
    model: Any, tiny_checkpoint: Checkpoint, tmp_path: Path, kind: str
) -> None:
    """Logits of all three transformers equal those of transformers, from each way the weights are stored."""
    folder = tmp_path / "bark"
    save_bark(model, folder, tiny_checkpoint.tokenizer, safetensors="safetensors" in kind)
    if "shards" in kind:
        split(folder)
    models = build_models(load_checkpoint(folder))
    tokens = torch.arange(90).reshape(2, 45)
    with torch.inference_mode():
        for ours, theirs in ((models.semantic, model.semantic), (models.coarse, model.coarse_acoustics)):
            logits = ours.logits(ours(ours.embed(tokens)), slice(None))
            torch.testing.assert_close(logits, theirs(tokens).logits, atol=1e-4, rtol=1e-4)
        codes = (torch.arange(2 * 30 * 8) * 7 % 72).reshape(2, 30, 8)
        for codebook in (2, 7):
            theirs_fine = model.fine_acoustics(codebook, codes).logits
            torch.testing.assert_close(models.fine(codebook, codes), theirs_fine, atol=1e-4, rtol=1e-4)


def split(folder: Path) -> None:
    """Two shards and an index, as the Hub stores what is large."""
    whole = next(path for path in (folder / "model.safetensors", folder / "pytorch_model.bin") if path.exists())
    is_safe = whole.suffix == ".safetensors"
    weights = load_file(whole) if is_safe else torch.load(whole)
    names = sorted(weights)
    weight_map: dict[str, str] = {}
    for number, part in enumerate((names[::2], names[1::2])):
        shard = f"{whole.stem}-{number}{whole.suffix}"
        weight_map |= dict.fromkeys(part, shard)
        tensors = {name: weights[name].clone() for name in part}
        if is_safe:
            save_file(tensors, folder / shard)
        else:
            torch.save(tensors, folder / shard)
    (folder / f"{whole.name}.index.json").write_text(json.dumps({"weight_map": weight_map}))
    whole.unlink()


def test_hugging_face_codec_decodes_as_in_transformers(model: Any, tiny_checkpoint: Checkpoint, saved: Path) -> None:
    """The same codes give the same samples as transformers' EnCodec."""
    checkpoint = load_checkpoint(saved)
    codec = Codec(checkpoint.config.codec, checkpoint.codec)
    codes = (torch.arange(8 * 40) * 31 % 64).reshape(1, 8, 40)
    with torch.inference_mode():
        theirs = model.codec_decode(codes)
    torch.testing.assert_close(codec.decode_whole(codes), theirs.reshape(1, -1), atol=1e-5, rtol=1e-4)


def test_hugging_face_old_weight_norm_names_are_read(folder: Path) -> None:
    """weight_g and weight_v, as the published files hold them, mean the same as the newer names."""
    path = folder / "model.safetensors"
    new = load_checkpoint(folder).codec
    weights = {
        name.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): tensor.clone()
        for name, tensor in load_file(path).items()
    }
    path.unlink()
    save_file(weights, path)
    old = load_checkpoint(folder).codec
    assert old.keys() == new.keys()
    assert all(torch.equal(old[name], new[name]) for name in new)


def test_hugging_face_half_precision_is_widened(folder: Path) -> None:
    """Weights stored as bfloat16 are computed with as float32."""
    path = folder / "model.safetensors"
    weights = {name: tensor.to(torch.bfloat16) for name, tensor in load_file(path).items()}
    path.unlink()
    save_file(weights, path)
    assert {tensor.dtype for tensor in load_checkpoint(folder).semantic.values()} == {torch.float32}


def test_hugging_face_voices_are_read_by_their_names(tiny_checkpoint: Checkpoint, folder: Path) -> None:
    """Presets listed in speaker_embeddings_path.json are found in the folder; those without files are left out."""
    put_voices(folder, tiny_checkpoint)
    voices = load_checkpoint(folder).voices
    assert voices.names() == ("v2/en_speaker_6",)
    assert voices.get("v2/en_speaker_6") == tiny_checkpoint.voices.get("en_speaker_0")


@pytest.mark.parametrize("path", ["../secret.npy", "/etc/passwd", "a/../../b.npy", "..\\secret.npy", "C:\\secret.npy"])
def test_hugging_face_voice_outside_the_folder_is_refused(tiny_checkpoint: Checkpoint, folder: Path, path: str) -> None:
    """No path of the listing leads out of the folder, on any system."""
    put_voices(folder, tiny_checkpoint)
    listing = folder / "speaker_embeddings_path.json"
    values = json.loads(listing.read_text())
    values["v2/en_speaker_6"][PART] = path
    listing.write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match="outside the folder"):
        load_checkpoint(folder)


def test_hugging_face_voice_with_an_unsafe_name_is_refused(tiny_checkpoint: Checkpoint, folder: Path) -> None:
    """A name that would be a path elsewhere is refused before anything is written under it."""
    put_voices(folder, tiny_checkpoint)
    listing = folder / "speaker_embeddings_path.json"
    values = json.loads(listing.read_text())
    values["../../evil"] = values["v2/en_speaker_6"]
    listing.write_text(json.dumps(values))
    with pytest.raises(BadVoice, match="evil"):
        load_checkpoint(folder)


def test_hugging_face_folder_converts_to_ours(tiny_checkpoint: Checkpoint, folder: Path, tmp_path: Path) -> None:
    """Written in our format and read again, it is the same model."""
    put_voices(folder, tiny_checkpoint)
    theirs = load_checkpoint(folder)
    save_checkpoint(theirs, tmp_path / "ours")
    ours = load_checkpoint(tmp_path / "ours")
    assert ours.config == theirs.config
    assert ours.voices.get("v2/en_speaker_6") == theirs.voices.get("v2/en_speaker_6")
    for part in ("semantic", "coarse", "fine", "codec"):
        mine, other = getattr(ours, part), getattr(theirs, part)
        assert mine.keys() == other.keys()
        assert all(torch.equal(mine[name], other[name]) for name in mine)


def test_hugging_face_heads_that_are_not_tied_are_refused(folder: Path) -> None:
    """Fine heads that differ from their tables are another architecture, and named."""
    path = folder / "model.safetensors"
    weights = {name: tensor.clone() for name, tensor in load_file(path).items()}
    weights["fine_acoustics.lm_heads.2.weight"] = torch.zeros(72, 32)
    path.unlink()
    save_file(weights, path)
    with pytest.raises(CheckpointError, match=r"lm_heads\.2\.weight differs from transformer\.wtes\.3\.weight"):
        load_checkpoint(folder)


def test_hugging_face_codec_of_another_kind_is_refused(folder: Path) -> None:
    """A codec that computes differently is refused by the setting's name."""
    config = json.loads((folder / "config.json").read_text())
    config["codec_config"]["use_causal_conv"] = False
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"codec_config\.use_causal_conv"):
        load_checkpoint(folder)


def test_hugging_face_unknown_tensor_is_named(folder: Path) -> None:
    """A tensor that belongs to no part is an error that names it."""
    path = folder / "model.safetensors"
    weights = {name: tensor.clone() for name, tensor in load_file(path).items()} | {"vocoder.weight": torch.ones(1)}
    path.unlink()
    save_file(weights, path)
    with pytest.raises(CheckpointError, match=r"vocoder\.weight"):
        load_checkpoint(folder)


def test_hugging_face_shard_outside_the_folder_is_refused(folder: Path) -> None:
    """An index cannot name files elsewhere."""
    (folder / "model.safetensors").rename(folder / "pytorch_model-0.bin")
    index = {"weight_map": {"semantic.lm_head.weight": "../model.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="outside the folder"):
        load_checkpoint(folder)
