"""Each part learns on a tiny workspace, resumes, and becomes a model that loads."""

from __future__ import annotations

import copy
import dataclasses
import json
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from bark_stream.checkpoint import build_models, load_checkpoint
from bark_stream.coarse import CoarseStage
from bark_stream.codec import Codec
from bark_stream.errors import CheckpointError, ConfigError
from bark_stream.training import codec as codec_training
from bark_stream.training import made_sound, stages
from bark_stream.training.coarse import CoarseRemake, CoarseTraining, CoarseTrainingConfig, init_coarse
from bark_stream.training.codec import CodecModel, fit_codebooks, fold_loudness, restart_unused
from bark_stream.training.export import export_mini, run_weights, weights_to_start_from
from bark_stream.training.fine import FineRemake, FineTraining, FineTrainingConfig
from bark_stream.training.latent_mean import LatentMean
from bark_stream.training.mini import NUM_SEMANTIC, mini_config
from bark_stream.training.parts import PARTS
from bark_stream.training.rewarded import RewardedTrainingConfig
from bark_stream.training.run import CURVE
from bark_stream.training.shards import Clip, read_shards, write_shard
from bark_stream.training.stages import (
    codebooks,
    default_pace,
    encode_workspace,
    split_codec,
    train_part,
    workspace_streams,
)
from bark_stream.training.streams import group_clips
from bark_stream.training.voices import VOICES
from bark_stream.transformer import CausalGPT, FineGPT

TONES_PER_SPEAKER = 3


def _clip(speaker: int, index: int) -> Clip:
    """A hundred and twenty tokens of a tone with a text; enough to learn something from."""
    rng = np.random.default_rng([speaker, index])
    num_tokens = 120
    time_s = np.arange(round(num_tokens / 49.9 * 24_000)) / 24_000
    tone = 0.2 * np.sin(2 * np.pi * (150 + 40 * (speaker % 10)) * time_s)
    return Clip(
        text="la la la",
        speaker=speaker,
        pcm=(tone * 32767).astype(np.int16),
        tokens=np.repeat(rng.integers(0, NUM_SEMANTIC, 12), 10).astype(np.int16),
        chars=np.linspace(0, 7, num_tokens).astype(np.float16),
    )


@pytest.fixture(scope="module")
def fitted() -> tuple[CodecModel, torch.Tensor]:
    """A small codec with codebooks fitted to 1,100 latents, and these latents."""
    model = CodecModel(4)
    rows = torch.randn(1100, codec_training.DIMENSION) * torch.logspace(0, -2, codec_training.DIMENSION)
    fit_codebooks(model.quantizer, rows, np.random.default_rng(0))
    return model, rows


