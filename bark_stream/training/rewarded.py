"""The coarse stage, rewarded for what it says freely.

Every other lesson shows the stage what comes after true codes, or what another model would say. Here it goes on by
itself for some four seconds, the stages after it make that sound, and draws that were understood, and that sound like
who speaks, become likelier than others after the same prompt (REINFORCE with a baseline; how far it may go from where
it began is limited by a divergence, as in Ziegler et al., 2019). Draws are the inference's own. Knows no sound.
"""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from bark_stream.coarse import CoarseRun, CoarseStage
from bark_stream.coarse_window import flat_codes
from bark_stream.config import ModelConfig
from bark_stream.training.coarse import coarse_hidden, codebook_rows
from bark_stream.training.made_sound import Workshop
from bark_stream.training.rewards import Judge, voice_advantage, words_advantage
from bark_stream.training.streams import Stream, shares
from bark_stream.transformer import CausalGPT


@dataclass(frozen=True, kw_only=True, slots=True)
class RewardedTrainingConfig:
    """What a step sees."""

    num_prompts: int = 8
    num_draws: int = 4
    """After each prompt."""
    history_tokens: int = 50
    """Semantic tokens of the prompt: what a stream looks back on."""
    temperature: float = 0.4
    """Warmer than inference, so that draws differ."""
    voice_weight: float = 2.0
    """Of the voice's advantage beside that of the words."""
    divergence_weight: float = 0.05
    own_text_share: float = 0.3
    """Prompts that go on with what their speaker said; the others with a sentence of somebody else."""
    num_at_once: int = 8
    """Windows in one piece of the loss."""


class Draws(NamedTuple):
    """What was said after some prompts."""

    semantic: Tensor
    """[B, N] int64 of prompt and speech."""
    codes: Tensor
    """[B, K, T] int64; upper codes are the prompt's, and 0 after it."""
    speakers: list[int]


