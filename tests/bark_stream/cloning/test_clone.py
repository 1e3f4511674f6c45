"""Cloning: a sample becomes a voice that the model speaks with and every Bark tool reads, with its provenance."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from counting_ear import CountingEar
from hugging_face_reference import bark_history
from safetensors.torch import save_file

import bark_stream
from bark_stream.audio_file import AudioWriter
from bark_stream.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from bark_stream.checkpoint.bark_numbers import (
    COARSE_VOCAB_SIZES,
    FINE_VOCAB_SIZES,
    SEMANTIC_VOCAB_SIZES,
    bark_config,
)
from bark_stream.checkpoint.folder import ENCODER
from bark_stream.cloning.clone import clone, encoder_of, read_sample, tuned, usual_spectrum_db, without_tone
from bark_stream.cloning.mel_encoder import MelEncoder, MelEncoderConfig, load_mel_encoder
from bark_stream.codec import Codec
from bark_stream.config import TransformerConfig
from bark_stream.errors import BadAudio, BadVoice, CheckpointError, MissingConsent, SampleTooShort
from bark_stream.resample import resample
from bark_stream.tone import NUM_BANDS, equaliser, level_of, spectrum_db, tone_between
from bark_stream.voice import read_voice, save_voice
from bark_stream.voice_library import library_of

SAMPLE = Path(__file__).parents[2] / "samples" / "woman.ogg"
CONSENT = "A. Speaker, by mail, 2026-11-01"


@pytest.mark.parametrize("rate_hz", [49.9, 50.0, 51.0])
def test_clone_keeps_the_ratio_of_frames_to_tokens(tiny_checkpoint: Checkpoint, rate_hz: float) -> None:
    """However many tokens the encoder gives, Suno's own check of the ratio holds."""
    voice = clone(SAMPLE, name="alice", consent=CONSENT, model=tiny_checkpoint, encoder=CountingEar(rate_hz=rate_hz))
    num_tokens, num_frames = len(voice.semantic), voice.coarse.shape[1]
    assert round(num_frames / num_tokens, 1) == 1.5
    assert voice.fine.shape == (8, num_frames)
    assert num_tokens == pytest.approx(voice.provenance.source_s * 49.9, abs=3) if voice.provenance else False


