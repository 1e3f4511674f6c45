"""`python -m tests.listening.choose OUT --sentences FILE`: of several prompts of each voice, the one after which the
model is understood best.

The teacher reads prompts in the voice of a speaker. After each the model says validation sentences, which nothing was
trained on and no figure is taken from. The prompt with the fewest word errors is left as `OUT/<voice>.npz`, to be laid
into the model's folder `voices`; what was found of each is in `OUT/prompts.jsonl`, and a run that was stopped goes on
there.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from bark_stream.bark import Bark
from bark_stream.checkpoint import load_checkpoint
from bark_stream.precision import resolve_precision
from bark_stream.training.corpus import Corpus, validation_sentences
from bark_stream.training.export import MAX_PROMPT_TOKENS, MIN_PROMPT_TOKENS
from bark_stream.training.prepare import Reader
from bark_stream.training.shards import Clip
from bark_stream.training.streams import sound_of_tokens
from bark_stream.training.voices import VOICES
from bark_stream.voice import Voice, save_voice, voice_from_codes
from tests.listening.words import Listener

MAX_READ = 2
"""Sentences of a prompt."""


@dataclass(frozen=True, slots=True)
class Tried:
    """How a voice was understood after one prompt."""

    voice: str
    prompt: int
    num_errors: int
    num_words: int


class Prompts:
    """Prompts of speakers, as the model's codec hears them: number n of a speaker is always the same."""

    def __init__(self, bark: Bark, sentences: Path) -> None:
        self._bark, self._sentences = bark, sentences
        self._reader = Reader()

    def make(self, name: str, speaker: int, number: int) -> Voice:
        rng = np.random.default_rng([speaker, number])
        corpus = Corpus(self._sentences, seed=speaker * 1_000 + number)
        while True:
            clips = [
                self._reader.clip(next(corpus), speaker, 1.0, rng) for _ in range(int(rng.integers(1, MAX_READ + 1)))
            ]
            read = [clip for clip in clips if clip is not None]
            if MIN_PROMPT_TOKENS <= sum(len(clip.tokens) for clip in read) <= MAX_PROMPT_TOKENS:
                return self._heard(name, read)

    def _heard(self, name: str, clips: list[Clip]) -> Voice:
        config = self._bark.config
        pcm = np.concatenate([sound_of_tokens(clip) for clip in clips]).astype(np.float32) / 32768
        tokens = np.concatenate([clip.tokens for clip in clips])
        with torch.inference_mode():
            codes = self._bark.pipeline.codec.encode(torch.from_numpy(pcm)[None], config.fine.num_codebooks)[0].numpy()
        return voice_from_codes(name, tokens, codes[:, : int(len(tokens) * config.frames_per_semantic)], config)


def tried(out: Path) -> list[Tried]:
    """What earlier runs found."""
    path = out / "prompts.jsonl"
    return [Tried(**json.loads(line)) for line in path.read_text("utf-8").splitlines()] if path.exists() else []


def best(found: list[Tried]) -> Iterator[Tried]:
    """Of each voice the prompt with the fewest errors; the first of several."""
    for voice in dict.fromkeys(one.voice for one in found):
        yield min((one for one in found if one.voice == voice), key=lambda one: one.num_errors / one.num_words)


def main() -> None:
    parser = argparse.ArgumentParser(prog="choose", description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--sentences", type=Path, required=True, help="what prompts say: one sentence a line")
    parser.add_argument("--prompts", type=int, default=4, help="of each voice")
    parser.add_argument("--spoken", type=int, default=12, help="validation sentences after each")
    parser.add_argument(
        "--voices", type=int, nargs="*", default=range(len(VOICES)), help="numbers of the model's voices"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    bark = Bark(load_checkpoint(arguments.model), precision=resolve_precision("auto"))
    prompts, listener = Prompts(bark, arguments.sentences), Listener()
    texts = validation_sentences()[: arguments.spoken]
    done = {(one.voice, one.prompt) for one in tried(arguments.out)}
    for number in arguments.voices:
        name = f"en_speaker_{number}"
        for prompt in range(arguments.prompts):
            if (name, prompt) in done:
                continue
            voice = prompts.make(name, VOICES[number], prompt)
            heard = [
                listener.hear(bark.generate(text, voice=voice, seed=seed), bark.sample_rate_hz, text)
                for seed, text in enumerate(texts)
            ]
            one = Tried(name, prompt, sum(h.num_errors for h in heard), sum(h.num_words for h in heard))
            with (arguments.out / "prompts.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(one)) + "\n")
            print(one, flush=True)
    for one in best(tried(arguments.out)):
        speaker = VOICES[int(one.voice.rsplit("_", 1)[1])]
        save_voice(prompts.make(one.voice, speaker, one.prompt), arguments.out / f"{one.voice}.npz")


if __name__ == "__main__":
    main()
