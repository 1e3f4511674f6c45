"""`python -m tests.listening [OUT]`: clips, pictures and a report of the built-in model."""

from __future__ import annotations

import argparse
import itertools
import wave
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bark_stream.bark import Bark
from bark_stream.checkpoint import load_checkpoint
from bark_stream.precision import resolve_precision
from bark_stream.training.corpus import held_out_sentences
from tests.listening.expression import effects
from tests.listening.made import MADE, Made, Maker
from tests.listening.measured import Row, measure, summarise
from tests.listening.pictures import draw
from tests.listening.report import Report, write
from tests.listening.similarity import SpeakerEar
from tests.listening.voices import LongText, compare_voices, num_clearly_different, prompt_sound, read_long_text
from tests.listening.words import Listener

NUM_VOICES = 10
DRAWN = ("teacher", "codec", "one-shot", "streamed")
LONG_TEXT_SENTENCES = 10


def main() -> None:
    parser = argparse.ArgumentParser(prog="listening", description=__doc__)
    parser.add_argument("out", type=Path, nargs="?", default=Path("listen"))
    parser.add_argument("--model", default="mini")
    parser.add_argument("--sentences", type=int, default=60, help="of the held-out list")
    parser.add_argument(
        "--turns",
        type=int,
        nargs="+",
        default=[0],
        help="sentence n is said by voice n + turn, once for each turn given",
    )
    parser.add_argument("--pictures", type=int, default=10)
    parser.add_argument("--made", nargs="*", default=MADE, choices=MADE)
    parser.add_argument("--long-voices", type=int, default=3, help="voices that read a long text")
    parser.add_argument(
        "--long-texts", type=int, default=1, help="that each of them reads, ten held-out sentences each"
    )
    parser.add_argument("--no-marks", action="store_true", help="leave out sounds, songs, capitals and pauses")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    checkpoint = load_checkpoint(arguments.model)
    bark = Bark(checkpoint, precision=resolve_precision("auto"))
    listener, ear = Listener(), SpeakerEar()
    names = [f"en_speaker_{index}" for index in range(NUM_VOICES)]
    prompts = {name: ear.embed(prompt_sound(bark, name), bark.sample_rate_hz) for name in names}
    rows = _rows(arguments, Maker(bark), listener, ear, prompts)
    report = Report(
        model=arguments.model,
        summaries=[summarise([r for r in rows if r.made == what]) for what in arguments.made],
        rows=rows,
        voices=compare_voices(bark, prompts),
        num_different_voices=num_clearly_different(prompts),
        long_texts={
            name: [
                _long(bark, ear, listener, name, number, prompts[name], arguments.out)
                for number in range(arguments.long_texts)
            ]
            for name in names[: arguments.long_voices]
        },
        effects=[] if arguments.no_marks else effects(bark, names[0], checkpoint.phones),
    )
    write(report, arguments.out)
    print((arguments.out / "report.md").read_text("utf-8"))


def _rows(
    arguments: argparse.Namespace,
    maker: Maker,
    listener: Listener,
    ear: SpeakerEar,
    prompts: dict[str, NDArray[np.float32]],
) -> list[Row]:
    """Every sentence made every way, voices in turn; wavs and pictures on the way."""
    rows, rate_hz = [], maker.bark.sample_rate_hz
    said = enumerate(held_out_sentences()[: arguments.sentences])
    for (index, text), turn in itertools.product(said, arguments.turns):
        speaker = (index + turn) % NUM_VOICES
        clips: dict[str, Made] = {}
        for what in arguments.made:
            made = clips[what] = maker.make(what, text, speaker)
            _save(arguments.out / f"{index:02d}-{speaker}-{what.replace(' ', '-')}.wav", made.pcm, rate_hz)
            prompt = prompts[f"en_speaker_{speaker}"]
            rows.append(measure(what, text, speaker, made, rate_hz, prompt, listener, ear))
        drawn = {what: clips[what].pcm for what in DRAWN if what in clips}
        if index < arguments.pictures and drawn:
            seams = clips["streamed"].seams if "streamed" in drawn else np.zeros(0, np.int64)
            draw(arguments.out / f"{index:02d}-{speaker}.png", f"en_speaker_{speaker}: {text}", drawn, seams, rate_hz)
    return rows


def _long(
    bark: Bark,
    ear: SpeakerEar,
    listener: Listener,
    voice: str,
    number: int,
    prompt: NDArray[np.float32],
    out: Path,
) -> LongText:
    """Ten held-out sentences, the first ten for number 0, read by a voice."""
    sentences = held_out_sentences()[number * LONG_TEXT_SENTENCES :][:LONG_TEXT_SENTENCES]
    figures, pcm = read_long_text(bark, ear, listener, voice, sentences, prompt)
    _save(out / f"long-{number}-{voice}.wav", pcm, bark.sample_rate_hz)
    return figures


def _save(path: Path, pcm: NDArray[np.float32], rate_hz: int) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes((np.clip(pcm, -1, 1) * 32767).astype("<i2").tobytes())


if __name__ == "__main__":
    main()
