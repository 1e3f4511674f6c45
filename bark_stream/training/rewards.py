"""What a drawn window is worth, moment by moment: is it what should be said, and does it sound like who says it?

Words are worth the recogniser's log-probability of the phone, and a little that of the very token; the voice, how near
short windows lie to the speaker's centroid. Draws after the same prompt share every moment, so what the others earned
then is what one could expect (RLOO: Ahmadian et al., 2024, moment by moment). Knows no stage.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from bark_stream.cloning.mel_encoder import MelEncoder
from bark_stream.training.semantic_tokens import SemanticVocabulary
from bark_stream.training.speaker_encoder import SpeakerEncoder

PHONE_WEIGHT = 0.7
"""The rest is the token's, with its third and its pitch."""
MIN_LOG_PROB = -7.0
SPEAKER_TOKENS, SPEAKER_HOP_TOKENS = 25, 5
"""Windows in which the speaker is told."""
WORDS_DISCOUNT = 0.94
"""By frame: a code is heard at once, and in what goes on from it."""
EARLY_FRAMES = 3
"""The decoder and the ear spread a code over what came before it."""
VOICE_BEFORE_FRAMES, VOICE_AFTER_FRAMES = 5, 30
"""Of a code, in which the voice is credited to it."""
MAX_ADVANTAGE = 3.0


@dataclass(frozen=True, slots=True)
class Judge:
    """The two that were taught to listen."""

    recogniser: MelEncoder
    encoder: SpeakerEncoder
    centroids: dict[int, Tensor]
    """By speaker: [SIZE]."""

    @torch.no_grad()
    def words(self, features: Tensor, tokens: Tensor) -> Tensor:
        """[B, M, N] and what should be said [B, N] -> [B, N] a weighted log-probability."""
        log_probs = self.recogniser(features).float().log_softmax(-1)
        phones = _phones()
        by_phone = torch.zeros(*log_probs.shape[:2], int(phones.max()) + 1).index_add_(2, phones, log_probs.exp())
        of_phone = by_phone.log().gather(2, phones[tokens][..., None])[..., 0].clamp(min=MIN_LOG_PROB)
        of_token = log_probs.gather(2, tokens[..., None])[..., 0].clamp(min=MIN_LOG_PROB)
        earned: Tensor = PHONE_WEIGHT * of_phone + (1 - PHONE_WEIGHT) * of_token
        return earned

    @torch.no_grad()
    def voice(self, features: Tensor, speakers: list[int]) -> Tensor:
        """[B, M, N] and who should speak -> [B, N] cosines, each the mean over the windows that a moment lies in."""
        frames = self.encoder.frames(features - features.mean((1, 2), keepdim=True))
        own = torch.stack([self.centroids[speaker] for speaker in speakers])
        earned, counts = torch.zeros(len(features), frames.shape[2]), torch.zeros(frames.shape[2])
        for first in range(0, frames.shape[2] - SPEAKER_TOKENS + 1, SPEAKER_HOP_TOKENS):
            window = slice(first, first + SPEAKER_TOKENS)
            earned[:, window] += (self.encoder.pooled(frames[:, :, window]) * own).sum(1, keepdim=True)
            counts[window] += 1
        return earned / counts.clamp(min=1)


def words_advantage(earned: Tensor, num_alike: int) -> Tensor:
    """[B, T] by frame, rows in groups of `num_alike` -> [B, T] how much better than the others a draw went on."""
    gained, later = torch.zeros_like(earned), torch.zeros(len(earned))
    for frame in reversed(range(earned.shape[1])):
        later = earned[:, frame] + WORDS_DISCOUNT * later
        gained[:, frame] = later
    # A code is heard a little before its frame, too.
    gained = torch.cat([gained[:, :1].expand(-1, EARLY_FRAMES), gained[:, :-EARLY_FRAMES]], 1)
    return _against_others(gained, num_alike)


def voice_advantage(earned: Tensor, num_alike: int) -> Tensor:
    """The same for the voice, which is credited around each code."""
    num_frames = earned.shape[1]
    sums = torch.cat([torch.zeros(len(earned), 1), earned.cumsum(1)], 1)
    first = (torch.arange(num_frames) - VOICE_BEFORE_FRAMES).clamp(min=0)
    last = (torch.arange(num_frames) + VOICE_AFTER_FRAMES).clamp(max=num_frames)
    return _against_others((sums[:, last] - sums[:, first]) / (last - first), num_alike)


def _against_others(gained: Tensor, num_alike: int) -> Tensor:
    """[B, T] less the mean of the group's others, of variance 1."""
    groups = gained.view(-1, num_alike, gained.shape[1])
    ahead = ((groups - groups.mean(1, keepdim=True)) * (num_alike / (num_alike - 1))).view_as(gained)
    return (ahead / ahead.std().clamp(min=1e-6)).clamp(-MAX_ADVANTAGE, MAX_ADVANTAGE)


@cache
def _phones() -> Tensor:
    """[V] int64: tokens of one phone, stressed or not, have one number."""
    names = [meaning.phone.lstrip("ˈ") for meaning in SemanticVocabulary().meanings]
    numbers = {name: number for number, name in enumerate(sorted(set(names)))}
    return torch.tensor([numbers[name] for name in names])
