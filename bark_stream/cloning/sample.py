"""A recording of somebody, checked: one person, long enough, clean. Each fault has an error of its own.

Knows no tokens and no models.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bark_stream.cloning.loudness import FRAME_S, is_sounding, levels_db, loud_level_db, pauses_s
from bark_stream.cloning.speakers import speaker_change
from bark_stream.errors import (
    SampleClipped,
    SampleNoisy,
    SampleSilent,
    SampleTooLong,
    SampleTooShort,
    SeveralSpeakers,
)

MIN_SPEECH_S, MAX_SPEECH_S = 3.0, 15.0
"""Bark's own presets last 3.2 to 14.6 s."""
MIN_LEVEL_DB = -50.0
MAX_CLIPPED_SHARE = 0.002
"""Clean voices have at most 0.0001 so near their peak."""
CEILING = 0.985
"""Of the peak: what lies above it was cut off."""
MIN_SNR_DB = 20.0
MIN_SPEAKER_CHANGE = 0.45
"""See `speaker_change`."""
MARGIN_S = 0.1
"""Silence that is left around speech."""
LEVEL_DB = -16.0
"""Of the loud parts, once the sample is brought to the loudness that models are trained at."""
MAX_PEAK = 0.95


def speech_of(pcm: NDArray[np.float32], rate_hz: int, source: str) -> NDArray[np.float32]:
    """The part of a sample that a voice is made of: no silence around it, ending in a pause, at a common loudness.

    Args: pcm: [T] float32, nominally -1 … 1; source: names the sample in errors.
    Raises: SampleSilent, SampleTooShort, SampleTooLong, SampleClipped, SampleNoisy, SeveralSpeakers.
    """
    if not np.isfinite(pcm).all():
        pcm = np.nan_to_num(pcm)
    pcm = _trimmed(pcm, rate_hz, source)
    if not MIN_SPEECH_S <= len(pcm) / rate_hz <= MAX_SPEECH_S + 2 * MARGIN_S:
        error = SampleTooShort if len(pcm) / rate_hz < MIN_SPEECH_S else SampleTooLong
        raise error(source, len(pcm) / rate_hz, MIN_SPEECH_S if error is SampleTooShort else MAX_SPEECH_S)
    _refuse_clipping(pcm, source)
    _refuse_noise(pcm, rate_hz, source)
    gain, at_s = speaker_change(pcm, rate_hz)
    if gain > MIN_SPEAKER_CHANGE:
        raise SeveralSpeakers(source, at_s)
    return at_common_loudness(ending_in_a_pause(pcm, rate_hz), rate_hz)


def ending_in_a_pause(pcm: NDArray[np.float32], rate_hz: int) -> NDArray[np.float32]:
    """Without a last word that breaks off: cut in the last pause, if one comes after `MIN_SPEECH_S`.

    A model goes on where its prompt stops, and would finish the word first.
    """
    levels = levels_db(pcm, rate_hz)
    if not is_sounding(levels)[-1]:
        return pcm
    for start_s, end_s in reversed(pauses_s(levels)):
        cut_s = min(start_s + MARGIN_S, (start_s + end_s) / 2)
        if cut_s >= MIN_SPEECH_S:
            return pcm[: round(cut_s * rate_hz)]
    return pcm


def at_common_loudness(pcm: NDArray[np.float32], rate_hz: int) -> NDArray[np.float32]:
    """With its loud parts at `LEVEL_DB`, or lower where peaks ask for it."""
    gain = 10 ** ((LEVEL_DB - loud_level_db(levels_db(pcm, rate_hz))) / 20)
    return np.asarray(pcm * np.float32(min(gain, MAX_PEAK / np.abs(pcm).max())))


def _trimmed(pcm: NDArray[np.float32], rate_hz: int, source: str) -> NDArray[np.float32]:
    levels = levels_db(pcm, rate_hz)
    loud_db = loud_level_db(levels)
    if loud_db < MIN_LEVEL_DB:
        raise SampleSilent(source, loud_db)
    sounding = np.flatnonzero(is_sounding(levels))
    start_s, end_s = sounding[0] * FRAME_S - MARGIN_S, (sounding[-1] + 1) * FRAME_S + MARGIN_S
    return pcm[max(0, round(start_s * rate_hz)) : round(end_s * rate_hz)]


def _refuse_clipping(pcm: NDArray[np.float32], source: str) -> None:
    """Only plateaus count: a loud sample beside another loud one of the same sign."""
    magnitude = np.abs(pcm)
    high = magnitude >= CEILING * magnitude.max()
    plateau = high[1:] & high[:-1] & (np.sign(pcm[1:]) == np.sign(pcm[:-1]))
    share = float(plateau.mean())
    if share > MAX_CLIPPED_SHARE:
        raise SampleClipped(source, share)


def _refuse_noise(pcm: NDArray[np.float32], rate_hz: int, source: str) -> None:
    """The softest frames, in pauses or in the closures of consonants, are taken for the background."""
    levels = levels_db(pcm, rate_hz)
    snr_db = loud_level_db(levels) - float(np.percentile(levels, 5))
    if snr_db < MIN_SNR_DB:
        raise SampleNoisy(source, snr_db, MIN_SNR_DB)
