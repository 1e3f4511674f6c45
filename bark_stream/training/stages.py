"""What each trainable part is made of: its model, its losses, its usual pace. Knows no command line.

A workspace is a folder: `shards/` (what was read aloud), `streams/<codec>/` (codes of it), `runs/<part>/`.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from bark_stream.cloning.mel_encoder import MelEncoder, MelEncoderConfig
from bark_stream.config import ModelConfig
from bark_stream.errors import CheckpointError, ConfigError
from bark_stream.training.coarse import CoarseRemake, CoarseTraining, CoarseTrainingConfig, init_coarse
from bark_stream.training.codec import (
    HOP_SAMPLES,
    SAMPLE_RATE_HZ,
    CodecModel,
    CodecTraining,
    CodecTrainingConfig,
    codebooks_of,
)
from bark_stream.training.decoder import DecoderTraining
from bark_stream.training.envelope import find_turn, fit_split, listen, turned_codec
from bark_stream.training.fine import FineRemake, FineTraining, FineTrainingConfig, init_fine
from bark_stream.training.guidance import CoarseGuide, GuidedCoarseTraining
from bark_stream.training.latent_mean import LatentMean, LatentMeanTraining
from bark_stream.training.made_sound import MadeSound, Workshop
from bark_stream.training.mini import NUM_SEMANTIC, mini_config
from bark_stream.training.parts import PARTS
from bark_stream.training.recogniser import RecogniserTraining, recogniser
from bark_stream.training.rewarded import RewardedCoarseTraining, RewardedTrainingConfig
from bark_stream.training.rewards import Judge
from bark_stream.training.run import (
    CHECKPOINT,
    Progress,
    RunConfig,
    StepFunction,
    read_weights,
    train,
    write_checkpoint,
)
from bark_stream.training.semantic import SemanticTraining, SemanticTrainingConfig, init_semantic
from bark_stream.training.semantic_encoder import SemanticEncoderTraining
from bark_stream.training.shards import Clip, read_shard, read_shards
from bark_stream.training.speaker_encoder import SpeakerEncoder, SpeakerEncoderTraining, Speakers
from bark_stream.training.streams import Stream, encode_shard, group_clips, read_streams, sound_of_tokens
from bark_stream.transformer import CausalGPT, FineGPT

SOUND_KINDS = ("speech", "expressive", "strangers", "pairs")
SPEAKING_KINDS = ("speech", "strangers", "pairs")
"""Of which speakers are told: songs and sighs are nobody's voice."""
TEXT_KINDS = ("alignment", "expressive_alignment", "pairs")
SPELLING_KIND = "spelling"
DECODER_CROP_FRAMES = 56
"""Those included in which the decoder's memory fills."""
SHARDS, STREAMS, RUNS = "shards", "streams", "runs"
SPLIT = "split"
SPLIT_SHARDS, SPLIT_CLIPS, SPLIT_CLIP_S = 30, 240, 4
"""Sound from which the codec's directions are told: so many shards, clips in all, and the first seconds of each."""

