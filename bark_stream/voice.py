"""A voice: what Bark is told it has just said (Suno's "history prompt").

Knows the arrays, what fits a model, and the file formats: Suno's `.npz`, and Hugging Face's three `.npy`. A cloned
voice has its provenance and its tone in two more arrays, which other readers pass over. Knows no tensors, and no names
of presets (`voice_library`).
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bark_stream.config import ModelConfig
from bark_stream.errors import BadVoice
from bark_stream.provenance import Provenance
from bark_stream.tone import MAX_GAIN_DB, NUM_BANDS, Tone
from bark_stream.whole_file import whole_file

PARTS = ("semantic_prompt", "coarse_prompt", "fine_prompt")
"""Keys of the arrays in a file, Suno's and Hugging Face's alike."""
PROVENANCE = "provenance"
"""Key of the bytes that say where a cloned voice comes from."""
TONE = "tone"
"""Key of the gains that what is spoken with a cloned voice is equalised by: hundredths of a decibel, since some readers
want nothing but integers."""
MAX_FILE_BYTES = 16 * 1024 * 1024
"""Of one array, unpacked: a hundred times the longest published preset. An npz is a zip, and a zip can be a bomb."""
SUNO_VOCAB_SIZE = 10_000
"""Semantic tokens of all of Suno's models (generation.py, SEMANTIC_VOCAB_SIZE)."""
MIN_SEMANTIC_TOKENS = 6
"""Nine codec frames: enough to warm the decoder, whose reflect padding wants seven."""

_NDIM = {"semantic_prompt": 1, "coarse_prompt": 2, "fine_prompt": 2}


@dataclass(frozen=True, slots=True, eq=False)
class Voice:
    """Three views of the same seconds of speech. Equal when the tokens are, whatever the name."""

    name: str
    semantic: NDArray[np.int64]
    """[N] semantic tokens."""
    coarse: NDArray[np.int64]
    """[K_coarse, T] codes."""
    fine: NDArray[np.int64]
    """[K, T] codes; its first rows are `coarse`."""
    provenance: Provenance | None = None
    """Of a voice that was cloned."""
    tone: Tone | None = None
    """What is spoken with it is equalised so; None leaves it as the codec makes it."""

    @property
    def is_cloned(self) -> bool:
        return self.provenance is not None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Voice):
            return NotImplemented
        return all(
            np.array_equal(mine, theirs)
            for mine, theirs in (
                (self.semantic, other.semantic),
                (self.coarse, other.coarse),
                (self.fine, other.fine),
            )
        )

    def __hash__(self) -> int:
        return hash((self.semantic.tobytes(), self.fine.tobytes()))

    def check(self, config: ModelConfig) -> Voice:
        """Whether a model can speak on from here.

        Returns: the voice itself.
        Raises: BadVoice that says what is wrong.
        Source: the assertions of Suno's generation.py.
        """
        num_tokens, num_frames = len(self.semantic), self.coarse.shape[1]
        if self.provenance is not None and self.provenance.tokens != token_family(config):
            raise self._bad(f"was cloned for {self.provenance.model}; {config.name} speaks other tokens")
        if num_tokens < MIN_SEMANTIC_TOKENS:
            raise self._bad(f"semantic_prompt holds {num_tokens} tokens; at least {MIN_SEMANTIC_TOKENS} are needed")
        for part, codes, num_codebooks in (
            ("coarse_prompt", self.coarse, config.coarse.num_codebooks),
            ("fine_prompt", self.fine, config.fine.num_codebooks),
        ):
            if codes.shape != (num_codebooks, num_frames):
                raise self._bad(f"{part} is {list(codes.shape)}, not {[num_codebooks, num_frames]}")
        for part, values, limit in (
            ("semantic_prompt", self.semantic, config.semantic.vocab_size),
            ("coarse_prompt", self.coarse, config.codec.codebook_size),
            ("fine_prompt", self.fine, config.codec.codebook_size),
        ):
            if values.size and not 0 <= values.min() <= values.max() < limit:
                raise self._bad(f"{part} holds values from {values.min()} to {values.max()}, not 0 to {limit - 1}")
        ratio = config.frames_per_semantic
        # Suno compares to one decimal; a clip of a few tokens misses that although the coarse stage made it so.
        if round(num_frames / num_tokens, 1) != round(ratio, 1) and num_frames != math.floor(num_tokens * ratio):
            raise self._bad(f"{num_frames} frames do not go with {num_tokens} semantic tokens (ratio {ratio:.3f})")
        if not np.array_equal(self.fine[: len(self.coarse)], self.coarse):
            raise self._bad(f"coarse_prompt differs from the first {len(self.coarse)} rows of fine_prompt")
        return self

    def tail(self, num_semantic_tokens: int, config: ModelConfig) -> Voice:
        """The last `num_semantic_tokens` and the frames that are heard with them; all of it when it is no longer."""
        if num_semantic_tokens >= len(self.semantic):
            return self
        num_frames = round(num_semantic_tokens * config.frames_per_semantic)
        return Voice(
            self.name,
            self.semantic[len(self.semantic) - num_semantic_tokens :],
            self.coarse[:, -num_frames:],
            self.fine[:, -num_frames:],
            self.provenance,
            self.tone,
        )

    def followed_by(self, later: Voice) -> Voice:
        """This voice, then what was said later; the name stays."""
        return Voice(
            self.name,
            np.concatenate([self.semantic, later.semantic]),
            np.hstack([self.coarse, later.coarse]),
            np.hstack([self.fine, later.fine]),
            self.provenance,
            self.tone,
        )

    def _bad(self, problem: str) -> BadVoice:
        return BadVoice(self.name, problem)


