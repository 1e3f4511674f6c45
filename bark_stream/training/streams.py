"""Streams: several sentences of one speaker end to end, as semantic tokens and codes in step with each other.

The codec's encoder is run once over all sound; what the stages learn from is small. Knows no transformer.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from bark_stream.training.codec import HOP_SAMPLES, LOUDNESS, SAMPLE_RATE_HZ, CodecModel
from bark_stream.training.semantic_tokens import TOKEN_RATE_HZ
from bark_stream.training.shards import Clip
from bark_stream.training.voices import VOICES


@dataclass(frozen=True, kw_only=True, slots=True)
class Stream:
    """Sentences of one speaker end to end."""

    speaker: int
    semantic: npt.NDArray[np.int16]
    """[N] at 49.9 Hz."""
    codes: npt.NDArray[np.int16]
    """[K, T] at 75 Hz, T = N * 75 / 49.9 rounded down."""
    starts: npt.NDArray[np.int32]
    """First semantic token of each sentence."""


STRANGERS_SHARE = 0.3
"""How often a stage hears speakers that are not voices of the model, where there are any."""


def shares(streams: Sequence[Stream | Clip], num_frames: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """[N] how often to draw each stream: every voice alike, a voice's own streams by length (one with little to read is
    drawn less, lest it be learned by heart); all others together as STRANGERS_SHARE of all, by length.

    Args: num_frames: [N] of each stream, from 0.
    """
    voices = np.array([VOICES.index(s.speaker) if s.speaker in VOICES else len(VOICES) for s in streams])
    totals = np.bincount(voices, num_frames, minlength=len(VOICES) + 1)
    drawn = num_frames / np.maximum(np.median(totals[:-1]) / 2, totals[voices]).clip(1.0)
    strange = voices == len(VOICES)
    for part, share in ((strange, STRANGERS_SHARE), (~strange, 1 - STRANGERS_SHARE)):
        drawn[part] *= share / max(drawn[part].sum(), 1e-9)
    return np.asarray(drawn / drawn.sum(), np.float64)


def group_clips(clips: Iterable[Clip]) -> list[list[Clip]]:
    """Neighbouring clips of one speaker."""
    groups: list[list[Clip]] = []
    for clip in clips:
        if groups and groups[-1][0].speaker == clip.speaker and len(groups[-1]) < 4:
            groups[-1].append(clip)
        else:
            groups.append([clip])
    return groups


@torch.inference_mode()
def encode(model: CodecModel, clips: list[Clip]) -> Stream:
    """One stream of clips by the same speaker."""
    sound = np.concatenate([sound_of_tokens(clip) for clip in clips]).astype(np.float32)
    pcm = torch.from_numpy(sound / 32768.0 * LOUDNESS)[None, None]
    codes = model.encode(pcm)[0].numpy().astype(np.int16)
    semantic = np.concatenate([clip.tokens for clip in clips])
    starts = np.cumsum([0, *(len(clip.tokens) for clip in clips[:-1])])
    num_frames = int(len(semantic) / TOKEN_RATE_HZ * SAMPLE_RATE_HZ / HOP_SAMPLES)
    return Stream(
        speaker=clips[0].speaker, semantic=semantic, codes=codes[:, :num_frames], starts=starts.astype(np.int32)
    )


def sound_of_tokens(clip: Clip) -> npt.NDArray[np.int16]:
    """The clip's sound, cut to what its tokens stand for."""
    wanted = round(len(clip.tokens) / TOKEN_RATE_HZ * SAMPLE_RATE_HZ)
    return np.pad(clip.pcm[:wanted], (0, max(0, wanted - len(clip.pcm))))


def encode_shard(model: CodecModel, clips: list[Clip], path: Path) -> None:
    """Encode the clips of one shard into the file `path`, written whole or not at all."""
    streams = [encode(model, group) for group in group_clips(clips)]
    partial = path.with_name("." + path.name + ".part")
    with partial.open("wb") as file:
        np.savez(
            file,
            speakers=np.array([s.speaker for s in streams]),
            semantic=np.concatenate([s.semantic for s in streams]),
            semantic_ends=np.cumsum([len(s.semantic) for s in streams]),
            codes=np.concatenate([s.codes for s in streams], axis=1),
            code_ends=np.cumsum([s.codes.shape[1] for s in streams]),
            starts=np.concatenate([s.starts for s in streams]),
            start_ends=np.cumsum([len(s.starts) for s in streams]),
        )
    os.replace(partial, path)


def read_streams(path: Path) -> list[Stream]:
    """The streams of a file written by `encode_shard`."""
    with np.load(path) as data:
        semantic = np.split(data["semantic"], data["semantic_ends"][:-1])
        codes = np.split(data["codes"], data["code_ends"][:-1], axis=1)
        starts = np.split(data["starts"], data["start_ends"][:-1])
        speakers = data["speakers"].tolist()
    return [
        Stream(speaker=speakers[i], semantic=semantic[i], codes=codes[i], starts=starts[i])
        for i in range(len(speakers))
    ]