@pytest.fixture(scope="module", autouse=True)
def few_draws() -> Iterator[None]:
    """Two draws after one prompt instead of 32, and four windows of sound instead of sixteen."""
    with pytest.MonkeyPatch.context() as patch:
        few = partial(RewardedTrainingConfig, num_prompts=1, num_draws=2)
        patch.setattr(stages, "RewardedTrainingConfig", few)
        patch.setattr(made_sound, "ROWS", 4)
        yield


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, few_draws: None) -> Path:
    """Tones of ten speakers, and every part trained for a few steps."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("workspace")
    (folder / "shards").mkdir()
    clips = [_clip(speaker, index) for speaker in VOICES for index in range(TONES_PER_SPEAKER)]
    write_shard(folder / "shards" / "speech-0000.npz", clips)
    write_shard(folder / "shards" / "alignment-0000.npz", clips[:4])
    spelled = dataclasses.replace(clips[0], tokens=np.arange(len(clips[0].text), dtype=np.int16))
    write_shard(folder / "shards" / "spelling-0000.npz", [spelled])
    for part in PARTS:
        pace = dataclasses.replace(default_pace(part), num_steps=1, warmup_steps=1, log_every_steps=1)
        train_part(part, folder, pace)
        if part == "codec":
            split_codec(folder)
            encode_workspace(folder)
    torch.set_num_threads(threads)
    return folder


def test_every_part_writes_its_curve_and_resumes(workspace: Path) -> None:
    """One step each, then one more where it stopped."""
    for part in PARTS:
        assert (workspace / "runs" / part / CURVE).read_text().count("\n") == 1
    pace = dataclasses.replace(default_pace("semantic_encoder"), num_steps=2, log_every_steps=1)
    assert train_part("semantic_encoder", workspace, pace) == 2


@pytest.mark.parametrize("part", PARTS)
def test_every_part_learns_in_bfloat16(part: str, workspace: Path, tmp_path: Path) -> None:
    """A step more with rounded products: no part holds a computation that cannot be rounded."""
    copied = shutil.copytree(workspace, tmp_path / "copied")
    pace = dataclasses.replace(default_pace(part), num_steps=2, log_every_steps=1, in_bfloat16=True)
    assert train_part(part, copied, pace) == 2
    last = json.loads((copied / "runs" / part / CURVE).read_text().splitlines()[-1])
    assert np.isfinite(last["loss"])


def test_decoder_goes_on_with_codes_of_the_fine_stage(workspace: Path) -> None:
    """Once there is a fine stage, what it makes of the coarse codes is heard too."""
    remake = FineRemake(_fine(workspace), mini_config())
    codes = torch.from_numpy(workspace_streams(workspace)[0].codes[None, :, :40].astype(np.int64))
    made = remake(codes, 30)
    assert torch.equal(made[..., :30], codes[..., :30])
    assert torch.equal(made[:, :2], codes[:, :2])
    assert not torch.equal(made[:, 2:, 30:], codes[:, 2:, 30:])
    pace = dataclasses.replace(default_pace("decoder"), num_steps=2, log_every_steps=1)
    assert train_part("decoder", workspace, pace) == 2


def test_coarse_codes_are_remade_as_the_stage_would_make_them(workspace: Path) -> None:
    """After the true codes, from the semantic tokens of the same moment, each codebook from its own rows."""
    config = mini_config()
    sure = dataclasses.replace(config, sampling=dataclasses.replace(config.sampling, waveform_temperature=1e-6))
    model = CausalGPT(config.coarse.transformer, config.coarse_rows).eval()
    model.load_state_dict(run_weights(workspace / "runs" / "coarse"))
    stream = workspace_streams(workspace)[3]
    codes = torch.from_numpy(stream.codes[None, :, :40].astype(np.int64))
    semantic = torch.from_numpy(stream.semantic[None, : config.coarse.max_semantic_tokens].astype(np.int64))
    made = CoarseRemake(model, sure)(semantic, codes, 30)
    assert torch.equal(made[..., :30], codes[..., :30])
    assert torch.equal(made[:, 2:], codes[:, 2:])

    stage = CoarseStage(model, sure, 1)
    run = stage.begin(None, sampling=sure.sampling, generator=torch.Generator())
    run.semantic += semantic[0].tolist()
    offsets = config.semantic.vocab_size + config.codec.codebook_size * torch.arange(2)
    run.tokens += (codes[0, :2, :30].T + offsets).flatten().tolist()
    stage.open_window(run, 2)
    while run.is_window_open:
        stage.step([run])
    assert stage.codes(run, 30)[:, 0].tolist() == made[0, :2, 30].tolist()


def test_own_coarse_codes_are_followed_by_what_mends_them(workspace: Path) -> None:
    """The first code is the model's, the second the nearest to what is left of the true sound; all else stays."""
    config = mini_config()
    sure = dataclasses.replace(config, sampling=dataclasses.replace(config.sampling, waveform_temperature=1e-6))
    model = CausalGPT(config.coarse.transformer, config.coarse_rows)
    model.load_state_dict(run_weights(workspace / "runs" / "coarse"))
    streams, vectors = workspace_streams(workspace), codebooks(workspace)
    training = CoarseTraining(model, streams, sure, CoarseTrainingConfig(), vectors)
    codes = torch.from_numpy(streams[3].codes[None, :, :40].astype(np.int64))
    slots = torch.arange(config.coarse.max_semantic_tokens)
    semantic = torch.from_numpy(streams[3].semantic[None, : len(slots)].astype(np.int64))
    starts = config.semantic.vocab_size + config.codec.codebook_size * torch.arange(2)
    true = (codes[:, :2] + starts[:, None]).transpose(1, 2).flatten(1)
    where = torch.zeros(1, 40, dtype=torch.bool)
    where[0, 30] = True
    inputs, targets = training.mix_own(semantic, slots, true, true, codes, where)
    first, second = (inputs[0, 60:62] - starts).tolist()

    assert first == int(CoarseRemake(model, sure)(semantic, codes, 30)[0, 0, 30])
    left = sum(book[codes[0, k, 30]] for k, book in enumerate(vectors)) - vectors[0, first]
    assert second == int((vectors[1] - left).norm(dim=1).argmin())
    assert targets[0, 60] == true[0, 60]
    assert targets[0, 61] == inputs[0, 61]
    for made in (inputs, targets):
        made[0, 60:62] = true[0, 60:62]
        assert torch.equal(made, true)

    for made in training.mix_own(semantic, slots, true, true, codes, torch.zeros_like(where)):
        assert torch.equal(made, true)


