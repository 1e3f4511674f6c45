"""Clips of one sentence, each made by one stage more than the one before.

The true tokens of a sentence come from the teacher that the model learned from; what follows is the model's own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from bark_stream.bark import Bark
from bark_stream.config import ChunkPolicy
from bark_stream.events import Chunk, GuardFired
from bark_stream.sentences import Sentence
from bark_stream.training.prepare import Reader
from bark_stream.training.shards import Clip
from bark_stream.training.streams import sound_of_tokens
from bark_stream.training.voices import VOICES

TRUE_STAGES = ("teacher", "codec", "true coarse", "true semantic")
POLICIES = {"one-shot": ChunkPolicy.reference(), "streamed": ChunkPolicy.realtime()}
MADE = (*TRUE_STAGES, *POLICIES)


@dataclass(frozen=True, slots=True)
class Made:
    """A clip and what its making told."""

    pcm: NDArray[np.float32]
    """[T] mono."""
    seams: NDArray[np.int64]
    """Samples where chunks meet."""
    guards: tuple[str, ...] = ()
    ttfa_s: float | None = None
    rtf: float | None = None


class Maker:
    """One model and its teacher."""

    def __init__(self, bark: Bark) -> None:
        self.bark = bark
        self._reader = Reader()

    def true_clip(self, text: str, speaker: int, seed: int = 7) -> Clip:
        """The sentence as the teacher says it in one speaker's voice."""
        clip = self._reader.clip(text, VOICES[speaker], 1.0, np.random.default_rng(seed))
        if clip is None:
            raise ValueError(f"the teacher cannot read {text!r}")
        return clip

    def make(self, what: str, text: str, speaker: int) -> Made:
        """`what`: one of MADE."""
        if what in POLICIES:
            return self.speak(text, f"en_speaker_{speaker}", POLICIES[what])
        clip = self.true_clip(text, speaker)
        pcm = sound_of_tokens(clip).astype(np.float32) / 32768
        if what == "teacher":
            return _whole(pcm)
        with torch.inference_mode():
            codes = self.bark.pipeline.codec.encode(torch.from_numpy(pcm)[None], self.bark.config.fine.num_codebooks)
            if what == "codec":
                return _whole(self.bark.pipeline.codec.decode_whole(codes)[0].numpy())
        true_codes = codes[0].numpy() if what == "true coarse" else None
        return _whole(self._from_tokens(text, speaker, clip, true_codes))

    def speak(self, text: str, voice: str, policy: ChunkPolicy) -> Made:
        """All stages."""
        chunks: list[Chunk] = []
        speech = self.bark.synthesize(
            text, voice=voice, policy=policy, on_event=lambda e: chunks.append(e) if isinstance(e, Chunk) else None
        )
        guards = tuple(event.guard for event in speech.events if isinstance(event, GuardFired))
        seams = np.array([chunk.start_sample for chunk in chunks[1:]], np.int64)
        return Made(speech.pcm, seams, guards, speech.ttfa_s, speech.rtf)

    def _from_tokens(
        self, text: str, speaker: int, clip: Clip, true_codes: NDArray[np.int64] | None
    ) -> NDArray[np.float32]:
        """What the later stages make of true semantic tokens, and of true coarse codes if they are given."""
        pipeline, config = self.bark.pipeline, self.bark.config
        policy = ChunkPolicy.reference()
        state = self.bark.begin(f"en_speaker_{speaker}", policy=policy)
        run = self.bark.start(Sentence(0, text, text, 0), state, policy=policy)
        tokens = clip.tokens.astype(int).tolist()
        run.semantic.tokens.extend(tokens)
        run.semantic.is_finished = True
        run.coarse.semantic.extend(tokens)
        if true_codes is not None:
            num_codebooks = config.coarse.num_codebooks
            num_frames = pipeline.coarse.num_tokens(len(tokens)) // num_codebooks
            offsets = config.semantic.vocab_size + config.codec.codebook_size * np.arange(num_codebooks)
            flat = (true_codes[:num_codebooks, :num_frames] + offsets[:, None]).T.reshape(-1)
            run.coarse.tokens.extend(flat.tolist())
        chunks = []
        while (stage := pipeline.next_stage(run)) is not None:
            chunks += [event.pcm for _, event in pipeline.step(stage, [run]) if isinstance(event, Chunk)]
        return np.concatenate(chunks)


def _whole(pcm: NDArray[np.float32]) -> Made:
    return Made(pcm, np.zeros(0, np.int64))
