"""Do sounds, songs, capitals and pauses do something? Each text is compared with the same text without its mark."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bark_stream.bark import Bark
from bark_stream.config import ChunkPolicy
from bark_stream.events import Event, SentenceDone, Word
from bark_stream.sentences import Sentence
from tests.listening.sound import longest_silence_s, loudness_db, pitch_hz

SOUNDS = ("[laughs]", "[sighs]", "[gasps]", "[clears throat]", "[music]")
CARRIER = "That is a very good idea."
STRESSED = (("I really want the red one.", "really"), ("You never told me about it.", "never"))
PAUSED = (("I think we should wait for him.", "I think… we should wait for him."),
          ("She came home and nobody was there.", "She came home — and nobody was there."))  # fmt: skip
SUNG = ("The moon is rising over the sea.", "We sail away in the morning light.")


@dataclass(frozen=True, slots=True)
class Effect:
    """What a mark did."""

    mark: str
    text: str
    share_of_sound_tokens: float | None = None
    """Of the moments of the sound's own run of tokens, how many were drawn."""
    audio_s: float = 0.0
    plain_s: float = 0.0
    """Without the mark; of a stressed word, the word's own time."""
    loudness_change_db: float = 0.0
    pitch_change: float = 1.0
    """Median pitch as a part of the plain one."""
    silence_change_s: float = 0.0


def effects(bark: Bark, voice: str, phones: tuple[str, ...]) -> list[Effect]:
    """Every mark, once or twice. `phones`: what each semantic token stands for."""
    return [
        *(_sound(bark, voice, tag, phones) for tag in SOUNDS),
        *(_compared(bark, voice, "♪", text, f"♪ {text} ♪") for text in SUNG),
        *(_compared(bark, voice, "… —", plain, paused) for plain, paused in PAUSED),
        *(_stress(bark, voice, text, word) for text, word in STRESSED),
    ]


def _sound(bark: Bark, voice: str, tag: str, phones: tuple[str, ...]) -> Effect:
    text = f"{tag} {CARRIER}"
    state = bark.begin(voice, policy=ChunkPolicy.reference())
    run = bark.start(Sentence(0, text, text, 0), state, policy=ChunkPolicy.reference())
    while (stage := bark.pipeline.next_stage(run)) is not None:
        bark.pipeline.step(stage, [run])
    wanted = {token for token, phone in enumerate(phones) if phone == tag}
    share = len(wanted & set(run.semantic.tokens)) / len(wanted)
    plain = bark.synthesize(CARRIER, voice=voice, policy=ChunkPolicy.reference())
    return Effect(tag, text, share, run.num_samples / bark.sample_rate_hz, plain.audio_s)


def _compared(bark: Bark, voice: str, mark: str, plain: str, marked: str) -> Effect:
    before, after = (bark.synthesize(text, voice=voice, policy=ChunkPolicy.reference()) for text in (plain, marked))
    rate_hz = bark.sample_rate_hz
    return Effect(
        mark,
        marked,
        audio_s=after.audio_s,
        plain_s=before.audio_s,
        loudness_change_db=loudness_db(after.pcm, rate_hz) - loudness_db(before.pcm, rate_hz),
        pitch_change=_ratio(pitch_hz(after.pcm, rate_hz), pitch_hz(before.pcm, rate_hz)),
        silence_change_s=longest_silence_s(after.pcm, rate_hz) - longest_silence_s(before.pcm, rate_hz),
    )


def _stress(bark: Bark, voice: str, text: str, word: str) -> Effect:
    """One word, plain and in capitals; mean of several seeds, since a word's length is drawn."""
    lengths: dict[str, list[float]] = {word: [], word.upper(): []}
    pitches: dict[str, list[float]] = {word: [], word.upper(): []}
    levels: dict[str, list[float]] = {word: [], word.upper(): []}
    for written in lengths:
        for seed in range(4):
            speech = bark.synthesize(
                text.replace(word, written), voice=voice, policy=ChunkPolicy.reference(), seed=seed
            )
            spoken = _word(speech.events, written)
            if spoken is None:
                continue
            pcm = speech.pcm[int(spoken.start_s * speech.sample_rate_hz) : int(spoken.end_s * speech.sample_rate_hz)]
            lengths[written].append(spoken.end_s - spoken.start_s)
            pitches[written] += pitch_hz(pcm, speech.sample_rate_hz).tolist()
            levels[written].append(loudness_db(pcm, speech.sample_rate_hz))
    plain, loud = word, word.upper()
    return Effect(
        "CAPITALS",
        text.replace(word, loud),
        audio_s=float(np.mean(lengths[loud] or [0.0])),
        plain_s=float(np.mean(lengths[plain] or [0.0])),
        loudness_change_db=float(np.mean(levels[loud] or [0.0]) - np.mean(levels[plain] or [0.0])),
        pitch_change=_ratio(np.array(pitches[loud]), np.array(pitches[plain])),
    )


def _word(events: list[Event], written: str) -> Word | None:
    for event in events:
        if isinstance(event, SentenceDone):
            for word in event.words or ():
                if word.text.strip(".,!?") == written:
                    return word
    return None


def _ratio(new: NDArray[np.float64], old: NDArray[np.float64]) -> float:
    return float(np.median(new) / np.median(old)) if len(new) and len(old) else 1.0
