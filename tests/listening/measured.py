"""Figures of clips: one row each, and what rows of one kind come to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bark_stream.training.codec import FRAME_RATE_HZ
from tests.listening.made import Made
from tests.listening.similarity import SpeakerEar
from tests.listening.sound import jumps_db, longest_silence_s, loudness_db, pitch_hz, share_at, steps
from tests.listening.words import Listener

NUM_PLACES = 200
"""Random places that seams are compared with."""


@dataclass(frozen=True, slots=True)
class Row:
    """One clip."""

    made: str
    speaker: int
    text: str
    heard: str
    num_errors: int
    num_words: int
    similarity: float
    """To the voice's prompt."""
    longest_silence_s: float
    loudness_db: float
    frame_rate_share: float
    """Of voiced moments, those whose pitch is the codec's frame rate: a decoder that knows no phase puts one pulse into
    each frame, whatever the pitch should be."""
    audio_s: float
    seam_jumps_db: tuple[float, ...]
    other_jumps_db: tuple[float, ...]
    seam_steps: tuple[float, ...]
    other_steps: tuple[float, ...]
    guards: tuple[str, ...]
    ttfa_s: float | None
    rtf: float | None


@dataclass(frozen=True, slots=True)
class Summary:
    """All clips made one way."""

    made: str
    num_clips: int
    word_error_rate: float
    similarity: float
    longest_silence_s: float
    loudness_db: float
    frame_rate_share: float
    seam_jump_db: float | None
    """Mean level change at seams; None without seams."""
    other_jump_db: float
    """Mean level change elsewhere."""
    seam_step: float | None
    """99th percentile of the sample-to-sample difference at seams."""
    other_step: float
    num_guarded: int
    ttfa_s: float | None
    rtf: float | None


def measure(
    what: str,
    text: str,
    speaker: int,
    made: Made,
    rate_hz: int,
    prompt: NDArray[np.float32],
    listener: Listener,
    ear: SpeakerEar,
) -> Row:
    """`prompt`: the embedding of the voice's prompt."""
    heard = listener.hear(made.pcm, rate_hz, text)
    places = np.random.default_rng(0).integers(1, max(2, len(made.pcm)), NUM_PLACES)
    return Row(
        made=what,
        speaker=speaker,
        text=text,
        heard=heard.text,
        num_errors=heard.num_errors,
        num_words=heard.num_words,
        similarity=float(ear.embed(made.pcm, rate_hz) @ prompt),
        longest_silence_s=longest_silence_s(made.pcm, rate_hz),
        loudness_db=loudness_db(made.pcm, rate_hz),
        frame_rate_share=share_at(pitch_hz(made.pcm, rate_hz), FRAME_RATE_HZ),
        audio_s=len(made.pcm) / rate_hz,
        seam_jumps_db=tuple(jumps_db(made.pcm, rate_hz, made.seams).tolist()),
        other_jumps_db=tuple(jumps_db(made.pcm, rate_hz, places).tolist()),
        seam_steps=tuple(steps(made.pcm, made.seams).tolist()),
        other_steps=tuple(steps(made.pcm, places).tolist()),
        guards=made.guards,
        ttfa_s=made.ttfa_s,
        rtf=made.rtf,
    )


def summarise(rows: Sequence[Row]) -> Summary:
    """Rows made one way; at least one."""
    timed = [row for row in rows if row.rtf is not None and row.ttfa_s is not None]
    seam_jumps = [jump for row in rows for jump in row.seam_jumps_db]
    seam_steps = [step for row in rows for step in row.seam_steps]
    return Summary(
        made=rows[0].made,
        num_clips=len(rows),
        word_error_rate=sum(row.num_errors for row in rows) / sum(row.num_words for row in rows),
        similarity=float(np.mean([row.similarity for row in rows])),
        longest_silence_s=max(row.longest_silence_s for row in rows),
        loudness_db=float(np.mean([row.loudness_db for row in rows])),
        frame_rate_share=float(np.mean([row.frame_rate_share for row in rows])),
        seam_jump_db=float(np.mean(seam_jumps)) if seam_jumps else None,
        other_jump_db=float(np.mean([jump for row in rows for jump in row.other_jumps_db])),
        seam_step=float(np.quantile(seam_steps, 0.99)) if seam_steps else None,
        other_step=float(np.quantile([step for row in rows for step in row.other_steps], 0.99)),
        num_guarded=sum(bool(row.guards) for row in rows),
        ttfa_s=float(np.median([row.ttfa_s for row in timed if row.ttfa_s is not None])) if timed else None,
        rtf=float(np.median([row.rtf for row in timed if row.rtf is not None])) if timed else None,
    )
