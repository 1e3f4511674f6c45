"""Training of who judges words: an ear as `cloning.mel_encoder`, larger, taught on sound as the decoder makes it."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bark_stream.cloning.mel_encoder import MelEncoder, MelEncoderConfig
from bark_stream.training.made_sound import MadeSound
from bark_stream.training.mini import NUM_SEMANTIC

NUM_TOKENS = 130
"""Of a crop."""
LABEL_SMOOTHING = 0.05
TILT, NOISE = 0.15, 0.05
"""Of the features: each band a little louder or softer, and each frame."""


def recogniser() -> MelEncoder:
    """Fresh, and with a shorter view than the model's own ear: what it does not hear it shall not guess."""
    return MelEncoder(MelEncoderConfig(num_classes=NUM_SEMANTIC, channels=224, num_blocks=5, kernel=7))


class RecogniserTraining:
    """Losses of recogniser training, step by step."""

    def __init__(self, model: MelEncoder, sound: MadeSound) -> None:
        self._model = model
        self._sound = sound

    def __call__(self, step: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """Losses of one step: cross-entropy, and the share of tokens that are right."""
        heard = self._sound.draw(step, rng)
        first = int(rng.integers(0, max(1, heard.tokens.shape[1] - NUM_TOKENS + 1)))
        crop = slice(first, first + NUM_TOKENS)
        features, wanted = heard.features[:, :, crop], heard.tokens[:, crop].flatten()
        tilt = torch.from_numpy(rng.normal(0, TILT, (*features.shape[:2], 1)).astype(np.float32))
        noise = torch.from_numpy(rng.normal(0, NOISE, tuple(features.shape)).astype(np.float32))
        logits = self._model(features + tilt + noise).flatten(0, 1)
        loss = F.cross_entropy(logits.float(), wanted, label_smoothing=LABEL_SMOOTHING)
        with torch.no_grad():
            right = (logits.argmax(-1) == wanted).float().mean()
        return {"loss": loss, "right": right}