_PACES = {
    "codec": RunConfig(num_steps=3000, learning_rate=3e-3, betas=(0.9, 0.99), clip_norm=5.0, weight_decay=0.0),
    "decoder": RunConfig(num_steps=4000, learning_rate=1e-3, betas=(0.9, 0.99), clip_norm=5.0, weight_decay=0.0),
    "semantic": RunConfig(num_steps=6000, learning_rate=2e-3, weight_decay=0.02),
    "coarse": RunConfig(num_steps=4000, learning_rate=2e-3, weight_decay=0.02),
    "coarse_unconditional": RunConfig(num_steps=350, learning_rate=1e-3, weight_decay=0.02),
    "coarse_guided": RunConfig(num_steps=2300, learning_rate=1e-3, weight_decay=0.02),
    "latent_mean": RunConfig(num_steps=700, learning_rate=1.5e-3, weight_decay=0.02),
    "fine": RunConfig(num_steps=3000, learning_rate=2e-3, weight_decay=0.02),
    "semantic_encoder": RunConfig(num_steps=1500, learning_rate=2e-3, weight_decay=0.01),
    "recogniser": RunConfig(num_steps=2600, learning_rate=2e-3, weight_decay=0.02, with_muon=False),
    "speaker_encoder": RunConfig(num_steps=2200, learning_rate=2e-3, weight_decay=0.01, with_muon=False),
    "coarse_rewarded": RunConfig(
        num_steps=240, learning_rate=3e-4, weight_decay=0.0, warmup_steps=8, final_rate=0.1, in_bfloat16=True
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A part ready to be trained."""

    model: nn.Module
    step: StepFunction


def default_pace(part: str) -> RunConfig:
    """The recipe's steps and rates of a part."""
    return _PACES[part]


def train_part(
    part: str,
    workspace: Path,
    pace: RunConfig,
    *,
    start: Mapping[str, Tensor] | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    stop_after: int | None = None,
) -> int:
    """Train one part in its run folder, from its checkpoint if it has one.

    Args:
        part: one of PARTS.
        start: weights to begin with instead of fresh ones, as when an existing model is fine-tuned.
    Returns: steps done in all.
    Raises: ConfigError for an unknown part, CheckpointError if data or an earlier part is missing.
    """
    if part not in PARTS:
        raise ConfigError("part", f"is not one of {', '.join(PARTS)}")
    run = workspace / RUNS / part
    torch.manual_seed(pace.seed)
    made = build_part(part, workspace)
    if start is not None and not (run / CHECKPOINT).exists():
        # A finished model lacks what serves training alone.
        made.model.load_state_dict(made.model.state_dict() | dict(start))
    return train(made.model, made.step, run, pace, on_progress=on_progress, stop_after=stop_after)


def build_part(part: str, workspace: Path) -> Part:
    """Model and losses of a part, with the workspace's data."""
    config = mini_config()
    match part:
        case "codec":
            sound = np.concatenate([clip.pcm for clip in sound_clips(workspace)])
            model = CodecModel(config.codec.num_filters)
            return Part(model=model, step=CodecTraining(model, sound, CodecTrainingConfig()))
        case "decoder":
            return _decoder(workspace, config)
        case "semantic":
            gpt = CausalGPT(config.semantic.transformer)
            init_semantic(gpt, config.semantic, seed=1)
            clips = _clips(workspace, TEXT_KINDS)
            spelled = read_shards(workspace / SHARDS, SPELLING_KIND)
            step = SemanticTraining(gpt, clips, config.semantic, SemanticTrainingConfig(), spelled)
            return Part(model=gpt, step=step)
        case "coarse":
            gpt = CausalGPT(config.coarse.transformer)
            init_coarse(gpt, config, codebooks(workspace), seed=1)
            return Part(model=gpt, step=_coarse_training(gpt, workspace, config, CoarseTrainingConfig()))
        case "coarse_unconditional":
            gpt = _trained_coarse(workspace / RUNS / "coarse", config)
            training = CoarseTrainingConfig(is_unconditional=True)
            return Part(model=gpt, step=_coarse_training(gpt, workspace, config, training))
        case "coarse_guided":
            gpt = _trained_coarse(workspace / RUNS / "coarse", config)
            unconditional = _trained_coarse(workspace / RUNS / "coarse_unconditional", config)
            guide = CoarseGuide(copy.deepcopy(gpt).eval(), unconditional.eval())
            windows = _coarse_training(gpt, workspace, config, CoarseTrainingConfig(own_share=0.0))
            return Part(model=gpt, step=GuidedCoarseTraining(gpt, guide, windows, config))
        case "latent_mean":
            mean, streams = LatentMean(config, codebooks(workspace)), workspace_streams(workspace)
            return Part(model=mean, step=LatentMeanTraining(mean, streams, config, FineTrainingConfig()))
        case "fine":
            fine = FineGPT(config.fine.transformer, num_codebooks=config.fine.num_codebooks, num_codebooks_given=1)
            vectors = codebooks(workspace)
            init_fine(fine, vectors, seed=1)
            streams = workspace_streams(workspace)
            mean = LatentMean(config, vectors)
            # Before there is one, as when an existing model is fine-tuned, true codes are what is to be made.
            wanted = mean.codes if _load_if_trained(mean, workspace, "latent_mean") else torch.clone
            return Part(model=fine, step=FineTraining(fine, streams, config, FineTrainingConfig(), wanted))
        case "recogniser":
            ear = recogniser()
            return Part(model=ear, step=RecogniserTraining(ear, _made_sound(workspace, _workshop(workspace, config))))
        case "speaker_encoder":
            workshop = _workshop(workspace, config)
            speakers = Speakers(_speaking_clips(workspace), workshop)
            speaker_encoder = SpeakerEncoder(len(speakers.numbers))
            made = _made_sound(workspace, workshop)
            return Part(model=speaker_encoder, step=SpeakerEncoderTraining(speaker_encoder, speakers, made))
        case "coarse_rewarded":
            gpt = _trained_coarse(_taught_coarse(workspace), config)
            workshop = _workshop(workspace, config)
            judge = _judge(workspace, workshop)
            streams = workspace_streams(workspace)
            rewarded = RewardedCoarseTraining(gpt, streams, config, RewardedTrainingConfig(), workshop, judge)
            return Part(model=gpt, step=rewarded)
        case _:
            encoder = MelEncoder(MelEncoderConfig(num_classes=NUM_SEMANTIC))
            clips = [c for kind in SOUND_KINDS[:-1] for c in read_shards(workspace / SHARDS, kind)]
            return Part(model=encoder, step=SemanticEncoderTraining(encoder, clips))


def split_codec(workspace: Path, seed: int = 1) -> None:
    """Turn the trained codec so that its coarse codebooks hold the envelope (see `envelope`).

    What follows uses that codec; the run it was made of stays as it is.
    Raises: CheckpointError if there is no trained codec or no sound.
    """
    weights = read_weights(workspace / RUNS / "codec")
    model = CodecModel(mini_config().codec.num_filters)
    model.load_state_dict(weights)
    model.eval()
    rng = np.random.default_rng(seed)
    shards = _sound_shards(workspace)
    sounds = []
    for number in rng.choice(len(shards), min(len(shards), SPLIT_SHARDS), replace=False):
        clips = list(read_shard(shards[number]))
        chosen = rng.choice(len(clips), min(len(clips), SPLIT_CLIPS // SPLIT_SHARDS), replace=False)
        sounds += [sound_of_tokens(clips[clip])[: SPLIT_CLIP_S * SAMPLE_RATE_HZ] for clip in chosen]
    latents = listen(model, sounds)
    turn = find_turn(latents)
    folder = workspace / RUNS / SPLIT
    folder.mkdir(parents=True, exist_ok=True)
    write_checkpoint({"model": turned_codec(weights, turn, fit_split(turn, latents.values, rng))}, folder)


def encode_workspace(
    workspace: Path, *, on_shard: Callable[[int, int], None] = lambda done, total: None, every: int = 1, first: int = 0
) -> None:
    """Write the codes of all sound that has none from the present codec.

    Args: every, first: only each so many-th shard, so that several processes can share the work.
    Raises: CheckpointError if there is no trained codec or no sound.
    """
    model = CodecModel(mini_config().codec.num_filters)
    model.load_state_dict(codec_weights(workspace))
    model.eval()
    folder = streams_folder(workspace)
    folder.mkdir(parents=True, exist_ok=True)
    shards = _sound_shards(workspace)[first::every]
    for done, shard in enumerate(shards, 1):
        path = folder / shard.name
        if not path.exists():
            encode_shard(model, list(read_shard(shard)), path)
        on_shard(done, len(shards))


def streams_folder(workspace: Path) -> Path:
    """Where the codes of the present encoder and codebooks lie; another encoder's lie elsewhere."""
    digest = hashlib.sha256()
    for name, tensor in sorted(codec_weights(workspace).items()):
        if name.startswith("encoder.") or name.endswith("_codebook.embed"):
            digest.update(tensor.numpy().tobytes())
    return workspace / STREAMS / digest.hexdigest()[:12]


def workspace_streams(workspace: Path) -> list[Stream]:
    """All streams encoded so far.

    Raises: CheckpointError if there are none.
    """
    paths = sorted(streams_folder(workspace).glob("*.npz"))
    if not paths:
        raise CheckpointError(str(workspace / STREAMS), "holds no codes of this codec; encode first")
    return [stream for path in paths for stream in read_streams(path)]


def codec_weights(workspace: Path) -> dict[str, Tensor]:
    """The codec with its newest decoder.

    Raises: CheckpointError if there is none.
    """
    run = workspace / RUNS / "decoder"
    return read_weights(run if (run / CHECKPOINT).exists() else _frozen_codec(workspace))


def codebooks(workspace: Path) -> Tensor:
    """[K, 1024, D] the codec's code vectors."""
    return codebooks_of(codec_weights(workspace))


def coarse_run(workspace: Path) -> Path:
    """The run of the coarse stage that speaks: the rewarded one, once there is one, else the guided one."""
    rewarded = workspace / RUNS / "coarse_rewarded"
    return rewarded if (rewarded / CHECKPOINT).exists() else _taught_coarse(workspace)


def _taught_coarse(workspace: Path) -> Path:
    guided = workspace / RUNS / "coarse_guided"
    return guided if (guided / CHECKPOINT).exists() else workspace / RUNS / "coarse"


def _workshop(workspace: Path, config: ModelConfig) -> Workshop:
    """Raises: CheckpointError if the fine stage or the codec is missing."""
    fine = FineGPT(config.fine.transformer, num_codebooks=config.fine.num_codebooks, num_codebooks_given=1)
    fine.load_state_dict(read_weights(workspace / RUNS / "fine"))
    codec = CodecModel(config.codec.num_filters)
    codec.load_state_dict(codec_weights(workspace))
    return Workshop(config, FineRemake(fine, config), codec, MelEncoder(MelEncoderConfig(num_classes=NUM_SEMANTIC)))


def _made_sound(workspace: Path, workshop: Workshop) -> MadeSound:
    return MadeSound(workspace_streams(workspace), workshop)


def _speaking_clips(workspace: Path) -> list[Clip]:
    return [clip for kind in SPEAKING_KINDS for clip in read_shards(workspace / SHARDS, kind)]


def _judge(workspace: Path, workshop: Workshop) -> Judge:
    """Raises: CheckpointError if one of the two that listen was not trained."""
    ear = recogniser()
    ear.load_state_dict(read_weights(workspace / RUNS / "recogniser"))
    speakers = Speakers(_speaking_clips(workspace), workshop)
    encoder = SpeakerEncoder(len(speakers.numbers))
    encoder.load_state_dict(read_weights(workspace / RUNS / "speaker_encoder"))
    return Judge(ear.eval(), encoder.eval(), speakers.centroids(encoder))


def _trained_coarse(run: Path, config: ModelConfig) -> CausalGPT:
    """Raises: CheckpointError if that run has no checkpoint."""
    model = CausalGPT(config.coarse.transformer)
    model.load_state_dict(read_weights(run))
    return model


def _coarse_training(
    model: CausalGPT, workspace: Path, config: ModelConfig, training: CoarseTrainingConfig
) -> CoarseTraining:
    return CoarseTraining(model, workspace_streams(workspace), config, training, codebooks(workspace))


def _decoder(workspace: Path, config: ModelConfig) -> Part:
    model = CodecModel(config.codec.num_filters)
    model.load_state_dict(read_weights(_frozen_codec(workspace)))
    streams, sounds = [], []
    for path in sorted(streams_folder(workspace).glob("*.npz")):
        clips = list(read_shard(workspace / SHARDS / path.name))
        for group, stream in zip(group_clips(clips), read_streams(path), strict=True):
            streams.append(stream)
            sounds.append(np.concatenate([sound_of_tokens(clip) for clip in group]))
    if not streams:
        raise CheckpointError(str(workspace / STREAMS), "holds no codes of this codec; encode first")
    step = DecoderTraining(
        model,
        streams,
        sounds,
        config,
        CodecTrainingConfig(batch_size=6, crop_samples=DECODER_CROP_FRAMES * HOP_SAMPLES),
        fine=_fine_remake(workspace, config),
        coarse=_coarse_remake(workspace, config),
    )
    return Part(model=model, step=step)


def _fine_remake(workspace: Path, config: ModelConfig) -> FineRemake | None:
    """The fine stage as it is now; None before it has been trained."""
    fine = FineGPT(config.fine.transformer, num_codebooks=config.fine.num_codebooks, num_codebooks_given=1)
    return FineRemake(fine, config) if _load_if_trained(fine, workspace, "fine") else None


def _coarse_remake(workspace: Path, config: ModelConfig) -> CoarseRemake | None:
    """The coarse stage as it is now; None before it has been trained."""
    run = coarse_run(workspace)
    return CoarseRemake(_trained_coarse(run, config), config) if (run / CHECKPOINT).exists() else None


def _load_if_trained(model: nn.Module, workspace: Path, part: str) -> bool:
    run = workspace / RUNS / part
    is_trained = (run / CHECKPOINT).exists()
    if is_trained:
        model.load_state_dict(read_weights(run))
    return is_trained


def _sound_shards(workspace: Path) -> list[Path]:
    paths = [path for kind in SOUND_KINDS for path in sorted((workspace / SHARDS).glob(f"{kind}-*.npz"))]
    if not paths:
        raise CheckpointError(str(workspace / SHARDS), "holds no shards with sound; prepare data first")
    return paths


def sound_clips(workspace: Path) -> list[Clip]:
    """All clips with sound.

    Raises: CheckpointError if there are none.
    """
    return _clips(workspace, SOUND_KINDS)


def _clips(workspace: Path, kinds: tuple[str, ...]) -> list[Clip]:
    clips = [clip for kind in kinds for clip in read_shards(workspace / SHARDS, kind)]
    if not clips:
        raise CheckpointError(str(workspace / SHARDS), f"holds no shards of {', '.join(kinds)}; prepare data first")
    return clips


def _frozen_codec(workspace: Path) -> Path:
    """The run whose encoder and codebooks made the codes."""
    split = workspace / RUNS / SPLIT
    return split if (split / CHECKPOINT).exists() else workspace / RUNS / "codec"
