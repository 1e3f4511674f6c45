"""Codebooks of a finished model fitted anew to other sound, and all that names codes told who took whose place.

Coarse codes blur what their codebooks were not fitted to, and no later stage brings it back: refitting them to the
voices that a model is to have was worth more than any training on these voices (EXPERIMENTS). Codes keep their places
as far as they can, so the stages go on from where they are. Knows no losses.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bark_stream.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from bark_stream.checkpoint.checkpoint import StateDict
from bark_stream.checkpoint.storage import Storage
from bark_stream.config import ModelConfig
from bark_stream.errors import CheckpointError
from bark_stream.training.coarse import codebook_rows
from bark_stream.training.codec import (
    LOUDNESS,
    CodecModel,
    codebooks_of,
    moved_centres,
    nearest,
    sum_of_vectors,
    with_codebooks,
)
from bark_stream.training.export import codec_to_start_from
from bark_stream.training.run import CHECKPOINT, write_checkpoint
from bark_stream.training.shards import Clip
from bark_stream.training.stages import RUNS, SPLIT, sound_clips
from bark_stream.training.streams import shares, sound_of_tokens
from bark_stream.voice import Voice, voice_from_codes
from bark_stream.voice_library import library_of

REFIT_FRAMES = 100_000
"""Sound that codebooks are fitted to: a hundred frames for each code."""
OWN_PLACE = 1e-3
"""Meetings that a code counts as having had in its own place, so that one that is never met keeps it."""


def refit_model(model: str, workspace: Path, folder: Path, storage: Storage = "int8", seed: int = 1) -> None:
    """Write the model with codebooks fitted to the workspace's sound; its codec becomes the workspace's.

    Args: folder: the new model's; the stages go on from it (`train coarse --from`), and it speaks already.
    Raises: CheckpointError if there is no sound, or the workspace has a decoder for other codebooks; UnknownModel;
        OutputError.
    """
    runs = workspace / RUNS
    if (runs / "decoder" / CHECKPOINT).exists():
        raise CheckpointError(str(runs / "decoder"), "was trained with other codebooks; take a new workspace")
    checkpoint = load_checkpoint(model)
    codec = CodecModel(checkpoint.config.codec.num_filters)
    codec.load_state_dict(codec.state_dict() | codec_to_start_from(checkpoint))
    rng = np.random.default_rng(seed)
    refitted = with_refitted_codebooks(checkpoint, _latents(codec.eval(), sound_clips(workspace), rng), rng)
    save_checkpoint(refitted, folder, storage)
    # Where `split` leaves its own: what follows uses that codec, and one that was trained here stays as it is.
    run = runs / SPLIT
    run.mkdir(parents=True, exist_ok=True)
    write_checkpoint({"model": codec.state_dict() | codec_to_start_from(refitted)}, run)


def with_refitted_codebooks(checkpoint: Checkpoint, rows: Tensor, rng: np.random.Generator) -> Checkpoint:
    """The same model with codebooks fitted to latents [M, D]: the stages' tables and the voices say the new codes."""
    config = checkpoint.config
    old = codebooks_of(checkpoint.codec)
    new = refit(old, rows, rng)
    places = old_places(old, new, rows)
    voices = [_said_anew(checkpoint.voices.get(name), old, new, config) for name in checkpoint.voices.names()]
    return replace(
        checkpoint,
        coarse=_coarse_tables(checkpoint.coarse, places, config),
        fine=_fine_tables(checkpoint.fine, places),
        codec=with_codebooks(dict(checkpoint.codec), new, usage=1.0),
        voices=library_of(voices, config),
    )


def refit(vectors: Tensor, rows: Tensor, rng: np.random.Generator) -> Tensor:
    """Code vectors moved to where latents are, codebook after codebook; what a codebook does not see stays unseen.

    Args:
        vectors: [K, N, D] as they are.
        rows: [M, D] latents.
    Returns: [K, N, D].
    """
    moved, residual = [], rows
    for book in vectors:
        seen = book.abs().sum(0) > 0
        new = torch.zeros_like(book)
        new[:, seen] = moved_centres(book[:, seen], residual[:, seen].contiguous(), rng)
        residual = residual - new[nearest(residual, new)]
        moved.append(new)
    return torch.stack(moved)


def codes_of(vectors: Tensor, rows: Tensor) -> Tensor:
    """[K, N, D] code vectors, [M, D] latents -> [K, M] int64, each codebook's of what the ones before leave."""
    codes, residual = [], rows
    for book in vectors:
        codes.append(nearest(residual, book))
        residual = residual - book[codes[-1]]
    return torch.stack(codes)


def old_places(old: Tensor, new: Tensor, rows: Tensor) -> Tensor:
    """Which old codes stood where a new one stands now.

    Args:
        old, new: [K, N, D].
        rows: [M, D] latents.
    Returns: [K, N, N] share of each old code, by new code.
    """
    num_codes = old.shape[1]
    counts = OWN_PLACE * torch.eye(num_codes).repeat(len(old), 1, 1)
    for counted, before, now in zip(counts, codes_of(old, rows), codes_of(new, rows), strict=True):
        counted.view(-1).index_add_(0, now * num_codes + before, torch.ones(len(rows)))
    return counts / counts.sum(2, keepdim=True)


def _latents(codec: CodecModel, clips: list[Clip], rng: np.random.Generator) -> Tensor:
    """[REFIT_FRAMES or less, D] of clips drawn as the stages hear them: every voice alike."""
    weights = shares(clips, np.array([len(clip.tokens) for clip in clips], np.float64))
    latents: list[Tensor] = []
    for number in rng.choice(len(clips), np.count_nonzero(weights), replace=False, p=weights):
        sound = torch.from_numpy(sound_of_tokens(clips[number]).astype(np.float32) / 32768.0 * LOUDNESS)
        with torch.inference_mode():
            latents.append(codec.encoder(sound[None, None])[0].T)
        if sum(map(len, latents)) >= REFIT_FRAMES:
            break
    return torch.cat(latents)[:REFIT_FRAMES].clone()


def _coarse_tables(weights: StateDict, places: Tensor, config: ModelConfig) -> dict[str, Tensor]:
    """Codes follow the semantic tokens, codebook after codebook, in what is read and in what is drawn."""
    changed = dict(weights)
    for name in ("transformer.wte.weight", "lm_head.weight"):
        for codebook in range(config.coarse.num_codebooks):
            changed[name] = _with_means(changed[name], places[codebook], codebook_rows(config, codebook).start)
    return changed


def _fine_tables(weights: StateDict, places: Tensor) -> dict[str, Tensor]:
    """A table for each codebook; what is drawn is tied to what is read."""
    changed = dict(weights)
    for codebook, shares_of_old in enumerate(places):
        name = f"transformer.wtes.{codebook}.weight"
        changed[name] = _with_means(changed[name], shares_of_old, 0)
    return changed


def _with_means(table: Tensor, shares_of_old: Tensor, first: int) -> Tensor:
    """[V, C] whose rows of codes, from `first` on, are the means of those that stood there before: shares [N, N]."""
    rows = slice(first, first + len(shares_of_old))
    changed = table.clone()
    changed[rows] = shares_of_old @ table[rows]
    return changed


def _said_anew(voice: Voice, old: Tensor, new: Tensor, config: ModelConfig) -> Voice:
    """The same voice in the codes of the latents that its old ones stood for."""
    latents = sum_of_vectors(old, torch.from_numpy(np.array(voice.fine)))
    return voice_from_codes(voice.name, voice.semantic, codes_of(new, latents).numpy(), config, voice.provenance)
