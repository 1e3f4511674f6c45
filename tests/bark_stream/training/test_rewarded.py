"""Rewards: what is earned, who is credited with it, and that a stage learns to earn more."""

from __future__ import annotations

import copy
import dataclasses
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor

from bark_stream.cloning.mel_encoder import NUM_MELS, MelEncoder, MelEncoderConfig
from bark_stream.config import ModelConfig
from bark_stream.training.coarse import coarse_hidden, codebook_rows
from bark_stream.training.gpt import init_gpt
from bark_stream.training.made_sound import Heard, MadeSound, Workshop
from bark_stream.training.mini import NUM_SEMANTIC
from bark_stream.training.rewarded import RewardedCoarseTraining, RewardedTrainingConfig
from bark_stream.training.rewards import MIN_LOG_PROB, Judge, voice_advantage, words_advantage
from bark_stream.training.semantic_tokens import SemanticVocabulary
from bark_stream.training.shards import Clip
from bark_stream.training.speaker_encoder import SpeakerEncoder, SpeakerEncoderTraining, Speakers
from bark_stream.training.streams import Stream
from bark_stream.transformer import CausalGPT

SPEAKERS = (0, 20)


@pytest.fixture(scope="module")
def streams() -> list[Stream]:
    """Random tokens and codes of two speakers."""
    rng = np.random.default_rng(0)
    return [
        Stream(
            speaker=speaker,
            semantic=rng.integers(0, NUM_SEMANTIC, 400).astype(np.int16),
            codes=rng.integers(0, 1024, (8, 600)).astype(np.int16),
            starts=np.array([0, 120], np.int32),
        )
        for speaker in SPEAKERS
    ]


class _Deaf:
    """A workshop whose features are whether the first code is an even one, in every band."""

    frames_per_token = 75 / 49.9

    def features(self, codes: Tensor, first_frame: int) -> Tensor:
        num_tokens = int(codes.shape[2] / self.frames_per_token)
        frames = (torch.arange(num_tokens) * self.frames_per_token).long()
        return (codes[:, 0, frames] % 2 == 0).float()[:, None].expand(-1, NUM_MELS, -1)


class _Even:
    """A judge who likes even codes, and no voice better than another."""

    centroids = dict.fromkeys(SPEAKERS, torch.zeros(1))

    def words(self, features: Tensor, tokens: Tensor) -> Tensor:
        assert features.shape[2] == tokens.shape[1]
        return features[:, 0]

    def voice(self, features: Tensor, speakers: list[int]) -> Tensor:
        assert len(features) == len(speakers)
        return torch.zeros(len(features), features.shape[2])


def _model(config: ModelConfig) -> CausalGPT:
    model = CausalGPT(config.coarse.transformer)
    init_gpt(model, torch.Generator().manual_seed(1))
    return model


def _training(
    model: CausalGPT, config: ModelConfig, streams: list[Stream], **facts: float | int
) -> RewardedCoarseTraining:
    training = dataclasses.replace(RewardedTrainingConfig(num_prompts=2, num_draws=2), **facts)
    return RewardedCoarseTraining(model, streams, config, training, cast(Workshop, _Deaf()), cast(Judge, _Even()))


def test_stage_learns_to_say_what_earns_more(config: ModelConfig, streams: list[Stream]) -> None:
    """Whoever likes even codes hears more and more of them: the only weight that learns here prefers them or not."""
    model = _model(config)
    with torch.no_grad():
        # All states alike, so that a row of the head is a code's bias.
        model.get_parameter("transformer.ln_f.weight").zero_()
        model.get_parameter("transformer.ln_f.weight")[0] = 1.0
        for part in ("attn", "mlp"):
            model.get_parameter(f"transformer.h.0.{part}.c_proj.weight").zero_()
        model.get_parameter("transformer.wte.weight")[:, 0] = 5.0
    training = _training(model, config, streams, temperature=1.0, divergence_weight=0.0)
    rows = codebook_rows(config, 0)
    is_even = torch.where(torch.arange(1024) % 2 == 0, 1.0, -1.0)
    earned = []
    for step in range(5):
        losses = training(step, np.random.default_rng(step))
        model.zero_grad()
        losses["loss"].backward()  # type: ignore[no-untyped-call]
        earned.append(losses["words"].item())
        gradient = model.lm_head.weight.grad
        assert gradient is not None
        with torch.no_grad():
            preference = (gradient[rows, 0] * is_even).sum()
            model.lm_head.weight[rows, 0] -= 0.05 * preference.sign() * is_even
    assert earned[0] == pytest.approx(0.5, abs=0.05)
    assert earned == sorted(earned)
    assert earned[-1] > 0.7