class RewardedCoarseTraining:
    """Losses of a coarse stage that is rewarded, step by step."""

    def __init__(
        self,
        model: CausalGPT,
        streams: list[Stream],
        config: ModelConfig,
        training: RewardedTrainingConfig,
        workshop: Workshop,
        judge: Judge,
    ) -> None:
        """Args: model: as it begins; that is also what it may not leave too far behind."""
        self._model = model
        self._first = copy.deepcopy(model).eval()
        self._speaking = CausalGPT(config.coarse.transformer, config.coarse_rows).eval()
        self._config = config
        self._training = training
        self._workshop = workshop
        self._judge = judge
        ratio, slots = config.frames_per_semantic, config.coarse.max_semantic_tokens
        self._history_frames = round(training.history_tokens * ratio)
        room = config.coarse.transformer.block_size - config.coarse.num_prefix_positions
        self._new_frames = min(
            room // config.coarse.num_codebooks - self._history_frames, int(slots * ratio) - self._history_frames
        )
        # The second window goes on from the end of the first.
        self._second_token = round(self._new_frames / ratio)
        self._new_frames = round(self._second_token * ratio)
        self._num_tokens = self._second_token + slots
        self._prompts = [s for s in streams if s.speaker in judge.centroids and len(s.semantic) > self._needed]
        self._texts = [s for s in streams if len(s.semantic) > self._num_tokens]
        lengths = np.array([len(s.semantic) for s in self._prompts], np.float64)
        self._weights = shares(self._prompts, lengths)

    def __call__(self, step: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """Losses of one step: loss, what was earned, and how far the stage is from where it began (KL, nats)."""
        drawn = self.play(rng)
        features = self._workshop.features(drawn.codes, self._history_frames)
        num_tokens = min(features.shape[2], self._num_tokens)
        features, wanted = features[:, :, :num_tokens], drawn.semantic[:, :num_tokens]
        words = self._by_frame(self._judge.words(features, wanted))
        voice = self._by_frame(self._judge.voice(features, drawn.speakers))
        num_draws, spoken = self._training.num_draws, slice(self._history_frames, None)
        advantage = words_advantage(words, num_draws) + self._training.voice_weight * voice_advantage(voice, num_draws)
        loss, divergence = self._losses(drawn, advantage[:, spoken])
        return {
            "loss": loss,
            "divergence": divergence,
            "words": words[:, spoken].mean(),
            "voice": voice[:, spoken].mean(),
        }

    def play(self, rng: np.random.Generator) -> Draws:
        """Some prompts, each gone on from several times, two windows long."""
        self._speaking.load_state_dict(self._model.state_dict())
        prompts = [self._prompt(rng) for _ in range(self._training.num_prompts)]
        repeated = [prompt for prompt in prompts for _ in range(self._training.num_draws)]
        semantic = torch.from_numpy(np.stack([row[0] for row in repeated]))
        history = torch.from_numpy(np.stack([row[1] for row in repeated]))
        slots, kept = self._config.coarse.max_semantic_tokens, self._config.coarse.num_codebooks
        codes = history[:, :kept]
        for first in (0, self._second_token):
            before = codes[:, :, -self._history_frames :]
            new = self._go_on(semantic[:, first : first + slots], before, rng)
            codes = torch.cat([codes, new], 2)
        whole = torch.zeros(len(codes), history.shape[1], codes.shape[2], dtype=torch.int64)
        whole[:, :, : self._history_frames] = history
        whole[:, :kept] = codes
        return Draws(semantic, whole, [row[2] for row in repeated])

    @property
    def _needed(self) -> int:
        """Semantic tokens of a stream that a prompt is cut from."""
        return self._training.history_tokens + 2

    def _prompt(self, rng: np.random.Generator) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], int]:
        """Semantic tokens [N] of prompt and text, all codes [K, H] of the prompt, who speaks."""
        stream = self._prompts[int(rng.choice(len(self._prompts), p=self._weights))]
        history, ratio = self._training.history_tokens, self._config.frames_per_semantic
        goes_on = len(stream.semantic) > self._num_tokens and rng.random() < self._training.own_text_share
        last = len(stream.semantic) - (self._num_tokens if goes_on else self._needed)
        token = int(rng.integers(0, last + 1))
        semantic = stream.semantic[token : token + self._num_tokens]
        if not goes_on:
            text = self._texts[int(rng.integers(len(self._texts)))]
            rest = self._num_tokens - history
            starts = [start for start in text.starts if start + rest <= len(text.semantic)]
            start = int(rng.choice(starts)) if starts else 0
            semantic = np.concatenate([semantic[:history], text.semantic[start : start + rest]])
        frame = min(round(token * ratio), stream.codes.shape[1] - self._history_frames)
        codes = stream.codes[:, frame : frame + self._history_frames]
        return semantic.astype(np.int64), codes.astype(np.int64), stream.speaker

    @torch.no_grad()
    def _go_on(self, semantic: Tensor, codes: Tensor, rng: np.random.Generator) -> Tensor:
        """Windows as inference lays them: [B, S], [B, K, H] -> [B, K, T] new codes."""
        stage = CoarseStage(self._speaking, self._config, len(semantic))
        sampling = dataclasses.replace(self._config.sampling, waveform_temperature=self._training.temperature)
        num_tokens = self._new_frames * self._config.coarse.num_codebooks
        runs = []
        for row, history in zip(semantic, flat_codes(codes.numpy(), self._config), strict=True):
            generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
            run = CoarseRun(row.tolist(), self._training.history_tokens, history.tolist(), sampling, generator)
            stage.open_window(run, num_tokens)
            runs.append(run)
        with torch.autocast("cpu", enabled=False):
            while runs[0].is_window_open:
                stage.step(runs)
        return torch.from_numpy(np.stack([stage.codes(run) for run in runs]))

    def _losses(self, drawn: Draws, advantage: Tensor) -> tuple[Tensor, Tensor]:
        """Of all windows, a few at once: minus what is gained, and the divergence, already weighed in."""
        losses, divergences = [], []
        slots, new, history = self._config.coarse.max_semantic_tokens, self._new_frames, self._history_frames
        coarse_codes = drawn.codes[:, : self._config.coarse.num_codebooks].numpy()
        for number, first in enumerate((0, self._second_token)):
            frame = number * new
            flat = torch.from_numpy(flat_codes(coarse_codes[:, :, frame : frame + history + new], self._config))
            for row in range(0, len(flat), self._training.num_at_once):
                rows = slice(row, row + self._training.num_at_once)
                loss, divergence = self._window_loss(
                    drawn.semantic[rows, first : first + slots],
                    flat[rows],
                    advantage[rows, frame : frame + new],
                )
                losses.append(loss)
                divergences.append(divergence)
        return torch.stack(losses).mean(), torch.stack(divergences).mean()

    def _window_loss(self, semantic: Tensor, codes: Tensor, advantage: Tensor) -> tuple[Tensor, Tensor]:
        config, every = self._config, torch.arange(self._config.coarse.max_semantic_tokens)
        num_codebooks = config.coarse.num_codebooks
        spoken = slice(self._history_frames * num_codebooks, None)
        hidden = coarse_hidden(self._model, config, semantic, every, codes)[:, spoken]
        with torch.no_grad():
            first = coarse_hidden(self._first, config, semantic, every, codes)[:, spoken]
        gains, divergences = [], []
        for codebook in range(num_codebooks):
            rows, own = codebook_rows(config, codebook), slice(codebook, None, num_codebooks)
            logits = self._model.logits(hidden[:, own], rows).float()
            drawn = (codes[:, spoken][:, own] - rows.start)[..., None]
            with torch.no_grad():
                before = self._first.logits(first[:, own], rows).float().log_softmax(-1)
            log_probs = logits.log_softmax(-1)
            divergences.append(F.kl_div(before, log_probs, reduction="none", log_target=True).sum(-1).mean())
            warm = (logits / self._training.temperature).log_softmax(-1)
            gains.append((advantage * warm.gather(2, drawn)[..., 0]).mean())
        divergence = torch.stack(divergences).mean()
        return self._training.divergence_weight * divergence - torch.stack(gains).mean(), divergence.detach()

    def _by_frame(self, earned: Tensor) -> Tensor:
        """[B, N] by semantic token -> [B, T] by frame."""
        num_frames = self._history_frames + 2 * self._new_frames
        tokens = (torch.arange(num_frames) / self._config.frames_per_semantic).long()
        return earned[:, tokens.clamp(max=earned.shape[1] - 1)]
