"""A training run can be killed at any step, and learns."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bark_stream.errors import ConfigError
from bark_stream.training.run import CHECKPOINT, CURVE, PLOT, Progress, RunConfig, learning_rate, train


def _task(model: nn.Linear) -> object:
    def step(number: int, rng: np.random.Generator) -> dict[str, Tensor]:
        x = torch.from_numpy(rng.normal(size=(8, 4)).astype(np.float32)) + 0.01 * torch.randn(8, 4)
        return {"loss": ((model(x) - x.sum(1, keepdim=True)) ** 2).mean()}

    return step


def _model() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(4, 1)


PACE = RunConfig(num_steps=40, learning_rate=0.05, warmup_steps=5, log_every_steps=5)


def test_train_when_stopped_and_resumed_gives_the_same_weights(tmp_path: Path) -> None:
    """A run stopped after every few steps ends with exactly the weights of one that was not."""
    whole = _model()
    train(whole, _task(whole), tmp_path / "whole", PACE)
    for _ in range(4):
        part = _model()
        train(part, _task(part), tmp_path / "parts", PACE, stop_after=13)
    assert torch.equal(whole.weight, part.weight)
    assert (tmp_path / "whole" / CURVE).read_text().count("\n") >= 8


def test_train_when_killed_between_checkpoints_repeats_the_lost_steps(tmp_path: Path) -> None:
    """Points of the curve that no checkpoint covers are taken out, and made again."""
    model = _model()
    train(model, _task(model), tmp_path, PACE, stop_after=20)
    with (tmp_path / CURVE).open("a") as file:
        file.write('{"step": 25, "loss": 1.0}\n')
    (tmp_path / ("." + CHECKPOINT + ".part")).write_bytes(b"half a checkpoint")
    resumed = _model()
    assert train(resumed, _task(resumed), tmp_path, PACE) == 40
    steps = [int(line.split('"step": ')[1].split(",")[0]) for line in (tmp_path / CURVE).read_text().splitlines()]
    assert steps == sorted(set(steps))


def test_train_to_its_end_draws_the_curve_and_learns(tmp_path: Path) -> None:
    """The loss falls, progress is told, and a picture of the curve is left."""
    model, told = _model(), []
    train(model, _task(model), tmp_path, PACE, on_progress=told.append)
    assert told[-1].losses["loss"] < 0.2 * told[0].losses["loss"]
    assert (tmp_path / PLOT).read_text().lstrip().startswith("<?xml")


def test_train_in_bfloat16_keeps_weights_in_float32_and_learns(tmp_path: Path) -> None:
    """Only products of matrices are rounded: the result differs from float32's, and the loss falls as far."""
    exact, rounded = _model(), _model()
    train(exact, _task(exact), tmp_path / "exact", PACE)
    told: list[Progress] = []
    pace = dataclasses.replace(PACE, in_bfloat16=True)
    train(rounded, _task(rounded), tmp_path / "rounded", pace, on_progress=told.append)
    assert rounded.weight.dtype == torch.float32
    assert not torch.equal(exact.weight, rounded.weight)
    assert told[-1].losses["loss"] < 0.2 * told[0].losses["loss"]


def test_learning_rate_rises_then_falls_to_its_end() -> None:
    """Warm-up is linear, the end is `final_rate` of the peak."""
    assert learning_rate(0, PACE) == pytest.approx(0.01)
    assert learning_rate(5, PACE) == pytest.approx(0.05)
    assert learning_rate(40, PACE) == pytest.approx(0.05 * PACE.final_rate)


def test_run_config_without_steps_is_refused() -> None:
    """A run of no steps is a mistake."""
    with pytest.raises(ConfigError, match="num_steps"):
        RunConfig(num_steps=0, learning_rate=0.1)