def test_fine_codes_are_those_nearest_to_what_the_coarse_ones_tell(workspace: Path) -> None:
    """Each upper code is the nearest to what is left of the mean; upper codes of the recording make no difference."""
    config = mini_config()
    mean = LatentMean(config, torch.randn(8, 1024, 128)).eval()
    torch.nn.init.normal_(mean.out.weight)
    true = torch.from_numpy(workspace_streams(workspace)[3].codes.T[None, :40].astype(np.int64))
    made = mean.codes(true)
    assert torch.equal(made[..., :2], true[..., :2])
    left = mean(true).detach()[0, 17]
    for codebook in range(2, 8):
        vectors = mean.vectors[codebook]
        assert int(made[0, 17, codebook]) == int((vectors - left).norm(dim=1).argmin())
        left = left - vectors[made[0, 17, codebook]]
    other = true.clone()
    other[..., 2:] = (true[..., 2:] + 1) % config.codec.codebook_size
    assert torch.equal(mean.codes(other), made)


def test_fine_stage_is_taught_the_codes_that_are_wanted(workspace: Path) -> None:
    """A stage that always says the wanted code makes no mistake, whatever the recording has there."""
    config = mini_config()

    class Sure(FineGPT):
        def forward(self, codebook: int, codes: torch.Tensor, **_: object) -> torch.Tensor:
            return (
                20.0 * torch.nn.functional.one_hot(torch.full(codes.shape[:2], 7), config.codec.codebook_size).float()
            )

    def sevens(codes: torch.Tensor) -> torch.Tensor:
        return torch.cat([codes[..., :2], torch.full_like(codes[..., 2:], 7)], -1)

    model = Sure(config.fine.transformer, num_codebooks=8, num_codebooks_given=1)
    for wanted, right in ((sevens, True), (lambda codes: codes, False)):
        training = FineTraining(model, workspace_streams(workspace), config, FineTrainingConfig(), wanted)
        shares = [float(training(step, np.random.default_rng(step))["right"]) for step in range(8)]
        assert all((share == 1.0) == right for share in shares)


def _fine(workspace: Path) -> FineGPT:
    config = mini_config()
    model = FineGPT(config.fine.transformer, num_codebooks=config.fine.num_codebooks, num_codebooks_given=1)
    model.load_state_dict(run_weights(workspace / "runs" / "fine"))
    return model


