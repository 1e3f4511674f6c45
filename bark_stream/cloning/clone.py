"""A few seconds of somebody -> a voice: checked sample, semantic tokens, codes of the same seconds, tone, origin."""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bark_stream.audio_file import read_audio
from bark_stream.bark import Bark
from bark_stream.checkpoint import Checkpoint, load_checkpoint
from bark_stream.checkpoint.folder import ENCODER
from bark_stream.cloning.encoder import Scores, SemanticTokenizer
from bark_stream.cloning.hubert import load_hubert_encoder
from bark_stream.cloning.mel_encoder import load_mel_encoder
from bark_stream.cloning.sample import speech_of
from bark_stream.codec import Codec
from bark_stream.config import ModelConfig
from bark_stream.errors import BadAudio, CheckpointError, MissingConsent
from bark_stream.precision import resolve_precision
from bark_stream.provenance import Provenance
from bark_stream.resample import resample
from bark_stream.tone import WINDOW_SAMPLES, Tone, equaliser, level_of, louder, spectrum_db, tone_between
from bark_stream.voice import Voice, token_family, voice_from_codes

MAX_READ_S = 60.0
MAX_SAMPLE_BYTES = 64 * 1024 * 1024
MIN_LEVEL = 1e-4
"""RMS below which there is nothing to be heard."""
TUNING_TEXTS = (
    "Good morning, and thank you for waiting so long.",
    "We had soup and fresh bread beside the river.",
    "Which of these two books would you like to keep?",
    "The children played in the garden until it was dark.",
)
"""Said with a new voice, to hear in which tone the model speaks with it."""
MAX_USUAL_VOICES = 16
"""Voices of the model that are asked what it usually sounds like."""

ChooseTokens = Callable[[Scores], NDArray[np.int64]]
"""[N, V] an encoder's log-probabilities -> [N] semantic tokens."""


def clone(
    sample: str | Path | bytes,
    *,
    name: str,
    consent: str,
    model: str | Path | Checkpoint = "mini",
    encoder: SemanticTokenizer | None = None,
) -> Voice:
    """A voice that speaks like the person in a sample.

    Args:
        sample: a sound file of any format, or its bytes; 3 to 15 s of one person, clean.
        name: of the voice.
        consent: who agreed, and when. It is kept inside the voice.
        model: the one that shall speak.
        encoder: what names the semantic tokens; the model's own without it, or HuBERT for a model that has none.
    Returns: the voice, checked against the model. `save_voice` writes it, a `VoiceStore` keeps it.
    Raises: MissingConsent; BadAudio and its family, one error for each fault of a sample; CheckpointError, ConfigError
        or DownloadError if the encoder is missing or does not fit.
    """
    if not consent.strip():
        raise MissingConsent
    source = "the sample" if isinstance(sample, bytes) else str(sample)
    data = _bytes_of(sample, source)
    checkpoint = model if isinstance(model, Checkpoint) else load_checkpoint(model)
    speech, rate_hz = read_sample(data, source)
    encoder = encoder or encoder_of(checkpoint)
    if encoder.num_tokens > checkpoint.config.semantic.vocab_size:
        raise CheckpointError(
            encoder.name,
            f"names {encoder.num_tokens} tokens; the model knows {checkpoint.config.semantic.vocab_size}",
        )
    from bark_stream import __version__

    provenance = Provenance(
        consent=consent.strip(),
        source_sha256=hashlib.sha256(data).hexdigest(),
        source_s=round(len(speech) / rate_hz, 3),
        created_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        tool=f"bark-stream {__version__}",
        model=checkpoint.config.name,
        encoder=encoder.name,
        tokens=token_family(checkpoint.config),
    )
    codec = Codec(checkpoint.config.codec, checkpoint.codec, source=checkpoint.source)
    usual = usual_spectrum_db(checkpoint, codec)
    if usual is None:
        return voice_of(speech, rate_hz, name, checkpoint.config, codec, encoder, provenance)
    model_rate_hz = checkpoint.config.sample_rate_hz
    speech = resample(speech, rate_hz, model_rate_hz)
    plain, tone = without_tone(speech, model_rate_hz, usual)
    voice = voice_of(plain, model_rate_hz, name, checkpoint.config, codec, encoder, provenance)
    bark = Bark(checkpoint, precision=resolve_precision("auto"))
    said = np.concatenate([bark.generate(text, voice=voice) for text in TUNING_TEXTS])
    return replace(voice, tone=tuned(said, speech, model_rate_hz, tone))