def test_divergence_counts_from_where_the_stage_began(config: ModelConfig, streams: list[Stream]) -> None:
    """Nothing at first; what began is copied, so it does not learn along."""
    model = _model(config)
    training = _training(model, config, streams)
    assert abs(training(0, np.random.default_rng(0))["divergence"].item()) < 1e-6
    with torch.no_grad():
        model.lm_head.weight.mul_(30.0)
    assert training(0, np.random.default_rng(0))["divergence"].item() > 0.01


def test_draws_are_the_stage_s_own(config: ModelConfig, streams: list[Stream]) -> None:
    """Nearly without warmth, each code is the likeliest after those before it, in both windows, and draws agree."""
    model = _model(config).eval()
    with torch.no_grad():
        model.lm_head.weight.mul_(20.0)
    training = _training(model, config, streams, temperature=1e-6)
    drawn = training.play(np.random.default_rng(3))
    assert torch.equal(drawn.codes[0], drawn.codes[1])
    assert not torch.equal(drawn.codes[0], drawn.codes[2])
    assert drawn.speakers[0] == drawn.speakers[1]
    starts = torch.tensor([codebook_rows(config, codebook).start for codebook in (0, 1)])
    flat = (drawn.codes[:, :2] + starts[:, None]).transpose(1, 2).flatten(1)
    new = (drawn.codes.shape[2] - 75) // 2
    for number, token in enumerate((0, round(new / config.frames_per_semantic))):
        window = flat[:, number * new * 2 : (number * new + 75 + new) * 2]
        semantic = drawn.semantic[:, token : token + 160]
        with torch.no_grad():
            hidden = coarse_hidden(model, config, semantic, torch.arange(160), window)
        for codebook in (0, 1):
            rows = codebook_rows(config, codebook)
            likeliest = model.logits(hidden[:, codebook::2], rows).argmax(-1)[:, 75:] + rows.start
            assert (likeliest == window[:, codebook::2][:, 75:]).float().mean() > 0.99


def test_advantage_is_over_the_others_of_the_same_prompt() -> None:
    """What all earn is nobody's merit; who earns more is ahead, from a little before that moment on backwards."""
    earned = torch.zeros(4, 120)
    earned[:2] += 5.0
    earned[1, 60:64] += 1.0
    ahead = words_advantage(earned, 2)
    assert torch.allclose(ahead[0], -ahead[1], atol=1e-3)
    assert torch.equal(ahead[2:], torch.zeros(2, 120))
    assert (ahead[1, 50:62] > 0).all()
    assert ahead[1, 60] > ahead[1, 40] > ahead[1, 10]
    assert torch.allclose(ahead[1, 70:], torch.zeros(50), atol=1e-5)


def test_voice_is_credited_around_each_code() -> None:
    """A little before what was heard, and not long before or after."""
    earned = torch.zeros(2, 200)
    earned[0, 100:110] = 1.0
    ahead = voice_advantage(earned, 2)
    assert (ahead[0, 75:110] > 0).all()
    assert torch.allclose(ahead[0, :65], torch.zeros(65), atol=1e-5)
    assert torch.allclose(ahead[0, 120:], torch.zeros(80), atol=1e-5)


