"""What a long job has done so far, on disk, so that a kill at any moment costs one sentence.

Beside `book.ogg` stands the folder `book.ogg.part`: `job.json` says which job it is, `speech.pcm` holds the samples,
`sentences.jsonl` one line a sentence, `state.npz` the speakers' states and how much of the two files counts. Only the
last is replaced, whole; what the others hold beyond it is cut off. Knows no model.
"""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from bark_stream.errors import ConfigError, OutputError
from bark_stream.pcm import from_pcm_16

JOB, SPEECH, SENTENCES, STATE = "job.json", "speech.pcm", "sentences.jsonl", "state.npz"
SAMPLE_BYTES = 2
READ_SAMPLES = 65_536


@dataclass(slots=True)
class Done:
    """How far a job is."""

    num_sentences: int = 0
    num_samples: int = 0
    num_line_bytes: int = 0
    """Of `sentences.jsonl`."""
    states: dict[str, bytes] = field(default_factory=dict)
    """`SpeechState` by speaker, packed."""


class Workspace:
    """Open for one job at a time. As a context manager it closes its files and stays, for a later run to go on."""

    def __init__(self, folder: Path, job: Mapping[str, Any]) -> None:
        """Args: job: all that decides how the job sounds; one begun with another is not gone on with.

        Raises: ConfigError for a folder of another job; OutputError.
        """
        self.folder = folder
        try:
            self._begin(dict(job))
            self.done = self._read_done()
            self._speech = self._cut(SPEECH, self.done.num_samples * SAMPLE_BYTES)
            self._sentences = self._cut(SENTENCES, self.done.num_line_bytes)
        except OSError as exc:
            raise self._error(exc) from exc

    def __enter__(self) -> Workspace:
        return self

    def __exit__(self, *exc: object) -> None:
        self._speech.close()
        self._sentences.close()

    def append(self, pcm: NDArray[np.int16], sentence: Mapping[str, Any], states: Mapping[str, bytes]) -> None:
        """A finished sentence: its samples, what is known of it, and the speakers' states after it.

        Raises: OutputError.
        """
        line = json.dumps(sentence, ensure_ascii=False).encode("utf-8") + b"\n"
        try:
            for file, data in ((self._speech, pcm.astype("<i2", copy=False).tobytes()), (self._sentences, line)):
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            self.done.num_sentences += 1
            self.done.num_samples += len(pcm)
            self.done.num_line_bytes += len(line)
            self.done.states |= states
            self._write_done()
        except OSError as exc:
            raise self._error(exc) from exc

    def pcm(self) -> Iterator[NDArray[np.float32]]:
        """All samples, -1 … 1, piece by piece."""
        with (self.folder / SPEECH).open("rb") as file:
            while data := file.read(READ_SAMPLES * SAMPLE_BYTES):
                yield from_pcm_16(data)

    def sentences(self) -> Iterator[dict[str, Any]]:
        """What `append` was told of each sentence."""
        with (self.folder / SENTENCES).open(encoding="utf-8") as file:
            for line in file:
                yield json.loads(line)

    def remove(self) -> None:
        """The job is finished."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _begin(self, job: dict[str, Any]) -> None:
        path = self.folder / JOB
        if path.exists():
            if json.loads(path.read_text("utf-8")) != job:
                raise ConfigError(str(self.folder), "belongs to a job with other text or settings; remove it first")
            return
        self.folder.mkdir(exist_ok=True)
        self._replace(path, json.dumps(job, ensure_ascii=False, indent=2).encode("utf-8"))

    def _read_done(self) -> Done:
        path = self.folder / STATE
        if not path.exists():
            return Done()
        with np.load(path, allow_pickle=False) as arrays:
            facts = json.loads(arrays["done"].tobytes())
            names = facts.pop("speakers")
            return Done(**facts, states={name: arrays[f"state_{i}"].tobytes() for i, name in enumerate(names)})

    def _write_done(self) -> None:
        done = self.done
        facts = {
            "num_sentences": done.num_sentences,
            "num_samples": done.num_samples,
            "num_line_bytes": done.num_line_bytes,
            "speakers": list(done.states),
        }
        arrays: dict[str, Any] = {
            f"state_{i}": np.frombuffer(blob, np.uint8) for i, blob in enumerate(done.states.values())
        }
        packed = io.BytesIO()
        np.savez(packed, done=np.frombuffer(json.dumps(facts).encode("utf-8"), np.uint8), **arrays)
        self._replace(self.folder / STATE, packed.getvalue())

    def _cut(self, name: str, num_bytes: int) -> BinaryIO:
        file = (self.folder / name).open("ab")
        file.truncate(num_bytes)
        return file

    def _replace(self, path: Path, data: bytes) -> None:
        partial = path.with_name(f".{path.name}")
        partial.write_bytes(data)
        os.replace(partial, path)

    def _error(self, exc: OSError) -> OutputError:
        return OutputError(str(self.folder), exc.strerror or str(exc))
