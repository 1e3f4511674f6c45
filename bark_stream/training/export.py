"""From checkpoints of runs to a model folder that the loader reads: config, weights, tokenizer, voices, token
meanings.

A run that is still going can be exported too. Knows no training.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.torch import save_file
from torch import Tensor

from bark_stream.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from bark_stream.checkpoint.folder import ENCODER, VOCABULARY
from bark_stream.checkpoint.models import with_tied_heads, without_tied_heads
from bark_stream.checkpoint.storage import Storage
from bark_stream.config import ModelConfig
from bark_stream.errors import CheckpointError
from bark_stream.training.codec import LOUDNESS, fold_loudness, set_usage
from bark_stream.training.mini import mini_config
from bark_stream.training.run import CHECKPOINT, read_weights
from bark_stream.training.semantic_tokens import SemanticVocabulary, vocabulary_table
from bark_stream.training.stages import RUNS, coarse_run, codec_weights, workspace_streams
from bark_stream.training.streams import Stream
from bark_stream.training.text_tokens import build_tokenizer
from bark_stream.training.voices import VOICES
from bark_stream.voice import Voice, voice_from_codes
from bark_stream.voice_library import library_of

MIN_PROMPT_TOKENS, MAX_PROMPT_TOKENS = 150, 300
"""Length of a voice: three to six seconds."""


def export_mini(workspace: Path, folder: Path, storage: Storage = "int8") -> None:
    """Write the model folder.

    Args:
        workspace: where all parts were trained (see `stages`).
        folder: the model folder; replaced if it holds a model.
    Raises: CheckpointError if a run has no checkpoint.
    """
    config = mini_config()
    runs = workspace / RUNS
    streams = workspace_streams(workspace)
    names = [f"en_speaker_{index}" for index in range(len(VOICES))]
    voices = [_voice(name, speaker, streams, config) for name, speaker in zip(names, VOICES, strict=True)]
    checkpoint = Checkpoint(
        source=str(runs),
        config=config,
        semantic=run_weights(runs / "semantic"),
        coarse=run_weights(coarse_run(workspace)),
        fine=without_tied_heads(run_weights(runs / "fine"), config, str(runs / "fine")),
        codec=set_usage(fold_loudness(codec_weights(workspace)), 1.0),
        tokenizer=build_tokenizer().to_str(),
        voices=library_of(voices, config),
    )
    save_checkpoint(checkpoint, folder, storage)
    table = vocabulary_table(SemanticVocabulary())
    (folder / VOCABULARY).write_text(json.dumps(table, ensure_ascii=False) + "\n", encoding="utf-8")
    if (runs / "semantic_encoder" / CHECKPOINT).exists():
        weights = {name: tensor.half() for name, tensor in run_weights(runs / "semantic_encoder").items()}
        save_file(weights, folder / ENCODER)
        (folder / ENCODER).chmod(0o644)


def run_weights(run: Path) -> dict[str, Tensor]:
    """The weights in a run's checkpoint, without probes.

    Raises: CheckpointError if there is none.
    """
    return {name: tensor for name, tensor in read_weights(run).items() if not name.startswith("probe.")}


def weights_to_start_from(model: str, part: str) -> dict[str, Tensor]:
    """Weights of a finished model, as training takes them.

    Raises: CheckpointError, UnknownModel.
    """
    checkpoint = load_checkpoint(model)
    match part:
        case "codec" | "decoder":
            return codec_to_start_from(checkpoint)
        case "semantic":
            return dict(checkpoint.semantic)
        case "coarse" | "coarse_unconditional" | "coarse_guided":
            return dict(checkpoint.coarse)
        case "fine":
            return with_tied_heads(checkpoint.fine, checkpoint.config)
        case _:
            raise CheckpointError(model, f"cannot be the start of part {part}")


def codec_to_start_from(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """A finished model's codec, as training takes it."""
    return set_usage(fold_loudness(dict(checkpoint.codec), factor=1 / LOUDNESS), 16.0)


def _voice(name: str, speaker: int, streams: list[Stream], config: ModelConfig) -> Voice:
    """A prompt of whole sentences at the end of the speaker's first stream that has some of the right length."""
    for stream in (s for s in streams if s.speaker == speaker):
        ends = [*stream.starts[1:].tolist(), len(stream.semantic)]
        for first in stream.starts.tolist():
            for end in ends:
                if MIN_PROMPT_TOKENS <= end - first <= MAX_PROMPT_TOKENS:
                    return _cut(name, stream, first, end, config)
    raise CheckpointError(name, "no stream of this speaker has sentences of the right length")


def _cut(name: str, stream: Stream, first: int, end: int, config: ModelConfig) -> Voice:
    ratio = config.frames_per_semantic
    num_frames = int(np.floor((end - first) * ratio))
    first_frame = min(round(first * ratio), stream.codes.shape[1] - num_frames)
    codes = stream.codes[:, first_frame : first_frame + num_frames]
    return voice_from_codes(name, stream.semantic[first:end], codes, config)
