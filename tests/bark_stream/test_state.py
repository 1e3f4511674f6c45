"""Promises of `bark_stream.state`; that a state speaks on is tested where it is spoken with (`test_pipeline`)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from test_voice_store import provenance_for

from bark_stream.checkpoint import Checkpoint
from bark_stream.errors import ConfigError
from bark_stream.state import SpeechState


def test_state_bytes_keep_where_a_cloned_voice_comes_from(tiny_checkpoint: Checkpoint) -> None:
    """Whoever goes on from bytes still knows that the voice is a person's; other voices stay without an origin."""
    preset = tiny_checkpoint.voices.get("en_speaker_0")
    cloned = replace(preset, name="alice", provenance=provenance_for(tiny_checkpoint.config))
    state = SpeechState.from_bytes(SpeechState(voice=cloned, last=preset).to_bytes())
    assert state.voice is not None
    assert state.last is not None
    assert state.voice.provenance == cloned.provenance
    assert state.last.provenance is None


def test_state_of_other_bytes_is_refused(tiny_checkpoint: Checkpoint) -> None:
    """Bytes that are no state, or half of one, are a typed error."""
    whole = SpeechState(voice=tiny_checkpoint.voices.get("en_speaker_0")).to_bytes()
    for blob in (b"", b"nonsense", whole[: len(whole) // 2]):
        with pytest.raises(ConfigError):
            SpeechState.from_bytes(blob)