def test_exported_folder_loads_like_any_model(workspace: Path, tmp_path: Path) -> None:
    """Config, weights, ten voices, aliases, the meaning of every token."""
    folder = tmp_path / "mini"
    export_mini(workspace, folder)
    checkpoint = load_checkpoint(folder)
    assert build_models(checkpoint).coarse.config.hidden_size == mini_config().coarse.transformer.hidden_size
    assert len(checkpoint.voices.names()) == 10
    assert checkpoint.voices.get("v2/en_speaker_6") == checkpoint.voices.get("en_speaker_6")
    assert len(json.loads((folder / "semantic_vocab.json").read_text())["phone"]) == NUM_SEMANTIC
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 30e6


def test_coarse_stage_that_was_taught_last_is_the_one_that_speaks(workspace: Path, tmp_path: Path) -> None:
    """The rewarded one is exported; without it the guided one is, and without that the plain one."""
    copied = shutil.copytree(workspace, tmp_path / "copied")
    for part in ("coarse_rewarded", "coarse_guided", "coarse"):
        folder = tmp_path / part
        export_mini(copied, folder, "float32")
        exported, trained = load_checkpoint(folder).coarse, run_weights(copied / "runs" / part)
        assert all(torch.equal(torch.as_tensor(exported[name]), trained[name]) for name in trained)
        shutil.rmtree(copied / "runs" / part)


@pytest.mark.parametrize("part", ["coarse_unconditional", "coarse_guided"])
def test_guidance_without_a_coarse_stage_is_refused(part: str, workspace: Path, tmp_path: Path) -> None:
    """There is nothing to begin with yet."""
    copied = shutil.copytree(workspace, tmp_path / "copied")
    for run in ("coarse", part):
        shutil.rmtree(copied / "runs" / run)
    with pytest.raises(CheckpointError, match="train this part first"):
        train_part(part, copied, default_pace(part))


@pytest.mark.parametrize("missing", ["recogniser", "speaker_encoder", "fine"])
def test_rewards_without_who_gives_them_are_refused(missing: str, workspace: Path, tmp_path: Path) -> None:
    """Nobody listens yet, or there is nothing to be heard."""
    copied = shutil.copytree(workspace, tmp_path / "copied")
    shutil.rmtree(copied / "runs" / missing)
    with pytest.raises(CheckpointError, match="train this part first"):
        train_part("coarse_rewarded", copied, default_pace("coarse_rewarded"))


def test_fine_tuning_begins_with_the_model_it_is_given(workspace: Path, tmp_path: Path) -> None:
    """The weights of a finished model fit every part that can start from them."""
    folder = tmp_path / "mini"
    export_mini(workspace, folder, "float32")
    start = weights_to_start_from(str(folder), "codec")
    trained = CodecModel(mini_config().codec.num_filters)
    assert trained.load_state_dict(start, strict=False).missing_keys == ["probe.weight", "probe.bias"]
    with pytest.raises(CheckpointError):
        weights_to_start_from(str(folder), "semantic_encoder")


def test_unknown_part_and_missing_data_are_named(tmp_path: Path) -> None:
    """What is missing is said before anything is trained."""
    with pytest.raises(ConfigError, match="part"):
        train_part("nothing", tmp_path, default_pace("codec"))
    with pytest.raises(CheckpointError, match="shards"):
        train_part("codec", tmp_path, default_pace("codec"))


def test_shards_give_back_what_was_written(tmp_path: Path) -> None:
    """Text, sound, tokens and positions survive."""
    clips = [_clip(0, 0), _clip(1, 1)]
    write_shard(tmp_path / "speech-0000.npz", clips)
    back = read_shards(tmp_path, "speech")
    assert [c.text for c in back] == [c.text for c in clips]
    for a, b in zip(back, clips, strict=True):
        np.testing.assert_array_equal(a.pcm, b.pcm)
        np.testing.assert_array_equal(a.tokens, b.tokens)
        np.testing.assert_array_equal(a.chars, b.chars)


