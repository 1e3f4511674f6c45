"""What every sub-command that speaks shares."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from bark_stream.cli.own_voices import own_voices
from bark_stream.config import SamplingConfig

if TYPE_CHECKING:
    from bark_stream.bark import Bark


def load_to_speak(arguments: argparse.Namespace) -> Bark:
    """The model that was asked for, with one's own voices.

    Raises: CheckpointError, UnknownModel, ConfigError.
    """
    from bark_stream.bark import load
    from bark_stream.threads import use_threads

    bark = load(
        arguments.model,
        precision=arguments.precision,
        device=arguments.device,
        voices=own_voices(arguments).folder,
    )
    use_threads(bark.config)
    return bark


def warn_of_stand_in(bark: Bark) -> None:
    """A model that is not meant to be listened to says so."""
    if bark.config.notice:
        print(f"bark-stream: note: {bark.config.notice}", file=sys.stderr)


def temperatures(sampling: SamplingConfig, arguments: argparse.Namespace) -> SamplingConfig:
    """The model's sampling with the temperatures that were asked for. Raises: ConfigError."""
    if arguments.temperature is not None:
        value = arguments.temperature
        sampling = replace(sampling, text_temperature=value, waveform_temperature=value, fine_temperature=value)
    for name in ("text_temperature", "waveform_temperature"):
        if getattr(arguments, name) is not None:
            sampling = replace(sampling, **{name: getattr(arguments, name)})
    return sampling