def token_family(config: ModelConfig) -> str:
    """Whose semantic tokens and codes a model speaks: all of Suno's models share theirs."""
    return "bark" if config.semantic.vocab_size == SUNO_VOCAB_SIZE else config.name


def voice_from_arrays(name: str, arrays: Mapping[str, Any], provenance: Provenance | None = None) -> Voice:
    """A voice from Suno's dict: semantic_prompt [N], coarse_prompt [2, T], fine_prompt [8, T], any integers.

    Raises: BadVoice for a missing key, a wrong number of axes, values that are not integers.
    """
    taken = {}
    for part in PARTS:
        if part not in arrays:
            raise BadVoice(name, f"{part} is missing")
        array = np.asarray(arrays[part])
        if not np.issubdtype(array.dtype, np.integer):
            raise BadVoice(name, f"{part} is {array.dtype}, not integers")
        if array.ndim != _NDIM[part]:
            raise BadVoice(name, f"{part} has {array.ndim} axes, not {_NDIM[part]}")
        taken[part] = _frozen(array)
    return Voice(name, taken["semantic_prompt"], taken["coarse_prompt"], taken["fine_prompt"], provenance)


def voice_from_codes(
    name: str,
    semantic: NDArray[np.integer[Any]],
    codes: NDArray[np.integer[Any]],
    config: ModelConfig,
    provenance: Provenance | None = None,
) -> Voice:
    """A voice from semantic tokens [N] and all codes [8, T] of the same seconds; the coarse ones are the first."""
    arrays = {
        "semantic_prompt": semantic,
        "coarse_prompt": codes[: config.coarse.num_codebooks],
        "fine_prompt": codes,
    }
    return voice_from_arrays(name, arrays, provenance)


def _frozen(array: NDArray[Any]) -> NDArray[np.int64]:
    copy = np.array(array, dtype=np.int64, order="C")
    copy.setflags(write=False)
    return copy


def read_voice(path: str | Path, name: str | None = None) -> Voice:
    """A voice from Suno's `.npz`. Nothing is unpickled, and nothing above `MAX_FILE_BYTES` is unpacked.

    Raises: BadVoice, also for a file that cannot be read.
    """
    path = Path(path)
    name = path.stem if name is None else name
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if member.file_size > MAX_FILE_BYTES:
                    raise BadVoice(name, f"{member.filename} is larger than {MAX_FILE_BYTES} bytes")
        with np.load(path, allow_pickle=False) as arrays:
            provenance = _provenance(arrays[PROVENANCE]) if PROVENANCE in arrays else None
            tone = _tone(arrays[TONE]) if TONE in arrays else None
            voice = voice_from_arrays(name, {part: arrays[part] for part in PARTS if part in arrays}, provenance)
            return replace(voice, tone=tone)
    except OSError as exc:
        raise BadVoice(name, f"{path} cannot be read: {exc.strerror or exc}") from exc
    except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError, RuntimeError) as exc:
        raise BadVoice(name, f"{path} is no npz file of plain arrays: {exc}") from exc


def _provenance(array: NDArray[Any]) -> Provenance:
    if array.dtype != np.uint8 or array.ndim != 1:
        raise ValueError(f"{PROVENANCE} is {array.dtype} of {array.ndim} axes, not bytes")
    return Provenance.from_bytes(array.tobytes())


def _tone(array: NDArray[Any]) -> Tone:
    if array.dtype != np.int16 or array.shape != (NUM_BANDS,):
        raise ValueError(f"{TONE} is {array.dtype} {list(array.shape)}, not int16 {[NUM_BANDS]}")
    tone: Tone = (array / 100.0).astype(np.float32)
    if np.abs(tone).max() > MAX_GAIN_DB:
        raise ValueError(f"{TONE} holds gains beyond {MAX_GAIN_DB:g} dB")
    tone.setflags(write=False)
    return tone


def read_voice_parts(name: str, paths: Mapping[str, Path]) -> Voice:
    """A voice from Hugging Face's three `.npy` files, keyed by `PARTS`.

    Raises: BadVoice, also for a file that cannot be read.
    """
    arrays = {}
    for part, path in paths.items():
        try:
            if path.stat().st_size > MAX_FILE_BYTES:
                raise BadVoice(name, f"{path} is larger than {MAX_FILE_BYTES} bytes")
            arrays[part] = np.load(path, allow_pickle=False)
        except OSError as exc:
            raise BadVoice(name, f"{path} cannot be read: {exc.strerror or exc}") from exc
        except (ValueError, EOFError) as exc:
            raise BadVoice(name, f"{path} is no npy file of a plain array: {exc}") from exc
    return voice_from_arrays(name, arrays)


def save_voice(voice: Voice, path: str | Path) -> None:
    """Write Suno's `.npz`: int64, int64, int32 as in the published presets, and what a cloned voice has
    beside. The file appears whole or not at all.

    Raises: OutputError.
    """
    with whole_file(Path(path)) as file:
        np.savez(file, **_arrays(voice))


def _arrays(voice: Voice) -> dict[str, Any]:
    arrays: dict[str, Any] = {
        "semantic_prompt": voice.semantic.astype(np.int64),
        "coarse_prompt": voice.coarse.astype(np.int64),
        "fine_prompt": voice.fine.astype(np.int32),
    }
    if voice.provenance is not None:
        arrays[PROVENANCE] = np.frombuffer(voice.provenance.to_bytes(), np.uint8)
    if voice.tone is not None:
        arrays[TONE] = np.rint(voice.tone * 100).astype(np.int16)
    return arrays
