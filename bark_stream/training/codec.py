"""Training of the codec: EnCodec's SEANet and residual quantizer with fewer filters.

Waveform error alone never leaves silence with a spectral loss from the first step, and a plain autoencoder of
this size codes a handful of dimensions for an hour. So: waveform error first; then log-mel beside the pre-
emphasised waveform, and a linear probe that must read the spectrum off the latent, which fills it within
minutes; then codebooks fitted to latents of the whole corpus, and the quantizer. Knows no tokens but its own
codes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bark_stream.encodec_import import ResidualVectorQuantizer, SEANetDecoder, SEANetEncoder
from bark_stream.mel import mel_filters

SAMPLE_RATE_HZ = 24_000
HOP_SAMPLES = 320
FRAME_RATE_HZ = SAMPLE_RATE_HZ // HOP_SAMPLES
NUM_CODEBOOKS = 8
CODEBOOK_SIZE = 1024
DIMENSION = 128

LOUDNESS = 10.0
"""Speech is brought near unit RMS inside the codec; folded into its first and last layer on export."""
LOG_FLOOR = 0.01
FIT_BATCHES, FIT_ITERATIONS = 60, 12
USUAL_FRAMES_PER_STEP = 128.0
RESTART_EVERY_STEPS = 20
ROWS_AT_ONCE = 8192
DEAD_USAGE = 0.002
"""Meetings per step below which a code is moved."""
PROBED_SAMPLES = 1024
"""Window that the probe's spectrum is taken from; it ends where the latent's frame does."""
PROBED_MELS, PROBED_BINS = 64, 64
"""Mel bands of all frequencies, and single bins from 0 to 1.5 kHz where harmonics show."""
NUM_PROBED = PROBED_MELS + PROBED_BINS
STFT_SIZES = (128, 256, 512, 1024, 2048)
MEL_BANDS = (20, 30, 45, 64, 80)


@dataclass(frozen=True, kw_only=True, slots=True)
class CodecTrainingConfig:
    """Sizes and phases of codec training."""

    num_filters: int = 16
    batch_size: int = 4
    crop_samples: int = 32 * HOP_SAMPLES
    waveform_steps: int = 150
    """Steps of waveform error alone."""
    ramp_steps: int = 150
    """Steps over which the log-mel loss reaches its weight."""
    quantizer_from_step: int = 1400
    """Where codebooks are fitted and used."""
    mel_weight: float = 15.0
    wave_weight: float = 6.0
    probe_weight: float = 5.0
    """Of the error with which a linear map reads the spectrum off the latent."""


class CodecModel(nn.Module):
    """Encoder, quantizer and decoder, with the names of EnCodec's checkpoint."""

    def __init__(self, num_filters: int = 16) -> None:
        super().__init__()
        shared = {
            "channels": 1,
            "dimension": DIMENSION,
            "n_filters": num_filters,
            "norm": "weight_norm",
            "causal": True,
        }
        self.encoder = SEANetEncoder(**shared)
        self.decoder = SEANetDecoder(**shared)
        self.quantizer = ResidualVectorQuantizer(dimension=DIMENSION, n_q=NUM_CODEBOOKS, bins=CODEBOOK_SIZE)
        self.probe = nn.Conv1d(DIMENSION, NUM_PROBED, 1)
        """Serves training alone."""

    def encode(self, pcm: Tensor) -> Tensor:
        """[B, 1, L] loud (see LOUDNESS) sound -> [B, K, T] int64 codes."""
        codes: Tensor = self.quantizer.encode(self.encoder(pcm), FRAME_RATE_HZ, None)
        return codes.transpose(0, 1)

    def decode(self, codes: Tensor) -> Tensor:
        """[B, K, T] int64 codes -> [B, 1, T * 320] loud sound."""
        sound: Tensor = self.decoder(self.quantizer.decode(codes.transpose(0, 1)))
        return sound


