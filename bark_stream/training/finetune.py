"""Fine-tuning: any Bark, and a folder of recordings with texts -> a model folder that speaks like them.

Goes on where it was stopped: recordings that were heard are kept, and each stage is a run with checkpoints. LoRA by
default, all weights if asked for; on whatever device.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor, nn

from bark_stream.audio_file import read_audio
from bark_stream.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from bark_stream.checkpoint.models import new_fine_model, with_tied_heads
from bark_stream.checkpoint.storage import Storage
from bark_stream.cloning.clone import encoder_of, tokens_and_codes
from bark_stream.cloning.encoder import SemanticTokenizer
from bark_stream.codec import Codec
from bark_stream.errors import ConfigError
from bark_stream.text import TextEncoder
from bark_stream.training.finetune_losses import FinetuneBatch, FinetuneLosses, Heard
from bark_stream.training.lora import add_adapters, fold_adapters
from bark_stream.training.pairs import read_metadata
from bark_stream.training.run import Progress, RunConfig, train
from bark_stream.training.transcript import WordGuide
from bark_stream.transformer import CausalGPT, FineGPT
from bark_stream.whole_file import whole_file

Stage = Literal["semantic", "coarse", "fine"]
STAGES: tuple[Stage, ...] = ("semantic", "coarse", "fine")
HEARD, RUNS = "heard", "finetune"


@dataclass(frozen=True, kw_only=True, slots=True)
class FinetuneConfig:
    num_steps: int = 500
    """Of each stage."""
    rank: int | None = 16
    """Of the adapters; None: all weights learn."""
    learning_rate: float = 1e-3
    device: str = "cpu"
    stages: tuple[Stage, ...] = STAGES
    storage: Storage = "float32"
    batch: FinetuneBatch = field(default_factory=FinetuneBatch)
    seed: int = 1

    def __post_init__(self) -> None:
        if self.num_steps < 1:
            raise ConfigError("num_steps", "must be at least 1")
        if self.rank is not None and self.rank < 1:
            raise ConfigError("rank", "must be at least 1")


def finetune(
    model: str | Path | Checkpoint,
    recordings: Path,
    workspace: Path,
    output: Path,
    config: FinetuneConfig,
    *,
    encoder: SemanticTokenizer | None = None,
    on_progress: Callable[[Stage, Progress], None] = lambda stage, progress: None,
) -> None:
    """Fine-tune, then write the new model.

    Args:
        recordings: holds wavs and `metadata.txt`: `wav|text` a line.
        workspace: gets what was heard and the runs; the same one goes on.
        output: model folder.
        encoder: what names the semantic tokens; the model's own, or HuBERT, without it.
    Raises: ConfigError for bad metadata or a device that is not there; BadAudio; CheckpointError.
    """
    device = _device(config.device)
    checkpoint = model if isinstance(model, Checkpoint) else load_checkpoint(model)
    heard = hear(checkpoint, recordings, workspace / HEARD, encoder)
    losses = FinetuneLosses(heard, checkpoint.config, device, config.batch)
    learned = {
        stage: _train(stage, checkpoint, losses, workspace / RUNS / stage, config, device, on_progress)
        for stage in config.stages
    }
    # The old voices would pull the new speaker towards them.
    changed = replace(checkpoint.config, default_voice=None)
    save_checkpoint(replace(checkpoint, config=changed, **cast(Any, learned)), output, config.storage)


def hear(
    checkpoint: Checkpoint, recordings: Path, folder: Path, encoder: SemanticTokenizer | None = None
) -> list[Heard]:
    """Every recording as tokens; those that were heard before are read from the folder.

    Raises: ConfigError for bad or empty metadata; BadAudio, EmptyText, TextTooLong, CheckpointError, OutputError.
    """
    pairs = list(read_metadata(recordings))
    if not pairs:
        raise ConfigError(str(recordings), "lists no recordings")
    folder.mkdir(parents=True, exist_ok=True)
    text = TextEncoder(checkpoint.tokenizer, checkpoint.config.semantic)
    codec = Codec(checkpoint.config.codec, checkpoint.codec, source=checkpoint.source)
    guide: WordGuide | None = None
    heard = []
    for path, words in pairs:
        kept = folder / f"{_digest(checkpoint, path, words)}.npz"
        if not kept.exists():
            encoder = encoder or encoder_of(checkpoint)
            guide = guide or WordGuide(checkpoint)
            choose = partial(guide.tokens, text=words)
            semantic, codes = tokens_and_codes(*read_audio(path), checkpoint.config, codec, encoder, choose)
            with whole_file(kept) as file:
                np.savez(file, semantic=semantic, codes=codes)
        with np.load(kept, allow_pickle=False) as arrays:
            tokens = np.array(text.encode_padded(words), dtype=np.int64)
            heard.append(Heard(tokens, arrays["semantic"], arrays["codes"]))
    return heard


def _digest(checkpoint: Checkpoint, path: Path, words: str) -> str:
    """Names what a model heard of these words in a sound."""
    named = f"{checkpoint.config.name}\n{words}\n".encode()
    return hashlib.sha256(named + path.read_bytes()).hexdigest()[:32]


def _train(
    stage: Stage,
    checkpoint: Checkpoint,
    losses: FinetuneLosses,
    run: Path,
    config: FinetuneConfig,
    device: torch.device,
    on_progress: Callable[[Stage, Progress], None],
) -> dict[str, Tensor]:
    """One stage's weights after its run."""
    torch.manual_seed(config.seed)
    model = _fresh(stage, checkpoint).to(device)
    step = {
        "semantic": lambda n, rng: losses.semantic(cast(CausalGPT, model), rng),
        "coarse": lambda n, rng: losses.coarse(cast(CausalGPT, model), rng),
        "fine": lambda n, rng: losses.fine(cast(FineGPT, model), rng),
    }[stage]
    pace = RunConfig(
        num_steps=config.num_steps,
        learning_rate=config.learning_rate,
        warmup_steps=min(20, config.num_steps),
        weight_decay=0.0,
        with_muon=False,
        seed=config.seed,
    )
    trained = model if config.rank is None else add_adapters(model, config.rank)
    train(trained, step, run, pace, on_progress=lambda progress: on_progress(stage, progress))
    fold_adapters(model)
    weights = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
    before: Mapping[str, Tensor] = getattr(checkpoint, stage)
    return {name: weights[name] for name in before}


def _fresh(stage: Stage, checkpoint: Checkpoint) -> nn.Module:
    """A copy of one stage, to be changed."""
    config = checkpoint.config
    model: nn.Module
    if stage == "fine":
        model = new_fine_model(config)
        model.load_state_dict(with_tied_heads(checkpoint.fine, config))
        return model
    model = CausalGPT(getattr(config, stage).transformer)
    model.load_state_dict(dict(getattr(checkpoint, stage)))
    return model


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as exc:
        raise ConfigError("device", f"{name} is not there: {str(exc).splitlines()[0]}") from exc
    return device