def usual_spectrum_db(checkpoint: Checkpoint, codec: Codec) -> NDArray[np.float64] | None:
    """[NUM_BANDS] what the model's own voices sound like on average; None for a model that follows any tone by itself,
    as Suno's do, or has no voices."""
    names = [name for name in checkpoint.voices.names() if checkpoint.voices.is_of_model(name)][:MAX_USUAL_VOICES]
    if not names or token_family(checkpoint.config) == "bark":
        return None
    spectra = []
    for name in names:
        codes = torch.tensor(checkpoint.voices.get(name).fine)[None]
        spectra.append(spectrum_db(codec.decode_whole(codes)[0].numpy(), checkpoint.config.sample_rate_hz))
    return np.asarray(np.mean(spectra, 0))


def without_tone(
    speech: NDArray[np.float32], rate_hz: int, usual_db: NDArray[np.float64]
) -> tuple[NDArray[np.float32], Tone]:
    """[L] speech -> the same, as loud, in the tone that the model knows; and the tone that was taken."""
    tone = tone_between(usual_db, spectrum_db(speech, rate_hz))
    plain = equaliser(-tone, rate_hz)(speech)
    gain = level_of(speech) / max(level_of(plain), MIN_LEVEL)
    return np.asarray(plain * gain, np.float32), louder(tone, 1 / gain)


def tuned(said: NDArray[np.float32], speech: NDArray[np.float32], rate_hz: int, otherwise: Tone) -> Tone:
    """What makes the tone and the loudness of a sample of what the model says with its voice; `otherwise`, if that is
    nothing."""
    if len(said) < WINDOW_SAMPLES or level_of(said) < MIN_LEVEL:
        return otherwise
    tone = tone_between(spectrum_db(said, rate_hz), spectrum_db(speech, rate_hz))
    return louder(tone, level_of(speech) / level_of(equaliser(tone, rate_hz)(said)))


def read_sample(data: bytes, source: str) -> tuple[NDArray[np.float32], int]:
    """The speech of a sound file's bytes, checked, and its rate in Hz. Raises: BadAudio and its family."""
    try:
        pcm, rate_hz = read_audio(io.BytesIO(data), MAX_READ_S)
    except BadAudio as exc:
        raise BadAudio(source, exc.problem) from exc
    return speech_of(pcm, rate_hz, source), rate_hz


def encoder_of(checkpoint: Checkpoint) -> SemanticTokenizer:
    """The model's own encoder where one lies beside it, else HuBERT and the usual quantizer.

    Raises: CheckpointError if neither can name this model's tokens; ConfigError, DownloadError.
    """
    if checkpoint.folder is not None and (checkpoint.folder / ENCODER).exists():
        return load_mel_encoder(checkpoint.folder)
    if token_family(checkpoint.config) != "bark":
        raise CheckpointError(checkpoint.source, f"holds no {ENCODER}, so it cannot hear a sample")
    return load_hubert_encoder()


def voice_of(
    speech: NDArray[np.float32],
    rate_hz: int,
    name: str,
    config: ModelConfig,
    codec: Codec,
    encoder: SemanticTokenizer,
    provenance: Provenance,
) -> Voice:
    """What is heard of speech, as a voice.

    Raises: BadVoice if it does not fit the model, which would be the encoder's fault.
    """
    semantic, codes = tokens_and_codes(speech, rate_hz, config, codec, encoder)
    return voice_from_codes(name, semantic, codes, config, provenance).check(config)


def most_likely(scores: Scores) -> NDArray[np.int64]:
    """[N, V] -> [N]: each frame for itself, where no words are known."""
    return np.asarray(scores.argmax(-1))


def tokens_and_codes(
    pcm: NDArray[np.float32],
    rate_hz: int,
    config: ModelConfig,
    codec: Codec,
    encoder: SemanticTokenizer,
    choose: ChooseTokens = most_likely,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """[L] sound -> semantic tokens [N] and codes [K, T] of the same seconds, at the model's ratio of the two."""
    semantic = choose(encoder.scores(pcm, rate_hz))
    at_rate = torch.from_numpy(resample(pcm, rate_hz, config.sample_rate_hz))[None]
    codes = codec.encode(at_rate, config.fine.num_codebooks)[0].numpy()
    num_tokens = min(len(semantic), math.floor(codes.shape[1] / config.frames_per_semantic))
    return semantic[:num_tokens], codes[:, : math.floor(num_tokens * config.frames_per_semantic)]


def _bytes_of(sample: str | Path | bytes, source: str) -> bytes:
    if isinstance(sample, bytes):
        data = sample
    else:
        try:
            with open(sample, "rb") as file:
                data = file.read(MAX_SAMPLE_BYTES + 1)
        except OSError as exc:
            raise BadAudio(source, f"cannot be read: {exc.strerror or exc}") from exc
    if len(data) > MAX_SAMPLE_BYTES:
        raise BadAudio(source, f"is larger than {MAX_SAMPLE_BYTES} bytes")
    return data
