"""Shards: what was read aloud, kept in files of about a hundred sentences.

One `.npz` per shard: all sounds, tokens and positions end to end, with offsets. Written whole or not at all.
Knows no model.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, kw_only=True, slots=True)
class Clip:
    """One sentence as one speaker said it."""

    text: str
    speaker: int
    """-1 if the sentence has an alignment only."""
    pcm: npt.NDArray[np.int16]
    """[L] 24 kHz; empty without sound."""
    tokens: npt.NDArray[np.int16]
    """[N] semantic tokens."""
    chars: npt.NDArray[np.float16]
    """[N] position in `text` of the character being spoken."""


def write_shard(path: Path, clips: Iterable[Clip]) -> None:
    """Write clips to `path`; a half-written shard never has that name."""
    clips = list(clips)
    header = json.dumps({"texts": [c.text for c in clips], "speakers": [c.speaker for c in clips]})
    partial = path.with_name("." + path.name + ".part")
    with partial.open("wb") as file:
        np.savez(
            file,
            header=np.frombuffer(header.encode("utf-8"), np.uint8),
            pcm=_joined([c.pcm for c in clips], np.int16),
            pcm_ends=np.cumsum([len(c.pcm) for c in clips]),
            tokens=_joined([c.tokens for c in clips], np.int16),
            chars=_joined([c.chars for c in clips], np.float16),
            token_ends=np.cumsum([len(c.tokens) for c in clips]),
        )
    os.replace(partial, path)


def read_shard(path: Path) -> Iterator[Clip]:
    """The clips of one shard."""
    with np.load(path) as data:
        header = json.loads(data["header"].tobytes().decode("utf-8"))
        pcm = np.split(data["pcm"], data["pcm_ends"][:-1])
        tokens = np.split(data["tokens"], data["token_ends"][:-1])
        chars = np.split(data["chars"], data["token_ends"][:-1])
    for i, text in enumerate(header["texts"]):
        yield Clip(text=text, speaker=header["speakers"][i], pcm=pcm[i], tokens=tokens[i], chars=chars[i])


def read_shards(folder: Path, prefix: str) -> list[Clip]:
    """All clips of the shards `prefix-*.npz` in a folder, in the order of their names."""
    return [clip for path in sorted(folder.glob(f"{prefix}-*.npz")) for clip in read_shard(path)]


def _joined(parts: list[npt.NDArray[np.generic]], dtype: type[np.generic]) -> npt.NDArray[np.generic]:
    return np.concatenate(parts) if parts else np.zeros(0, dtype)
