"""Promises of `bark_stream.benchmark`: equal work, honest underruns, the other implementation on the same weights."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import torch

from bark_stream.bark import Bark
from bark_stream.benchmark import machine
from bark_stream.benchmark.alone import measure_alone
from bark_stream.benchmark.roofline import coarse_weight_bytes, plain_bytes_per_s
from bark_stream.benchmark.together import _Listener, measure_together
from bark_stream.benchmark.transformers_bark import bark_model, measure_transformers
from bark_stream.benchmark.workload import endless
from bark_stream.checkpoint import Checkpoint, load_checkpoint, random_checkpoint, save_checkpoint
from bark_stream.checkpoint.storage import StoredWeights
from bark_stream.cli import main
from bark_stream.config import ChunkPolicy


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return endless(random_checkpoint("tiny", seed=3))


@pytest.fixture(scope="module")
def bark(checkpoint: Checkpoint) -> Bark:
    return Bark(checkpoint, num_slots=2)


@pytest.mark.parametrize("policy", [ChunkPolicy.realtime(), ChunkPolicy.reference()])
def test_alone_speaks_as_long_as_it_is_told(bark: Bark, policy: ChunkPolicy) -> None:
    """Whatever a model would say, every run is the same amount of audio, and every stage is accounted for."""
    figures = measure_alone(bark, policy, seconds=0.8, num_runs=1)
    assert figures.audio_s == pytest.approx(0.8, abs=0.03)
    assert set(figures.tokens_per_s) == {"semantic", "coarse", "fine", "codec"}
    assert sum(figures.share.values()) == pytest.approx(1)
    assert 0 < figures.ttfa_p50_ms <= figures.ttfa_p99_ms


def test_together_counts_every_stream(bark: Bark) -> None:
    """All streams finish."""
    figures = measure_together(bark, ChunkPolicy.realtime(), num_streams=2, seconds=0.5, num_sentences=1, spread_s=0.0)
    assert figures.num_streams == 2
    assert figures.num_chunks >= 4
    assert figures.num_underruns <= figures.num_late <= figures.num_chunks
    assert set(figures.mean_batch) == {"semantic", "coarse"}


def test_together_underrun_is_a_chunk_after_its_time() -> None:
    """Playback starts 80 ms after the first packet; whoever runs dry waits and plays on: a chunk as late as the one
    before is another chunk that came late, and not another underrun.
    """
    chunks = [(10.2, 0.0, 0.5), (10.7, 0.5, 0.5), (11.5, 1.0, 0.5), (12.0, 1.5, 0.5), (12.6, 2.0, 0.5)]
    listener = _Listener(asked_s=10.0, chunks=chunks)
    assert listener.ttfa_ms == pytest.approx(200)
    playout = listener.playout()
    assert (playout.num_underruns, playout.num_late) == (2, 3)
    assert (playout.worst_s, playout.waited_s) == (pytest.approx(0.22), pytest.approx(0.32))


def test_roofline_counts_what_a_step_reads(checkpoint: Checkpoint) -> None:
    """Twelve squares a layer and one codebook's rows of the head, at the precision's width."""
    expected = 2 * 12 * 32**2 + 64 * 32
    assert coarse_weight_bytes(checkpoint.config, "int8") == expected
    assert coarse_weight_bytes(checkpoint.config, "float32") == 4 * expected
    assert plain_bytes_per_s(1 << 22, num_loops=2) > 1e6


def test_endless_keeps_weights_as_they_are_stored(tmp_path: Path) -> None:
    """A model in int8 is measured in its own bytes, without copies of its stages; only rows of two heads differ."""
    folder = tmp_path / "tiny"
    save_checkpoint(random_checkpoint("tiny", seed=3), folder, "int8")
    stored, changed = load_checkpoint(folder), endless(load_checkpoint(folder))
    for before, after in ((stored.semantic, changed.semantic), (stored.coarse, changed.coarse)):
        assert isinstance(after, StoredWeights)
        assert set(after) == set(before)
        assert after.int8("lm_head.weight") is not None
        different = [name for name in before if not torch.equal(before[name], after[name])]
        assert different == ["lm_head.weight"]
    end = stored.config.semantic.pad_token
    heads = [checkpoint.semantic["lm_head.weight"] for checkpoint in (stored, changed)]
    assert torch.equal(heads[0][:end], heads[1][:end])
    torch.testing.assert_close(heads[1][end], heads[0][:2].mean(0), atol=0.01, rtol=0)


def test_transformers_model_has_our_weights(checkpoint: Checkpoint) -> None:
    """Every weight of BarkModel is ours, and it speaks the same length."""
    model = bark_model(checkpoint)
    torch.testing.assert_close(model.coarse_acoustics.lm_head.weight, checkpoint.coarse["lm_head.weight"])
    torch.testing.assert_close(model.fine_acoustics.lm_heads[6].weight, checkpoint.fine["transformer.wtes.7.weight"])
    figures = measure_transformers(checkpoint, seconds=0.4)
    assert figures.audio_s == pytest.approx(0.4, abs=0.03)
    assert figures.rtf > 0


def test_machine_names_the_commit_if_there_is_one(tmp_path: Path) -> None:
    """A checkout is named by its commit, with a plus if it was changed; anything else is unknown."""
    assert machine._commit(tmp_path) == "unknown"
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    (tmp_path / "file").write_text("1")
    for arguments in (["init", "-q"], ["add", "file"], ["commit", "-q", "-m", "one"]):
        subprocess.run([*git, *arguments], check=True)
    commit = machine._commit(tmp_path)
    assert len(commit) >= 7
    (tmp_path / "file").write_text("2")
    assert machine._commit(tmp_path) == f"{commit}+"


def test_bench_command_writes_figures_and_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One command: a table on stdout, the same as JSON, and a picture."""
    save_checkpoint(random_checkpoint("tiny", seed=3), tmp_path / "tiny", "int8")
    options = [
        "--seconds",
        "0.4",
        "--runs",
        "1",
        "--streams",
        "2",
        "--json",
        "out/figures.json",
        "--plot",
        "out/it.svg",
    ]
    options = [str(tmp_path / option) if option.startswith("out/") else option for option in options]
    assert main(["bench", "--model", str(tmp_path / "tiny"), *options]) == 0
    assert "underruns" in capsys.readouterr().out
    figures = json.loads((tmp_path / "out/figures.json").read_text())
    assert figures["precision"] == "int8"
    assert figures["together"][0]["num_streams"] == 2
    assert (tmp_path / "out/it.svg").read_text().startswith("<?xml")


def test_bench_command_refuses_nonsense(capsys: pytest.CaptureFixture[str]) -> None:
    """Zero streams, seconds or runs cannot be measured."""
    assert main(["bench", "--seconds", "0"]) == 2
    assert "--seconds" in capsys.readouterr().err