def test_streams_keep_sentences_of_one_speaker_together(workspace: Path) -> None:
    """Tokens and codes of a stream last equally long, to a frame."""
    streams = workspace_streams(workspace)
    assert len(streams) == 10 == len(group_clips([_clip(s, i) for s in VOICES for i in range(TONES_PER_SPEAKER)]))
    for stream in streams:
        assert abs(stream.codes.shape[1] / 75 - len(stream.semantic) / 49.9) <= 1 / 75
        assert stream.starts.tolist() == [0, 120, 240]


def test_folding_loudness_gives_the_same_sound_at_ordinary_loudness() -> None:
    """A codec trained on loud speech codes soft speech alike once the factor is in its weights."""
    torch.manual_seed(0)
    trained = CodecModel(mini_config().codec.num_filters).eval()
    with torch.no_grad():
        for layer in trained.quantizer.vq.layers:
            layer._codebook.embed.normal_(0, 0.1)
            layer._codebook.inited.fill_(1)
    folded = Codec(mini_config().codec, fold_loudness(trained.state_dict()))
    pcm = 0.05 * torch.randn(1, 24 * 320)
    codes = trained.encode(codec_training.LOUDNESS * pcm[:, None])
    assert torch.equal(folded.encode(pcm, 8), codes)
    expected = trained.decode(codes)[:, 0] / codec_training.LOUDNESS
    torch.testing.assert_close(folded.decode_whole(codes), expected, atol=1e-5, rtol=1e-4)


def test_fitted_codebooks_leave_little_behind(fitted: tuple[CodecModel, torch.Tensor]) -> None:
    """Eight codebooks together describe latents far better than one."""
    model, rows = fitted
    latent = rows.T[None]
    errors = []
    for count in (1, 8):
        decoded = model.quantizer.vq.decode(model.quantizer.vq.encode(latent, n_q=count))
        errors.append(float(((decoded - latent) ** 2).mean()))
    assert errors[1] < 0.2 * errors[0] < 0.2 * float((rows**2).mean())


def test_unused_codes_move_to_where_latents_are(fitted: tuple[CodecModel, torch.Tensor]) -> None:
    """A code that no latent meets is met after a restart; the others stay."""
    quantizer, rows = copy.deepcopy(fitted[0].quantizer), fitted[1]
    book = quantizer.vq.layers[0]._codebook
    book.cluster_size.fill_(1.0)
    before = book.embed.clone()
    book.cluster_size[7] = 0.0
    book.embed[7] = 1000.0
    restart_unused(quantizer, rows[:160], np.random.default_rng(1))
    assert float(book.embed[7].abs().max()) < 10
    assert torch.equal(book.embed[:7], before[:7])


def test_initial_coarse_attention_looks_at_the_token_of_the_next_code() -> None:
    """The first head's peak is the semantic token that sounds when the next code does."""
    config = mini_config()
    model = CausalGPT(config.coarse.transformer)
    init_coarse(model, config, torch.randn(8, 1024, 128), seed=1)
    slots, heads = config.coarse.max_semantic_tokens, config.coarse.transformer.num_heads
    first = config.semantic.vocab_size
    ids = torch.cat([torch.arange(slots), torch.tensor([config.coarse.infer_token]), first + torch.arange(300) % 1024])
    block = model.transformer["h"][0]  # type: ignore[index]
    with torch.no_grad():
        x = block.ln_1(model.embed(ids) + model.transformer["wpe"](torch.arange(len(ids))))
        q, k, _ = block.attn.c_attn(x).unflatten(-1, (3, heads, -1)).unbind(-3)
    for coarse_index in (0, 7, 120, 299):
        scores = k[: slots + coarse_index + 1, 0] @ q[slots + coarse_index, 0]
        expected = (coarse_index // 2 + 0.5) / 75 * 49.9 - 0.5
        assert abs(int(scores.argmax()) - expected) <= 0.75
