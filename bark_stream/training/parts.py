"""The parts of a Bark that are trained, by name. Knows nothing of how, so that a command line can name them at once."""

from __future__ import annotations

PARTS = (
    "codec",
    "decoder",
    "semantic",
    "coarse",
    "coarse_unconditional",
    "coarse_guided",
    "latent_mean",
    "fine",
    "semantic_encoder",
    "recogniser",
    "speaker_encoder",
    "coarse_rewarded",
)