class LogMelDistance(nn.Module):
    """Mean L1 distance of log-mel spectra over several STFT sizes."""

    def __init__(self) -> None:
        super().__init__()
        for size, bands in zip(STFT_SIZES, MEL_BANDS, strict=True):
            self.register_buffer(f"window_{size}", torch.hann_window(size), persistent=False)
            self.register_buffer(f"mel_{size}", _filters(size, bands), persistent=False)

    def forward(self, made: Tensor, true: Tensor) -> Tensor:
        """[B, L] sounds -> scalar."""
        total = made.new_zeros(())
        for size in STFT_SIZES:
            total = total + F.l1_loss(self._log_mel(made, size), self._log_mel(true, size))
        return total / len(STFT_SIZES)

    def _log_mel(self, sound: Tensor, size: int) -> Tensor:
        magnitude = magnitudes(sound, self.get_buffer(f"window_{size}"))
        return torch.log(self.get_buffer(f"mel_{size}") @ magnitude + LOG_FLOOR)


def magnitudes(sound: Tensor, window: Tensor) -> Tensor:
    """[B, L] and [size] -> [B, size / 2 + 1, F]; a quarter of a window apart, and of a tone its amplitude."""
    size = len(window)
    spectrum = torch.stft(sound, size, size // 4, window=window, return_complex=True)
    return torch.sqrt(spectrum.real**2 + spectrum.imag**2 + 1e-9) / (size / 4)


def _filters(size: int, bands: int) -> Tensor:
    """[bands, size / 2 + 1]"""
    return torch.from_numpy(mel_filters(size, bands, SAMPLE_RATE_HZ)).float()


class Spectrum(nn.Module):
    """What the probe must read: log-mel of a short window and harmonics of a longer one, each near unit variance."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("long", torch.hann_window(PROBED_SAMPLES), persistent=False)
        short = torch.cat([torch.zeros(PROBED_SAMPLES // 2), torch.hann_window(PROBED_SAMPLES // 2)])
        self.register_buffer("short", short, persistent=False)
        self.register_buffer("mel", _filters(PROBED_SAMPLES, PROBED_MELS), persistent=False)

    def forward(self, sound: Tensor) -> Tensor:
        """[B, L] loud sound -> [B, NUM_PROBED, L / 320]."""
        frames = F.pad(sound, (PROBED_SAMPLES - HOP_SAMPLES, 0)).unfold(-1, PROBED_SAMPLES, HOP_SAMPLES)
        mels = torch.fft.rfft(frames * self.get_buffer("short")).abs() @ self.get_buffer("mel").T
        bins = torch.fft.rfft(frames * self.get_buffer("long")).abs()[..., :PROBED_BINS]
        logs = torch.cat([torch.log(mels / 128 + LOG_FLOOR) + 2.5, torch.log(bins / 256 + LOG_FLOOR) + 2.0], -1)
        return logs.transpose(1, 2) / 1.5


class CodecTraining:
    """Losses of codec training, step by step."""

    def __init__(self, model: CodecModel, sound: npt.NDArray[np.int16], config: CodecTrainingConfig) -> None:
        """`sound`: all sound end to end, 24 kHz."""
        self._model = model
        self._sound = sound
        self._config = config
        self._distance = LogMelDistance()
        self._spectrum = Spectrum()

    def __call__(self, step: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """Losses of one step: loss, log-mel distance, waveform error, probe's error, commitment."""
        config = self._config
        if step == config.quantizer_from_step:
            self._fit(rng)
        true = self._batch(rng)
        latent = self._model.encoder(true)
        losses: dict[str, Tensor] = {}
        if step >= config.quantizer_from_step:
            if step % RESTART_EVERY_STEPS == 0:
                restart_unused(self._model.quantizer, _rows(latent), rng)
            result = self._model.quantizer(latent, FRAME_RATE_HZ, None)
            latent, losses["commitment"] = result.quantized, result.penalty
        true = true[:, 0]
        losses["probe"] = config.probe_weight * F.mse_loss(self._model.probe(latent), self._spectrum(true))
        made = self._model.decoder(latent)[:, 0]
        if step < config.waveform_steps:
            losses["wave"] = 10 * F.mse_loss(made, true)
        else:
            ramp = min(1.0, (step - config.waveform_steps) / config.ramp_steps)
            error = (1 - ramp) * F.mse_loss(made, true) + F.mse_loss(pre_emphasised(made), pre_emphasised(true))
            losses["wave"] = config.wave_weight * error
            losses["mel"] = ramp * config.mel_weight * self._distance(made, true)
        return {"loss": torch.stack(list(losses.values())).sum()} | losses

    @torch.no_grad()
    def _fit(self, rng: np.random.Generator) -> None:
        """Codebooks from latents of many batches."""
        self._model.eval()
        batches = [_rows(self._model.encoder(self._batch(rng))) for _ in range(FIT_BATCHES)]
        self._model.train()
        fit_codebooks(self._model.quantizer, torch.cat(batches), rng)

    def _batch(self, rng: np.random.Generator) -> Tensor:
        """[B, 1, L] random crops at random loudness."""
        length = self._config.crop_samples
        starts = rng.integers(0, len(self._sound) - length, self._config.batch_size)
        crops = np.stack([self._sound[s : s + length] for s in starts]).astype(np.float32) / 32768.0
        gains = rng.uniform(0.7, 1.2, (len(crops), 1)).astype(np.float32)
        return torch.from_numpy(crops * gains * LOUDNESS)[:, None]


def fit_codebooks(quantizer: ResidualVectorQuantizer, rows: Tensor, rng: np.random.Generator) -> None:
    """k-means, codebook after codebook, on what the ones before leave.

    Args: rows: [N, D] latents, several for each code.
    """
    parts = [slice(None)] * len(quantizer.vq.layers)
    for layer, (centres, nearest) in zip(quantizer.vq.layers, residual_k_means(rows, parts, rng), strict=True):
        book = layer._codebook
        counts = torch.bincount(nearest, minlength=CODEBOOK_SIZE).float()
        usage = (counts / len(rows)).clamp(min=1 / len(rows)) * USUAL_FRAMES_PER_STEP
        book.embed.copy_(centres)
        book.cluster_size.copy_(usage)
        book.embed_avg.copy_(centres * usage[:, None])
        book.inited.fill_(1)


def residual_k_means(rows: Tensor, parts: Sequence[slice], rng: np.random.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Codebook after codebook, each fitted to what the ones before leave of its part of the latent, and 0 beside it: so
    the plain nearest vector is the nearest in that part.

    Args: rows: [N, D].
    Returns: for each part, code vectors [CODEBOOK_SIZE, D] and [N] which of them each row takes.
    """
    residual = rows
    for part in parts:
        vectors = rows.new_zeros(CODEBOOK_SIZE, rows.shape[1])
        vectors[:, part] = _k_means(residual[:, part].contiguous(), rng)
        met = nearest(residual, vectors)
        yield vectors, met
        residual = residual - vectors[met]


def _k_means(rows: Tensor, rng: np.random.Generator) -> Tensor:
    """[N, D] -> [CODEBOOK_SIZE, D] centres."""
    drawn = rng.choice(len(rows), CODEBOOK_SIZE, replace=len(rows) < CODEBOOK_SIZE)
    return moved_centres(rows[torch.from_numpy(drawn)], rows, rng)


def moved_centres(centres: Tensor, rows: Tensor, rng: np.random.Generator) -> Tensor:
    """[M, D] centres to the middle of what of [N, D] is nearest to each; those that nothing is near to, to some row."""
    for _ in range(FIT_ITERATIONS):
        met = nearest(rows, centres)
        counts = torch.bincount(met, minlength=len(centres)).float()
        sums = torch.zeros_like(centres).index_add_(0, met, rows)
        lonely = torch.from_numpy(rng.integers(0, len(rows), len(centres)))
        centres = torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], rows[lonely])
    return centres


def sum_of_vectors(vectors: Tensor, codes: Tensor) -> Tensor:
    """The latent that codes stand for: [K, 1024, D] and [K', ...] int64 of the first K' codebooks -> [..., D]."""
    return torch.stack([book[code] for book, code in zip(vectors, codes, strict=False)]).sum(0)


def nearest(rows: Tensor, centres: Tensor) -> Tensor:
    """[N, D], [M, D] -> [N] int64 index of the nearest centre."""
    parts = (rows[first : first + ROWS_AT_ONCE] for first in range(0, len(rows), ROWS_AT_ONCE))
    return torch.cat([torch.cdist(part, centres).argmin(1) for part in parts])


@torch.no_grad()
def restart_unused(quantizer: ResidualVectorQuantizer, rows: Tensor, rng: np.random.Generator) -> None:
    """Codes that have not been met for long move to where residuals are now.

    (`encodec` does replace dead codes, but its running average puts them back in the same step.)
    """
    residual = rows.detach()
    for layer in quantizer.vq.layers:
        book = layer._codebook
        dead = (book.cluster_size < DEAD_USAGE).nonzero()[:, 0][: len(rows) // 8]
        if len(dead):
            chosen = residual[torch.from_numpy(rng.integers(0, len(residual), len(dead)))]
            book.embed[dead] = chosen
            book.cluster_size[dead] = 10 * DEAD_USAGE
            book.embed_avg[dead] = chosen * 10 * DEAD_USAGE
        residual = residual - book.embed[nearest(residual, book.embed)]


def _rows(latent: Tensor) -> Tensor:
    """[B, D, T] -> [B * T, D]."""
    return latent.transpose(1, 2).flatten(0, 1)


def fold_loudness(state: dict[str, Tensor], *, factor: float = LOUDNESS) -> dict[str, Tensor]:
    """State dict of the same codec for sound that is softer by `factor`, without the probe.

    The first convolution of the encoder and the last of the decoder are linear, so the factor goes into their weights.
    """
    folded = {name: value.clone() for name, value in state.items() if not name.startswith("probe.")}
    folded["encoder.model.0.conv.conv.weight_g"] *= factor
    for part in ("weight_g", "bias"):
        folded[last_convolution(state, "decoder") + part] /= factor
    return folded


def set_usage(state: dict[str, Tensor], usage: float) -> dict[str, Tensor]:
    """State dict whose codebooks take every code to have been met `usage` times; above 2 none counts as dead."""
    return with_codebooks(state, codebooks_of(state), usage)


def codebooks_of(state: Mapping[str, Tensor]) -> Tensor:
    """[K, 1024, D] the code vectors of a codec's state dict."""
    return torch.stack([state[f"{book}.embed"] for book in _books(state)])


def with_codebooks(state: dict[str, Tensor], codebooks: Tensor, usage: float) -> dict[str, Tensor]:
    """State dict with other code vectors [K, 1024, D], each taken to have been met `usage` times."""
    changed = dict(state)
    for book, vectors in zip(_books(state), codebooks, strict=True):
        changed[f"{book}.embed"] = vectors
        changed[f"{book}.embed_avg"] = vectors * usage
        changed[f"{book}.cluster_size"] = torch.full(vectors.shape[:1], usage)
    return changed


def _books(state: Mapping[str, Tensor]) -> list[str]:
    """Names of the codebooks, in their order."""
    layers = sorted({int(name.split(".")[3]) for name in state if name.endswith("_codebook.embed")})
    return [f"quantizer.vq.layers.{layer}._codebook" for layer in layers]


def last_convolution(state: dict[str, Tensor], part: str) -> str:
    """What the names of the last convolution's tensors begin with, in the encoder or decoder."""
    last = max(int(name.split(".")[2]) for name in state if name.startswith(f"{part}.model."))
    return f"{part}.model.{last}.conv.conv."


def pre_emphasised(sound: Tensor) -> Tensor:
    """What waveforms are compared as: high frequencies count as much as low ones."""
    return sound[..., 1:] - 0.9 * sound[..., :-1]