def test_words_are_worth_their_phone_most_of_all() -> None:
    """The token itself earns most, another of its phone less, another phone least, and never below the limit."""
    vocabulary = SemanticVocabulary()
    wanted, alike, other = (vocabulary.id_of(*meaning) for meaning in (("æ", 0, 1), ("ˈæ", 2, 4), ("s", 0, 0)))
    recogniser = MelEncoder(MelEncoderConfig(num_classes=NUM_SEMANTIC, channels=8, num_blocks=1, kernel=3)).eval()
    earned = []
    for heard in (wanted, alike, other):
        with torch.no_grad():
            recogniser.head.weight.zero_()
            recogniser.head.bias.fill_(-20.0)
            recogniser.head.bias[heard] = 20.0
        judge = Judge(recogniser, SpeakerEncoder(1), {})
        earned.append(judge.words(torch.zeros(1, NUM_MELS, 5), torch.full((1, 5), wanted)))
    assert earned[0].allclose(torch.zeros(1, 5), atol=1e-4)
    assert earned[1].allclose(torch.full((1, 5), 0.3 * MIN_LOG_PROB), atol=1e-3)
    assert earned[2].allclose(torch.full((1, 5), MIN_LOG_PROB), atol=1e-3)


class _TwoSounds:
    """A low and a high noise as made sound of two speakers."""

    def draw(self, step: int, rng: np.random.Generator) -> Heard:
        rows = [_noise(speaker, rng) for speaker in SPEAKERS * 4]
        return Heard(torch.stack(rows), torch.zeros(8, 120, dtype=torch.int64), SPEAKERS * 4)


def _noise(speaker: int, rng: np.random.Generator) -> Tensor:
    tilt = np.linspace(-1, 1, NUM_MELS)[:, None] * (1 if speaker else -1)
    return torch.from_numpy((tilt + rng.normal(0, 1, (NUM_MELS, 120))).astype(np.float32))


def test_speaker_encoder_learns_who_it_is(config: ModelConfig) -> None:
    """Two speakers of opposite tilt: after some steps the judge finds each nearer to himself than to the other."""
    torch.manual_seed(0)

    class Plain:
        def features_of(self, pcm: Tensor) -> Tensor:
            return _noise(int(pcm.mean() > 0) * 20, np.random.default_rng(1))[None]

    clips = [
        Clip(
            text="",
            speaker=speaker,
            pcm=np.full(30_000, 100 if speaker else -100, np.int16),
            tokens=np.zeros(1, np.int16),
            chars=np.zeros(1, np.float16),
        )
        for speaker in SPEAKERS
    ]
    speakers = Speakers(clips, cast(Workshop, Plain()))
    model = SpeakerEncoder(len(speakers.numbers))
    training = SpeakerEncoderTraining(model, speakers, cast(MadeSound, _TwoSounds()), batch_size=16)
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    for step in range(30):
        losses = training(step, np.random.default_rng(step))
        optimiser.zero_grad()
        losses["loss"].backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert losses["right"].item() > 0.9
    judge = Judge(MelEncoder(MelEncoderConfig(num_classes=2)), model.eval(), speakers.centroids(model))
    rng = np.random.default_rng(9)
    features = torch.stack([_noise(speaker, rng) for speaker in SPEAKERS])
    own, others = judge.voice(features, list(SPEAKERS)), judge.voice(features, list(SPEAKERS[::-1]))
    assert own.shape == (2, 120)
    assert (own > others + 0.2).all()


def test_prompts_and_texts_that_are_too_short_are_left_out(config: ModelConfig, streams: list[Stream]) -> None:
    """A speaker whom the judge does not know gives no prompt."""
    unknown = dataclasses.replace(streams[0], speaker=99)
    training = _training(copy.deepcopy(_model(config)), config, [unknown, *streams])
    assert {s for seed in range(6) for s in training.play(np.random.default_rng(seed)).speakers} <= set(SPEAKERS)
