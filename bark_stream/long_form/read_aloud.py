"""Turns -> one sound file and its captions, sentence by sentence.

Every speaker has a state of their own and goes on as they sounded; a job that was killed goes on with the sentence it
was at, and ends with the samples it would have had anyway.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bark_stream.audio_file import AudioWriter
from bark_stream.bark import Bark
from bark_stream.config import ChunkPolicy, SamplingConfig
from bark_stream.errors import EmptyText
from bark_stream.events import Chunk, SentenceDone, Word
from bark_stream.long_form.captions import CaptionFormat, Cue, cues, written
from bark_stream.long_form.script import Turn
from bark_stream.long_form.workspace import Workspace
from bark_stream.pcm import to_pcm_16
from bark_stream.sentences import Sentence
from bark_stream.state import SpeechState
from bark_stream.voice import Voice
from bark_stream.whole_file import whole_file

TURN_PAUSE_S = 0.35
"""Silence between two turns or paragraphs."""
NARRATOR = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Manner:
    """How a job is spoken."""

    policy: ChunkPolicy
    sampling: SamplingConfig
    seed: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """Where a job stands."""

    num_characters: int
    """Of the file."""
    num_sentences: int
    audio_s: float
    synth_s: float
    """Of this run."""


Cast = Callable[[str | None], Voice | None]
"""The voice of a speaker, by the file's name of them; None reads what nobody says."""


def read_aloud(
    bark: Bark,
    turns: Iterable[Turn],
    target: Path,
    workspace: Workspace,
    cast: Cast,
    manner: Manner,
    *,
    captions: Sequence[CaptionFormat] = (),
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Progress:
    """Speak everything that is not done yet, then write the sound file and its captions and drop the workspace.

    Args: target: `.wav`, `.ogg`, `.mp3` or `.flac`; captions go beside it.
    Returns: where the job stands at its end.
    Raises: EmptyText when nothing can be spoken; OutputError; whatever the cast raises.
    """
    progress = Progress(num_characters=0, num_sentences=0, audio_s=0.0, synth_s=0.0)
    started = time.perf_counter()
    voices: dict[str, Voice | None] = {}
    for progress in _speak(bark, turns, workspace, _remembering(cast, voices), manner, started):
        on_progress(progress)
    if not workspace.done.num_sentences:
        raise EmptyText
    with AudioWriter(target, bark.sample_rate_hz, tags=tags_of(voices.values())) as writer:
        for pcm in workspace.pcm():
            writer.write(pcm)
    for form in captions:
        _write_text(target.with_suffix(f".{form}"), written(_all_cues(workspace, bark.sample_rate_hz), form))
    workspace.remove()
    return progress


def tags_of(voices: Iterable[Voice | None]) -> dict[str, str]:
    """What a sound file says of the voices it is spoken with: which of them were cloned, with whose consent."""
    cloned = {voice.name: voice.provenance for voice in voices if voice is not None and voice.provenance is not None}
    tags: dict[str, str] = {}
    for name, origin in cloned.items():
        for key, value in origin.tags(name).items():
            tags[key] = value if tags.get(key, value) == value else f"{tags[key]}; {value}"
    return tags


def _remembering(cast: Cast, voices: dict[str, Voice | None]) -> Cast:
    def voice_of(speaker: str | None) -> Voice | None:
        key = speaker or NARRATOR
        if key not in voices:
            voices[key] = cast(speaker)
        return voices[key]

    return voice_of


def _speak(
    bark: Bark, turns: Iterable[Turn], workspace: Workspace, cast: Cast, manner: Manner, started: float
) -> Iterator[Progress]:
    done = workspace.done
    for number, (turn, sentence, ends_turn) in enumerate(_sentences(bark, turns, manner.policy)):
        voice = cast(turn.speaker)
        if number >= done.num_sentences:
            state = _state(done.states, turn.speaker, voice, manner.seed)
            _speak_one(bark, turn, sentence, state, workspace, manner, TURN_PAUSE_S if ends_turn else 0.0)
        yield Progress(
            num_characters=turn.num_characters,
            num_sentences=number + 1,
            audio_s=done.num_samples / bark.sample_rate_hz,
            synth_s=time.perf_counter() - started,
        )


def _sentences(bark: Bark, turns: Iterable[Turn], policy: ChunkPolicy) -> Iterator[tuple[Turn, Sentence, bool]]:
    """Every sentence with its turn, and whether it ends that."""
    for turn in turns:
        sentences = list(bark.sentences(turn.text, policy))
        for index, sentence in enumerate(sentences):
            yield turn, sentence, index == len(sentences) - 1


def _state(states: Mapping[str, bytes], speaker: str | None, voice: Voice | None, seed: int) -> SpeechState:
    blob = states.get(speaker or NARRATOR)
    return SpeechState(voice=voice, seed=seed) if blob is None else SpeechState.from_bytes(blob)


def _speak_one(
    bark: Bark,
    turn: Turn,
    sentence: Sentence,
    state: SpeechState,
    workspace: Workspace,
    manner: Manner,
    pause_s: float,
) -> None:
    run = bark.start(sentence, state, policy=manner.policy, sampling=manner.sampling)
    events = list(bark.steps(run))
    chunks = [event.pcm for event in events if isinstance(event, Chunk)]
    words = next((event.words for event in events if isinstance(event, SentenceDone)), None)
    spoken = np.concatenate([np.zeros(0, np.float32), *chunks])
    pcm = np.concatenate([spoken, np.zeros(round(pause_s * bark.sample_rate_hz), np.float32)])
    workspace.append(
        to_pcm_16(pcm),
        {
            "text": sentence.text,
            "speaker": turn.speaker,
            "start_sample": workspace.done.num_samples,
            "num_samples": len(spoken),
            "words": None if words is None else [[word.text, word.start_s, word.end_s] for word in words],
        },
        {turn.speaker or NARRATOR: bark.pipeline.next_state(run).to_bytes()},
    )


def _all_cues(workspace: Workspace, sample_rate_hz: int) -> Iterator[Cue]:
    for sentence in workspace.sentences():
        words: Any = sentence["words"]
        yield from cues(
            sentence["text"],
            sentence["start_sample"] / sample_rate_hz,
            sentence["num_samples"] / sample_rate_hz,
            None if words is None else [Word(*word) for word in words],
            sentence["speaker"],
        )


def _write_text(path: Path, pieces: Iterable[str]) -> None:
    """The file appears whole or not at all."""
    with whole_file(path) as file:
        for piece in pieces:
            file.write(piece.encode("utf-8"))