def test_clone_says_where_the_voice_comes_from(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    """Digest of the sample, date, consent, tool and encoder travel in the file and come back."""
    voice = clone(SAMPLE, name="alice", consent=f" {CONSENT} ", model=tiny_checkpoint, encoder=CountingEar())
    save_voice(voice, tmp_path / "alice.npz")
    origin = read_voice(tmp_path / "alice.npz").provenance
    assert origin is not None
    assert origin == voice.provenance
    assert origin.consent == CONSENT
    assert origin.source_sha256 == hashlib.sha256(SAMPLE.read_bytes()).hexdigest()
    assert origin.tool == f"bark-stream {bark_stream.__version__}"
    assert origin.created_at.endswith("+00:00")
    assert origin.encoder == "counting"


def test_cloned_file_is_read_by_other_bark_tools(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    """transformers' processor and a plain np.load without pickles, as Suno's code uses it, see three proper arrays."""
    voice = clone(SAMPLE, name="alice", consent=CONSENT, model=tiny_checkpoint, encoder=CountingEar())
    path = tmp_path / "alice.npz"
    save_voice(voice, path)
    with np.load(path, allow_pickle=False) as prompt:
        assert np.array_equal(prompt["fine_prompt"][:2], prompt["coarse_prompt"])
        assert np.array_equal(prompt["semantic_prompt"], voice.semantic)
        assert all(prompt[part].dtype.kind in "iu" for part in prompt)
    history = bark_history(tiny_checkpoint.tokenizer, path)
    assert torch.equal(history["semantic_prompt"], torch.from_numpy(voice.semantic.copy()))
    assert torch.equal(history["fine_prompt"].long(), torch.from_numpy(voice.fine.copy()))


def test_sample_in_another_tone_is_the_same_voice_with_that_tone() -> None:
    """What the model hears is in the tone that it knows; how the sample differs from that is kept, and told apart."""
    mini = load_checkpoint("mini")
    usual = usual_spectrum_db(mini, Codec(mini.config.codec, mini.codec))
    assert usual is not None
    speech, rate_hz = read_sample(SAMPLE.read_bytes(), "it")
    speech = resample(speech, rate_hz, 24_000)
    slope = np.linspace(-4, 4, NUM_BANDS).astype(np.float32)
    (plain, tone), (other, others) = (
        without_tone(sound, 24_000, usual) for sound in (speech, equaliser(slope, 24_000)(speech))
    )
    assert np.mean(plain**2) == pytest.approx(np.mean(speech**2), rel=1e-3)
    assert np.mean((equaliser(tone, 24_000)(plain) - speech) ** 2) < 0.02 * np.mean(speech**2)
    assert np.abs(tone_between(spectrum_db(plain, 24_000), spectrum_db(other, 24_000))).max() < 1.5
    difference = others - tone
    # The highest bands of this sample are at the limit.
    assert np.abs(difference - difference.mean() - slope)[:-3].max() < 1.0


def test_tone_is_tuned_on_what_the_model_says() -> None:
    """What is said, equalised, has tone and loudness of the sample; if nothing was said, it is the tone at hand."""
    speech, rate_hz = read_sample(SAMPLE.read_bytes(), "it")
    slope = np.linspace(6, -6, NUM_BANDS).astype(np.float32)
    said = 0.5 * equaliser(slope, rate_hz)(speech)
    tone = tuned(said, speech, rate_hz, slope)
    heard = equaliser(tone, rate_hz)(said)
    assert np.abs(tone_between(spectrum_db(heard, rate_hz), spectrum_db(speech, rate_hz))).max() < 1.0
    assert level_of(heard) == pytest.approx(level_of(speech), rel=0.02)
    for nothing in (np.zeros(0, np.float32), np.zeros(rate_hz, np.float32)):
        assert tuned(nothing, speech, rate_hz, slope) is slope


def test_clone_keeps_its_tone_in_its_file(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    """What was measured is what is read again, to the last bit."""
    voice = clone(SAMPLE, name="alice", consent=CONSENT, model=tiny_checkpoint, encoder=CountingEar())
    save_voice(voice, tmp_path / "alice.npz")
    again = read_voice(tmp_path / "alice.npz")
    assert voice.tone is not None
    assert again.tone is not None
    assert np.array_equal(again.tone, voice.tone)


def test_clone_for_a_model_of_suno_has_no_tone(tiny_checkpoint: Checkpoint) -> None:
    """It follows any tone by itself; and a model without voices says nothing of what is usual."""
    codec = Codec(tiny_checkpoint.config.codec, tiny_checkpoint.codec)
    sizes = (
        TransformerConfig(
            num_layers=1, num_heads=1, hidden_size=8, block_size=1024, input_vocab_size=i, output_vocab_size=o
        )
        for i, o in (SEMANTIC_VOCAB_SIZES, COARSE_VOCAB_SIZES, FINE_VOCAB_SIZES)
    )
    suno = replace(
        tiny_checkpoint, config=bark_config("suno", **dict(zip(("semantic", "coarse", "fine"), sizes, strict=True)))
    )
    assert usual_spectrum_db(suno, codec) is None
    alone = replace(tiny_checkpoint, voices=library_of([], tiny_checkpoint.config))
    assert usual_spectrum_db(alone, codec) is None


def test_clone_speaks(tiny_checkpoint: Checkpoint) -> None:
    """A model goes on from the voice, in its library's own names or as a value."""
    voice = clone(SAMPLE.read_bytes(), name="alice", consent=CONSENT, model=tiny_checkpoint, encoder=CountingEar())
    bark = bark_stream.Bark(tiny_checkpoint)
    speech = bark.synthesize("Hello.", voice=voice, max_s=0.4)
    assert speech.audio_s == pytest.approx(0.4, abs=0.05)
    assert speech.state.voice == voice


def test_clone_refuses_before_it_hears(tiny_checkpoint: Checkpoint) -> None:
    """No consent, no file, no sound, too little of it."""
    for consent in ("", "  \n"):
        with pytest.raises(MissingConsent):
            clone(SAMPLE, name="alice", consent=consent, model=tiny_checkpoint, encoder=CountingEar())
    with pytest.raises(BadAudio, match=r"nowhere\.wav: cannot be read"):
        clone("nowhere.wav", name="alice", consent=CONSENT, model=tiny_checkpoint, encoder=CountingEar())
    with pytest.raises(BadAudio, match="the sample"):
        clone(b"RIFF but no sound at all", name="alice", consent=CONSENT, model=tiny_checkpoint, encoder=CountingEar())
    short = io.BytesIO()
    with AudioWriter(short, 24_000) as writer:
        writer.write(np.sin(np.arange(24_000) / 20).astype(np.float32) / 2)
    with pytest.raises(SampleTooShort):
        clone(short.getvalue(), name="alice", consent=CONSENT, model=tiny_checkpoint, encoder=CountingEar())


def test_clone_refuses_an_encoder_of_another_model(tiny_checkpoint: Checkpoint) -> None:
    """Tokens that the model does not know are refused before they are heard."""
    with pytest.raises(CheckpointError, match="names 20000 tokens"):
        clone(SAMPLE, name="alice", consent=CONSENT, model=tiny_checkpoint, encoder=CountingEar(20_000))


def test_voice_of_another_model_is_refused(tiny_checkpoint: Checkpoint) -> None:
    """A clone made for other tokens would speak noise; who speaks them says so instead."""
    voice = clone(SAMPLE, name="alice", consent=CONSENT, model=tiny_checkpoint, encoder=CountingEar())
    assert voice.provenance is not None
    foreign = replace(voice, provenance=replace(voice.provenance, tokens="other", model="other"))
    with pytest.raises(BadVoice, match="was cloned for other"):
        foreign.check(tiny_checkpoint.config)


def test_model_folder_brings_its_own_ear(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    """`semantic_encoder.safetensors` beside a model names its tokens, whatever the encoder's sizes."""
    save_checkpoint(tiny_checkpoint, tmp_path / "model")
    torch.manual_seed(0)
    encoder = MelEncoder(MelEncoderConfig(num_classes=50, channels=8, num_blocks=2, kernel=5)).eval()
    save_file({name: tensor.half() for name, tensor in encoder.state_dict().items()}, tmp_path / "model" / ENCODER)
    found = encoder_of(load_checkpoint(tmp_path / "model"))
    scores = found.scores(np.random.default_rng(0).normal(0, 0.1, 48_000).astype(np.float32), 48_000)
    assert found.num_tokens == 50
    assert scores.shape == (49, 50)
    assert np.allclose(np.exp(scores).sum(-1), 1, atol=1e-5)
    voice = clone(SAMPLE, name="alice", consent=CONSENT, model=tmp_path / "model")
    assert voice.semantic.max() < 50


def test_load_mel_encoder_refuses_other_tensors(tmp_path: Path) -> None:
    """None there, or something else: both are named."""
    with pytest.raises(CheckpointError, match="cannot hear"):
        load_mel_encoder(tmp_path)
    save_file({"head.bias": torch.zeros(3)}, tmp_path / ENCODER)
    with pytest.raises(CheckpointError, match="no semantic encoder"):
        load_mel_encoder(tmp_path)
