"""Codebooks move to other sound, and whatever names codes goes with them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from bark_stream.bark import Bark
from bark_stream.checkpoint import load_checkpoint
from bark_stream.errors import CheckpointError
from bark_stream.training.codec import codebooks_of, sum_of_vectors
from bark_stream.training.refit import codes_of, old_places, refit, refit_model, with_refitted_codebooks
from bark_stream.training.shards import Clip, write_shard
from bark_stream.training.stages import codebooks, encode_workspace, workspace_streams
from bark_stream.training.voices import VOICES

NUM_CODES, NUM_SEEN, NUM_UNSEEN = 32, 3, 2


@pytest.fixture(scope="module")
def rows() -> Tensor:
    """Latents of a speaker, far from the others'."""
    generator = torch.Generator().manual_seed(0)
    return 3.0 + torch.randn(4000, NUM_SEEN + NUM_UNSEEN, generator=generator)


@pytest.fixture(scope="module")
def vectors() -> Tensor:
    """[2, N, D] codebooks of the others; the first sees a part of the latent alone."""
    books = torch.randn(2, NUM_CODES, NUM_SEEN + NUM_UNSEEN, generator=torch.Generator().manual_seed(1))
    books[0, :, NUM_SEEN:] = 0.0
    return books


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten seconds of noise in three colours, said by a voice and two strangers."""
    folder = tmp_path_factory.mktemp("workspace")
    rng = np.random.default_rng(0)
    clips = []
    for speaker, smoothing in ((VOICES[0], 1), (10_001, 8), (10_002, 40)):
        noise = np.convolve(rng.normal(size=80_000), np.ones(smoothing) / smoothing, "same")
        clips.append(
            Clip(
                text="shh",
                speaker=speaker,
                pcm=(4000 * noise).astype(np.int16),
                tokens=rng.integers(0, 1293, 166).astype(np.int16),
                chars=np.zeros(166, np.float16),
            )
        )
    (folder / "shards").mkdir()
    write_shard(folder / "shards" / "speech-0000.npz", clips)
    return folder


def test_refitted_codes_leave_less_of_the_new_sound(vectors: Tensor, rows: Tensor) -> None:
    """A tenth of what the old ones leave, in latents that the codebooks were not fitted to either."""
    new = refit(vectors, rows[:3000], np.random.default_rng(0))
    left = [(rows[3000:] - sum_of_vectors(v, codes_of(v, rows[3000:]))).square().sum() for v in (vectors, new)]
    assert left[1] < 0.1 * left[0]


def test_refitted_codebook_does_not_see_what_it_did_not_see(vectors: Tensor, rows: Tensor) -> None:
    """Coarse codebooks that know no phase learn none."""
    new = refit(vectors, rows, np.random.default_rng(0))
    assert not new[0, :, NUM_SEEN:].any()
    assert new[1, :, NUM_SEEN:].any()


def test_old_places_are_where_new_codes_stand(vectors: Tensor, rows: Tensor) -> None:
    """Codes that changed their numbers are found again; one that is never met keeps its own."""
    numbers = torch.randperm(NUM_CODES, generator=torch.Generator().manual_seed(2))
    places = old_places(vectors, vectors[:, numbers], rows - 3.0)
    assert torch.allclose(places.sum(2), torch.ones(2, NUM_CODES))
    met = torch.isin(numbers, codes_of(vectors, rows - 3.0)[0])
    assert met.any()
    assert torch.equal(places[0].argmax(1)[met], numbers[met])
    nowhere = old_places(vectors, vectors, rows[:1])
    assert torch.allclose(nowhere, torch.eye(NUM_CODES).repeat(2, 1, 1))


def test_refitting_to_the_same_sound_leaves_the_model_as_it_was() -> None:
    """Latents that are the codes' own sums move nothing: tables, codebooks and voices stay."""
    mini = load_checkpoint("mini")
    old = codebooks_of(mini.codec)
    only_first = torch.cat([old[:1], torch.zeros_like(old[1:])])
    codec = dict(mini.codec) | {f"quantizer.vq.layers.{k}._codebook.embed": book for k, book in enumerate(only_first)}
    rows = only_first[0].repeat(3, 1)
    same = with_refitted_codebooks(replace(mini, codec=codec), rows, np.random.default_rng(0))
    torch.testing.assert_close(codebooks_of(same.codec), only_first)
    for name in ("transformer.wte.weight", "lm_head.weight"):
        torch.testing.assert_close(same.coarse[name][:1293], mini.coarse[name][:1293])
        torch.testing.assert_close(same.coarse[name][1293:2317], mini.coarse[name][1293:2317])
    voice = "en_speaker_0"
    np.testing.assert_array_equal(same.voices.get(voice).fine[0], mini.voices.get(voice).fine[0])


def test_refitted_model_speaks_and_its_codec_is_the_workspaces(workspace: Path, tmp_path: Path) -> None:
    """What `train refit` leaves: a model folder that speaks, and codes of the sound by its codebooks."""
    refit_model("mini", workspace, tmp_path / "refitted")
    refitted = load_checkpoint(tmp_path / "refitted")
    kept, fitted = codebooks_of(load_checkpoint("mini").codec), codebooks_of(refitted.codec)
    assert not torch.equal(kept, fitted)
    torch.testing.assert_close(codebooks(workspace), fitted, rtol=1e-3, atol=1e-2)
    encode_workspace(workspace)
    assert len(workspace_streams(workspace)) == 3
    assert len(Bark(refitted).generate("Hello.", voice="en_speaker_0")) > 4000


def test_refitting_leaves_a_codec_that_was_trained_here(workspace: Path, tmp_path: Path) -> None:
    """Hours of training are not written over; what follows uses the refitted codec all the same."""
    copied = tmp_path / "copied"
    shutil.copytree(workspace / "shards", copied / "shards")
    trained = copied / "runs" / "codec" / "checkpoint.pt"
    trained.parent.mkdir(parents=True)
    trained.write_bytes(b"hours")
    refit_model("mini", copied, tmp_path / "refitted")
    assert trained.read_bytes() == b"hours"
    fitted = codebooks_of(load_checkpoint(tmp_path / "refitted").codec)
    torch.testing.assert_close(codebooks(copied), fitted, rtol=1e-3, atol=1e-2)


def test_refitting_beside_a_trained_decoder_is_refused(workspace: Path, tmp_path: Path) -> None:
    """It was trained with other codebooks, and would be taken for the codec of these."""
    (tmp_path / "runs" / "decoder").mkdir(parents=True)
    (tmp_path / "runs" / "decoder" / "checkpoint.pt").touch()
    with pytest.raises(CheckpointError, match="other codebooks"):
        refit_model("mini", tmp_path, tmp_path / "refitted")
