"""One training run: steps, checkpoints that survive a kill at any moment, a loss curve.

A step may depend only on its number, the weights and the optimiser, so a run that was killed and resumed ends
with the same weights as one that was not. Knows no model.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bark_stream.errors import CheckpointError, ConfigError
from bark_stream.training.muon import Muon, is_hidden_matrix

CHECKPOINT = "checkpoint.pt"
CURVE = "loss.jsonl"
PLOT = "loss.svg"


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    """How long and how fast a run learns."""

    num_steps: int
    """Steps of the whole run; the learning rate reaches its end there."""
    learning_rate: float
    """Peak of the learning rate."""
    warmup_steps: int = 100
    """Steps of linear rise."""
    final_rate: float = 0.05
    """Learning rate at the end, as a part of the peak."""
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    """Largest norm of the gradient."""
    save_every_s: float = 60.0
    """Seconds between checkpoints."""
    log_every_steps: int = 10
    """Steps between points of the curve."""
    with_muon: bool = True
    """Muon moves hidden matrices and AdamW the rest; without it AdamW moves all."""
    in_bfloat16: bool = False
    """Products of matrices in bfloat16; weights and what the optimiser keeps stay float32."""
    seed: int = 1

    def __post_init__(self) -> None:
        if self.num_steps < 1:
            raise ConfigError("num_steps", "must be at least 1")
        if not 0 < self.learning_rate < 1:
            raise ConfigError("learning_rate", "must lie between 0 and 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """Where a run stands, for a progress bar."""

    step: int
    num_steps: int
    losses: dict[str, float]
    """Means since the last report."""
    seconds_per_step: float


StepFunction = Callable[[int, np.random.Generator], dict[str, Tensor]]
"""Losses of one step by name; "loss" is the one that is minimised."""


def train(
    model: nn.Module,
    step: StepFunction,
    folder: Path,
    config: RunConfig,
    *,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    stop_after: int | None = None,
) -> int:
    """Train until `config.num_steps`, from the folder's checkpoint if it holds one.

    Args:
        model: what is trained and saved; updated in place.
        step: losses of step n; draws only from the generator it is given.
        folder: gets `checkpoint.pt`, `loss.jsonl` and `loss.svg`.
        stop_after: leave early, with a checkpoint, after this many steps of this call.
    Returns: the number of steps the run has done in all.
    """
    folder.mkdir(parents=True, exist_ok=True)
    optimiser = _optimiser(model, config)
    done = resume(model, optimiser, folder)
    first, saved_at, since = done, time.monotonic(), time.monotonic()
    sums: dict[str, float] = {}
    counted = 0
    model.train()
    while done < config.num_steps and (stop_after is None or done - first < stop_after):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(done, config)
        torch.manual_seed(config.seed * 1_000_003 + done)
        with torch.autocast("cpu", torch.bfloat16, enabled=config.in_bfloat16):
            losses = step(done, np.random.default_rng([config.seed, done]))
        optimiser.zero_grad(set_to_none=True)
        losses["loss"].backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        if torch.isfinite(norm):
            optimiser.step()
        done += 1
        counted += 1
        for name, value in losses.items():
            sums[name] = sums.get(name, 0.0) + float(value.detach())
        if done % config.log_every_steps == 0 or done == config.num_steps:
            now = time.monotonic()
            means = {name: value / counted for name, value in sums.items()}
            seconds = (now - since) / counted
            _append(folder / CURVE, {"step": done, "seconds_per_step": round(seconds, 4), **means})
            on_progress(Progress(step=done, num_steps=config.num_steps, losses=means, seconds_per_step=seconds))
            sums, counted, since = {}, 0, now
        if time.monotonic() - saved_at > config.save_every_s:
            save(model, optimiser, done, folder)
            saved_at = time.monotonic()
    save(model, optimiser, done, folder)
    plot(folder)
    return done


def learning_rate(step: int, config: RunConfig) -> float:
    """Linear rise, then a cosine down to `final_rate`."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    part = (step - config.warmup_steps) / max(1, config.num_steps - config.warmup_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, part)))
    return config.learning_rate * (config.final_rate + (1 - config.final_rate) * cosine)


def save(model: nn.Module, optimiser: torch.optim.Optimizer, step: int, folder: Path) -> None:
    """Write what a run goes on from."""
    write_checkpoint({"step": step, "model": model.state_dict(), "optimiser": optimiser.state_dict()}, folder)


def write_checkpoint(contents: Mapping[str, Any], folder: Path) -> None:
    """The folder's checkpoint, written whole or not at all."""
    partial = folder / ("." + CHECKPOINT + ".part")
    torch.save(dict(contents), partial)
    os.replace(partial, folder / CHECKPOINT)


def read_weights(folder: Path) -> dict[str, Tensor]:
    """The weights in the folder's checkpoint. Raises: CheckpointError if there is none."""
    path = folder / CHECKPOINT
    if not path.exists():
        raise CheckpointError(str(path), "does not exist; train this part first")
    weights: dict[str, Tensor] = torch.load(path, weights_only=True, map_location="cpu")["model"]
    return weights


def resume(model: nn.Module, optimiser: torch.optim.Optimizer | None, folder: Path) -> int:
    """Load the folder's checkpoint, if there is one.

    Returns: the steps done so far; 0 without a checkpoint.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        return 0
    checkpoint: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    model.load_state_dict(checkpoint["model"])
    if optimiser is not None:
        optimiser.load_state_dict(checkpoint["optimiser"])
    _forget_after(folder / CURVE, int(checkpoint["step"]))
    return int(checkpoint["step"])


def plot(folder: Path) -> None:
    """Draw the loss curve."""
    from matplotlib.figure import Figure

    rows = [json.loads(line) for line in (folder / CURVE).read_text("utf-8").splitlines()]
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for name in (n for n in rows[-1] if n not in ("step", "seconds_per_step")):
        axes.plot([r["step"] for r in rows if name in r], [r[name] for r in rows if name in r], label=name)
    axes.set_xlabel("step")
    axes.set_yscale("log")
    axes.legend()
    figure.savefig(folder / PLOT)


def _optimiser(model: nn.Module, config: RunConfig) -> torch.optim.Optimizer:
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    return Muon(
        [p for name, p in named if config.with_muon and is_hidden_matrix(name, p)],
        [p for name, p in named if not (config.with_muon and is_hidden_matrix(name, p))],
        lr=config.learning_rate,
        betas=config.betas,
        weight_decay=config.weight_decay,
    )


def _append(path: Path, row: dict[str, float]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def _forget_after(path: Path, step: int) -> None:
    """Take out points of the curve that a kill left behind without their weights."""
    if not path.exists():
        return
    lines = path.read_text("utf-8").splitlines()
    kept = [line for line in lines if line and json.loads(line)["step"] <= step]
    if len(kept) != len(lines):
        path.write_text("".join(line + "\n" for line in kept), "utf-8")
