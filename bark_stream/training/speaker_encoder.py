"""Training of who judges voices: a small speaker encoder, which serves training alone.

Half of what it hears are the speakers themselves, half what the decoder makes of their codes, so that it tells
speakers apart and not the codec from the world. The margin is additive on the cosine (CosFace: Wang et al., 2018).
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bark_stream.cloning.mel_encoder import NUM_MELS
from bark_stream.training.made_sound import MadeSound, Workshop
from bark_stream.training.shards import Clip

CHANNELS, SIZE = 160, 96
MARGIN, SCALE = 0.1, 20.0
MIN_TOKENS, MAX_TOKENS = 18, 100
"""Of a crop: a third of a second to two."""
MIN_CLIP_S = 1.0
MAX_CLIPS = 40
"""Of a speaker."""
MAX_NOISE = (-9.0, -3.0)
"""Log of a floor under the features, as loud rooms have it, in every second crop."""


class SpeakerEncoder(nn.Module):
    """Features -> what is a speaker's own in them."""

    def __init__(self, num_speakers: int) -> None:
        super().__init__()
        sizes = ((NUM_MELS, 5, 1), (CHANNELS, 3, 1), (CHANNELS, 3, 2))
        self.convolutions = nn.ModuleList(
            nn.Conv1d(size, CHANNELS, kernel, padding=kernel // 2 * dilation, dilation=dilation)
            for size, kernel, dilation in sizes
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(CHANNELS) for _ in sizes)
        self.out = nn.Linear(2 * CHANNELS, SIZE)
        self.speakers = nn.Parameter(F.normalize(torch.randn(num_speakers, SIZE), dim=1))
        """Serves its own training alone."""

    def frames(self, features: Tensor) -> Tensor:
        """[B, M, N] features, their mean 0 -> [B, C, N]."""
        hidden: Tensor = torch.relu(self.norms[0](self.convolutions[0](features)))
        for convolution, norm in list(zip(self.convolutions, self.norms, strict=True))[1:]:
            hidden = hidden + torch.relu(norm(convolution(hidden)))
        return hidden

    def pooled(self, frames: Tensor) -> Tensor:
        """[B, C, N] of some moments -> [B, SIZE] of length 1."""
        statistics = torch.cat([frames.mean(2), (frames.var(2) + 1e-4).sqrt()], 1)
        return F.normalize(self.out(statistics), dim=1)

    def forward(self, features: Tensor) -> Tensor:
        """[B, M, N] -> [B, SIZE]."""
        return self.pooled(self.frames(features - features.mean((1, 2), keepdim=True)))


class Speakers:
    """What is there to be heard of each speaker: features [M, N] of some clips."""

    def __init__(self, clips: list[Clip], workshop: Workshop) -> None:
        self._features: dict[int, list[Tensor]] = {}
        for clip in clips:
            kept = self._features.setdefault(clip.speaker, [])
            if len(clip.pcm) >= MIN_CLIP_S * 24_000 and len(kept) < MAX_CLIPS:
                pcm = torch.from_numpy(clip.pcm.astype(np.float32) / 32768.0)[None]
                kept.append(workshop.features_of(pcm)[0].half())
        self._features = {speaker: kept for speaker, kept in self._features.items() if kept}
        self.numbers = sorted(self._features)

    def draw(self, rng: np.random.Generator) -> tuple[int, Tensor]:
        """A speaker's place among `numbers`, and a clip of his."""
        place = int(rng.integers(len(self.numbers)))
        kept = self._features[self.numbers[place]]
        return place, kept[int(rng.integers(len(kept)))].float()

    @torch.no_grad()
    def centroids(self, encoder: SpeakerEncoder) -> dict[int, Tensor]:
        """Where each speaker's clips lie on average: [SIZE] of length 1."""
        encoder.eval()
        return {
            speaker: F.normalize(torch.stack([encoder(m.float()[None])[0] for m in kept]).mean(0), dim=0)
            for speaker, kept in self._features.items()
        }


class SpeakerEncoderTraining:
    """Losses of speaker encoder training, step by step."""

    def __init__(self, model: SpeakerEncoder, speakers: Speakers, sound: MadeSound, batch_size: int = 96) -> None:
        self._model = model
        self._speakers = speakers
        self._sound = sound
        self._batch_size = batch_size
        self._places = {speaker: place for place, speaker in enumerate(speakers.numbers)}

    def __call__(self, step: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """Losses of one step: cross-entropy, and the share of speakers that are told."""
        length = int(rng.integers(MIN_TOKENS, MAX_TOKENS))
        rows = [self._speakers.draw(rng) for _ in range(self._batch_size // 2)]
        while len(rows) < self._batch_size:
            heard = self._sound.draw(step, rng)
            rows += [(self._places[s], m) for s, m in zip(heard.speakers, heard.features, strict=True)]
        rows = rows[: self._batch_size]
        wanted = torch.tensor([place for place, _ in rows])
        crops = torch.stack([_crop(features, length, rng) for _, features in rows])
        cosine = self._model.pooled(self._model.frames(crops)) @ F.normalize(self._model.speakers, dim=1).T
        cosine = cosine - MARGIN * F.one_hot(wanted, len(self._places))
        loss = F.cross_entropy(SCALE * cosine.float(), wanted)
        right = (cosine.argmax(1) == wanted).float().mean()
        return {"loss": loss, "right": right.detach()}


def _crop(features: Tensor, length: int, rng: np.random.Generator) -> Tensor:
    """[M, N] -> [M, length], the clip again where it is shorter; loudness is taken over the whole clip."""
    if rng.random() < 0.5:
        features = torch.logaddexp(features, torch.tensor(float(rng.uniform(*MAX_NOISE))))
    features = features - features.mean()
    first = int(rng.integers(0, max(1, features.shape[1] - length + 1)))
    crop = features[:, first : first + length]
    return crop.repeat(1, -(-length // crop.shape[1]))[:, :length]
