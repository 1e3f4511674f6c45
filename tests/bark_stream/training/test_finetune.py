"""Fine-tuning: any model and a few recordings become a folder that loads; interrupted runs go on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from counting_ear import CountingEar
from torch import nn

from bark_stream.audio_file import AudioWriter, read_audio
from bark_stream.bark import Bark
from bark_stream.checkpoint import Checkpoint, load_checkpoint
from bark_stream.errors import ConfigError
from bark_stream.training.finetune import FinetuneConfig, finetune, hear
from bark_stream.training.finetune_losses import FinetuneBatch
from bark_stream.training.lora import add_adapters, fold_adapters

SAMPLES = Path(__file__).parents[2] / "samples"
SHORT = FinetuneConfig(num_steps=2, rank=2, batch=FinetuneBatch(num_rows=1, fine_frames=32))


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    folder = tmp_path / "recordings"
    folder.mkdir()
    for name in ("woman", "man"):
        pcm, rate_hz = read_audio(SAMPLES / f"{name}.ogg")
        with AudioWriter(folder / f"{name}.wav", rate_hz) as writer:
            writer.write(pcm[:rate_hz])
    (folder / "metadata.txt").write_text("woman.wav|Hello there.\nman.wav|And to you.\n")
    return folder


@pytest.mark.parametrize("rank", [2, None])
def test_finetune_writes_a_model_that_loads(
    tiny_checkpoint: Checkpoint, recordings: Path, tmp_path: Path, rank: int | None
) -> None:
    """Adapters or all weights: every stage has learned, and the folder speaks."""
    config = replace(SHORT, rank=rank)
    finetune(tiny_checkpoint, recordings, tmp_path / "work", tmp_path / "model", config, encoder=CountingEar())
    made = load_checkpoint(tmp_path / "model")
    for stage in ("semantic", "coarse", "fine"):
        before, after = getattr(tiny_checkpoint, stage), getattr(made, stage)
        changed = {name for name in before if not torch.equal(before[name], after[name])}
        assert any("c_attn" in name for name in changed)
        assert any("wte" in name for name in changed) == (rank is None)
    assert made.config.default_voice is None
    assert Bark(made).synthesize("Hm.", max_s=0.3).audio_s == pytest.approx(0.3, abs=0.05)


def test_finetune_goes_on_where_it_was_stopped(tiny_checkpoint: Checkpoint, recordings: Path, tmp_path: Path) -> None:
    """What was heard is not heard again; a run that was stopped ends like one that was not."""
    ear = CountingEar()
    stopped = replace(SHORT, num_steps=1)

    def run(config: FinetuneConfig, work: str, output: str) -> Checkpoint:
        finetune(tiny_checkpoint, recordings, tmp_path / work, tmp_path / output, config, encoder=ear)
        return load_checkpoint(tmp_path / output)

    run(replace(stopped, stages=("coarse",)), "work", "half")
    assert ear.num_heard == 2
    resumed = run(replace(SHORT, stages=("coarse",)), "work", "whole")
    assert ear.num_heard == 2
    assert any(not torch.equal(resumed.coarse[name], tiny_checkpoint.coarse[name]) for name in resumed.coarse)
    assert all(torch.equal(resumed.fine[name], tiny_checkpoint.fine[name]) for name in resumed.fine)
    curve = (tmp_path / "work" / "finetune" / "coarse" / "loss.jsonl").read_text()
    assert curve.count('"step": 2') == 1


def test_adapters_change_nothing_until_they_learn_and_fold_into_the_weights() -> None:
    """The first step starts from the model itself, and the folded model says what the adapted one did."""
    torch.manual_seed(0)
    model = nn.Sequential()
    model.add_module("c_fc", nn.Linear(6, 4))
    x = torch.randn(3, 6)
    before = model(x)
    adapters = add_adapters(model, rank=2)
    assert torch.equal(model(x), before)
    assert {name for name, p in model.named_parameters() if p.requires_grad} == {
        "c_fc.parametrizations.weight.0.down",
        "c_fc.parametrizations.weight.0.up",
    }
    with torch.no_grad():
        for parameter in adapters.parameters():
            parameter.add_(0.1)
    adapted = model(x)
    fold_adapters(model)
    assert set(model.state_dict()) == {"c_fc.weight", "c_fc.bias"}
    assert torch.allclose(model(x), adapted, atol=1e-6)


def test_hear_listens_again_when_a_text_was_corrected(
    tiny_checkpoint: Checkpoint, recordings: Path, tmp_path: Path
) -> None:
    """Tokens are named with the words, so other words are another recording; the rest is kept."""
    ear = CountingEar()
    hear(tiny_checkpoint, recordings, tmp_path / "heard", ear)
    (recordings / "metadata.txt").write_text("woman.wav|Hello there.\nman.wav|And to you all.\n")
    hear(tiny_checkpoint, recordings, tmp_path / "heard", ear)
    assert ear.num_heard == 3


def test_hear_refuses_what_it_cannot_use(tiny_checkpoint: Checkpoint, recordings: Path, tmp_path: Path) -> None:
    """Lines without a text, and a folder without lines."""
    (recordings / "metadata.txt").write_text("woman.wav|\n")
    with pytest.raises(ConfigError, match=r"metadata\.txt:1"):
        hear(tiny_checkpoint, recordings, tmp_path / "heard", CountingEar())
    (recordings / "metadata.txt").write_text("\n")
    with pytest.raises(ConfigError, match="lists no recordings"):
        hear(tiny_checkpoint, recordings, tmp_path / "heard", CountingEar())


def test_finetune_config_refuses_nonsense(tiny_checkpoint: Checkpoint, recordings: Path, tmp_path: Path) -> None:
    """No steps, no rank, no such device."""
    for wrong in ({"num_steps": 0}, {"rank": 0}):
        with pytest.raises(ConfigError):
            FinetuneConfig(**wrong)
    with pytest.raises(ConfigError, match="device"):
        finetune(
            tiny_checkpoint,
            recordings,
            tmp_path,
            tmp_path / "m",
            replace(SHORT, device="cuda:7"),
            encoder=CountingEar(),
        )
