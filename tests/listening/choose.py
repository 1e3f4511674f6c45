"""`python -m tests.listening.choose OUT --sentences FILE`: of several prompts of each voice, the one after which the
model is understood best.

The teacher reads prompts in the voice of a speaker. After each the model says validation sentences, which nothing was
trained on and no figure is taken from: few after all prompts, more after the best of them. The prompt with the fewest
word errors is left as `OUT/<voice>.npz`, to be laid into the model's folder `voices`; what was found of each is in
`OUT/prompts.jsonl`, and a run that was stopped goes on there.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass, replace
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
from tests.listening.digest import weights_digest
from tests.listening.words import Listener

FOUND = "prompts.jsonl"
MAX_READ = 2
"""Sentences of a prompt."""
ROUNDS = ((10, 1.0), (30, 0.25), (60, 0.08))
"""Sentences spoken after a prompt by the end of a round, and the share of prompts that get into it."""
MIN_KEPT = 2
"""Prompts of a voice in every round."""


@dataclass(frozen=True, slots=True)
class Tried:
    """How a model was understood after one prompt."""

    model: str
    """Digest of its weights."""
    voice: str
    prompt: int
    num_spoken: int
    """Sentences, the first ones of the list."""
    num_errors: int
    num_words: int

    @property
    def word_error_rate(self) -> float:
        return self.num_errors / max(1, self.num_words)


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


class Search:
    """One model, and what was found of its prompts so far."""

    def __init__(self, model: str, sentences: Path, out: Path) -> None:
        checkpoint = load_checkpoint(model)
        self._model = weights_digest(checkpoint)
        self._bark = Bark(checkpoint, precision=resolve_precision("auto"))
        self._prompts = Prompts(self._bark, sentences)
        self._listener = Listener()
        self._texts = validation_sentences()
        self._out = out
        self._found = [one for one in read_found(out / FOUND) if one.model == self._model]

    def choose(self, number: int, num_prompts: int) -> Tried:
        """The best prompt of a voice; its file is written."""
        name = f"en_speaker_{number}"
        last = [Tried(self._model, name, prompt, 0, 0, 0) for prompt in range(num_prompts)]
        for num_spoken, share in ROUNDS:
            last = [
                self._hear(one, number, num_spoken) for one in best(last, max(MIN_KEPT, round(share * num_prompts)))
            ]
        [chosen] = best(last, 1)
        save_voice(self._prompts.make(name, VOICES[number], chosen.prompt), self._out / f"{name}.npz")
        return chosen

    def _hear(self, one: Tried, number: int, num_spoken: int) -> Tried:
        """The same prompt after more sentences, of this run or of an earlier one."""
        for known in self._found:
            if (known.voice, known.prompt, known.num_spoken) == (one.voice, one.prompt, num_spoken):
                return known
        voice = self._prompts.make(one.voice, VOICES[number], one.prompt)
        num_errors, num_words = one.num_errors, one.num_words
        for seed, text in enumerate(self._texts[one.num_spoken : num_spoken], one.num_spoken):
            pcm = self._bark.generate(text, voice=voice, seed=seed)
            heard = self._listener.hear(pcm, self._bark.sample_rate_hz, text)
            num_errors, num_words = num_errors + heard.num_errors, num_words + heard.num_words
        more = replace(one, num_spoken=num_spoken, num_errors=num_errors, num_words=num_words)
        with (self._out / FOUND).open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(more)) + "\n")
        print(f"{more.voice}, prompt {more.prompt}: {more.num_errors} of {more.num_words} words", flush=True)
        return more


def read_found(path: Path) -> list[Tried]:
    """What earlier runs wrote down."""
    return [Tried(**json.loads(line)) for line in path.read_text("utf-8").splitlines()] if path.exists() else []


def best(tried: list[Tried], count: int) -> list[Tried]:
    """So many with the smallest share of errors, best first; of equals those that came first."""
    return sorted(tried, key=lambda one: one.word_error_rate)[:count]


def main() -> None:
    parser = argparse.ArgumentParser(prog="choose", description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--sentences", type=Path, required=True, help="what prompts say: one sentence a line")
    parser.add_argument("--prompts", type=int, default=24, help="of each voice")
    parser.add_argument(
        "--voices", type=int, nargs="*", default=range(len(VOICES)), help="numbers of the model's voices"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    search = Search(arguments.model, arguments.sentences, arguments.out)
    for number in arguments.voices:
        print(search.choose(number, arguments.prompts), flush=True)


if __name__ == "__main__":
    main()
