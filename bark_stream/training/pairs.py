"""A folder of recordings with texts -> shards, for fine-tuning: an existing model's encoders name the tokens.

`metadata.txt` holds one `wav|text` a line, paths relative to it. Recordings have no alignment, so the semantic
stage learns from them without its guide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from bark_stream.audio_file import read_audio
from bark_stream.checkpoint import load_checkpoint
from bark_stream.cloning.clone import encoder_of
from bark_stream.errors import ConfigError
from bark_stream.resample import resample
from bark_stream.training.codec import SAMPLE_RATE_HZ
from bark_stream.training.shards import Clip, write_shard
from bark_stream.training.transcript import WordGuide

METADATA = "metadata.txt"
NOT_KNOWN = -1.0
CLIPS_PER_SHARD = 100
SPEAKER = 1000
"""Number of the speaker in recordings; the built-in ones come before."""


def prepare_pairs(
    recordings: Path, shards: Path, model: str, *, on_clip: Callable[[str], None] = lambda name: None
) -> int:
    """Write shards `pairs-NNNN.npz` of all recordings.

    Args:
        recordings: folder with `metadata.txt`.
        shards: where they go.
        model: name or folder of a model that holds a semantic encoder.
    Returns: how many recordings.
    Raises: ConfigError for a bad line, CheckpointError if the model has no semantic encoder, BadAudio,
        EmptyText, TextTooLong.
    """
    checkpoint = load_checkpoint(model)
    encoder, guide = encoder_of(checkpoint), WordGuide(checkpoint)
    shards.mkdir(parents=True, exist_ok=True)
    clips: list[Clip] = []
    for path, text in read_metadata(recordings):
        pcm = resample(*read_audio(path), SAMPLE_RATE_HZ)
        tokens = guide.tokens(encoder.scores(pcm, SAMPLE_RATE_HZ), text)
        clips.append(
            Clip(
                text=text,
                speaker=SPEAKER,
                pcm=(np.clip(pcm, -1, 1) * 32767).astype(np.int16),
                tokens=tokens.astype(np.int16),
                chars=np.full(len(tokens), NOT_KNOWN, np.float16),
            )
        )
        on_clip(path.name)
    for number, first in enumerate(range(0, len(clips), CLIPS_PER_SHARD)):
        write_shard(shards / f"pairs-{number:04d}.npz", clips[first : first + CLIPS_PER_SHARD])
    return len(clips)


def read_metadata(recordings: Path) -> Iterator[tuple[Path, str]]:
    """Recordings and their texts, line by line.

    Raises: ConfigError that names the line without `|` or without a file.
    """
    path = recordings / METADATA
    if not path.exists():
        raise ConfigError(str(path), "does not exist")
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if not line.strip():
            continue
        name, bar, text = line.partition("|")
        if not bar or not text.strip() or not (recordings / name).is_file():
            raise ConfigError(f"{path}:{number}", "is not 'wav|text' with an existing wav")
        yield recordings / name, text.strip()
