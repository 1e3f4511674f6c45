"""The decoder's training: what it is given and what it is compared with."""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from bark_stream.training.codec import HOP_SAMPLES, LOUDNESS, CodecTrainingConfig
from bark_stream.training.decoder import DecoderTraining
from bark_stream.training.mini import mini_config
from bark_stream.training.streams import Stream
from bark_stream.training.voices import VOICES

NUM_FRAMES = 600


class _FirstCode(nn.Module):
    """A quantizer whose latent is the first code."""

    def decode(self, codes: Tensor) -> Tensor:
        """[K, B, T] -> [B, 1, T]."""
        return codes[0][:, None].float()


class _Level(nn.Module):
    """A decoder whose sound stands at the latent's value."""

    def forward(self, latent: Tensor) -> Tensor:
        """[B, 1, T] -> [B, 1, T * 320]."""
        return latent.repeat_interleave(HOP_SAMPLES, dim=2) * (LOUDNESS / 32768.0)


class _Codec(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.quantizer, self.decoder = nn.Identity(), _FirstCode(), _Level()


def test_decoder_is_compared_with_the_sound_of_its_codes() -> None:
    """Sound that tells its frame, codes that tell it too: a decoder that says what it hears makes no error."""
    frames = np.arange(NUM_FRAMES)
    tokens = round(NUM_FRAMES * 49.9 / 75)
    stream = Stream(
        speaker=VOICES[0],
        semantic=np.zeros(tokens, np.int16),
        codes=np.tile(frames, (8, 1)).astype(np.int16),
        starts=np.zeros(1, np.int32),
    )
    sound = np.repeat(frames, HOP_SAMPLES).astype(np.int16)
    config = CodecTrainingConfig(batch_size=6)
    training = DecoderTraining(_Codec(), [stream], [sound], mini_config(), config)
    rng = np.random.default_rng(1)
    for step in range(40):
        losses = training(step, rng)
        assert float(losses["mel"]) == 0.0
        assert float(losses["harmonics"]) == 0.0
        assert float(losses["wave"]) < 1e-12
    moved = DecoderTraining(_Codec(), [stream], [sound + 1], mini_config(), config)
    assert float(moved(0, rng)["loss"]) > 0.0
