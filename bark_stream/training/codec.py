"""Training of the codec: EnCodec's SEANet and residual quantizer with fewer filters.

Three phases, because a spectral loss from the first step never leaves silence: waveform error alone and no
quantizer; then log-mel beside the pre-emphasised waveform; then the quantizer. Knows no tokens but its own
codes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bark_stream.encodec_import import ResidualVectorQuantizer, SEANetDecoder, SEANetEncoder

SAMPLE_RATE_HZ = 24_000
HOP_SAMPLES = 320
FRAME_RATE_HZ = SAMPLE_RATE_HZ // HOP_SAMPLES
NUM_CODEBOOKS = 8
CODEBOOK_SIZE = 1024
DIMENSION = 128

LOUDNESS = 10.0
"""Speech is brought near unit RMS inside the codec; folded into its first and last layer on export."""
LOG_FLOOR = 0.01
STFT_SIZES = (128, 256, 512, 1024, 2048)
MEL_BANDS = (20, 30, 45, 64, 80)


@dataclass(frozen=True, kw_only=True, slots=True)
class CodecTrainingConfig:
    """Sizes and phases of codec training."""

    num_filters: int = 16
    batch_size: int = 8
    crop_samples: int = 38 * HOP_SAMPLES
    waveform_steps: int = 300
    """Steps of waveform error alone."""
    ramp_steps: int = 500
    """Steps over which the log-mel loss reaches its weight."""
    quantizer_from_step: int = 450
    mel_weight: float = 15.0
    wave_weight: float = 6.0


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
        self.quantizer = ResidualVectorQuantizer(
            dimension=DIMENSION, n_q=NUM_CODEBOOKS, bins=CODEBOOK_SIZE, kmeans_iters=8
        )

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
            self.register_buffer(f"mel_{size}", mel_filters(size, bands), persistent=False)

    def forward(self, made: Tensor, true: Tensor) -> Tensor:
        """[B, L] sounds -> scalar."""
        total = made.new_zeros(())
        for size in STFT_SIZES:
            total = total + F.l1_loss(self._log_mel(made, size), self._log_mel(true, size))
        return total / len(STFT_SIZES)

    def _log_mel(self, sound: Tensor, size: int) -> Tensor:
        window = self.get_buffer(f"window_{size}")
        spectrum = torch.stft(sound, size, size // 4, window=window, return_complex=True)
        magnitude = torch.sqrt(spectrum.real**2 + spectrum.imag**2 + 1e-9) / (size / 4)
        return torch.log(self.get_buffer(f"mel_{size}") @ magnitude + LOG_FLOOR)


def mel_filters(size: int, bands: int) -> Tensor:
    """[bands, size / 2 + 1] triangles on the mel scale, each of sum 1 so that narrow bands weigh no less."""

    def mel(hz: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return 2595.0 * np.log10(1.0 + hz / 700.0)

    edges = np.linspace(0.0, float(mel(np.array(SAMPLE_RATE_HZ / 2))), bands + 2)
    bins = mel(np.arange(size // 2 + 1) * SAMPLE_RATE_HZ / size)
    rising = (bins[None] - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins[None]) / np.diff(edges)[1:, None]
    filters = np.maximum(0.0, np.minimum(rising, falling))
    empty = filters.sum(axis=1) == 0
    nearest = np.abs(bins[None] - edges[1:-1, None]).argmin(axis=1)
    filters[empty, nearest[empty]] = 1.0
    return torch.from_numpy(filters / filters.sum(axis=1, keepdims=True)).float()


class CodecTraining:
    """Losses of codec training, step by step."""

    def __init__(self, model: CodecModel, sound: npt.NDArray[np.int16], config: CodecTrainingConfig) -> None:
        """`sound`: all sound end to end, 24 kHz."""
        self._model = model
        self._sound = sound
        self._config = config
        self._distance = LogMelDistance()

    def __call__(self, step: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """Losses of one step: loss, log-mel distance, waveform error, commitment."""
        config = self._config
        true = self._batch(rng)
        latent = self._model.encoder(true)
        commitment = latent.new_zeros(())
        if step >= config.quantizer_from_step:
            result = self._model.quantizer(latent, FRAME_RATE_HZ, None)
            latent, commitment = result.quantized, result.penalty
        made = self._model.decoder(latent)
        made, true = made[:, 0], true[:, 0]
        if step < config.waveform_steps:
            wave = F.mse_loss(made, true)
            return {"loss": 10 * wave, "wave": wave}
        ramp = min(1.0, (step - config.waveform_steps) / config.ramp_steps)
        wave = (1 - ramp) * F.mse_loss(made, true) + F.mse_loss(_pre_emphasised(made), _pre_emphasised(true))
        mel = self._distance(made, true)
        loss = config.wave_weight * wave + ramp * config.mel_weight * mel + commitment
        return {"loss": loss, "mel": mel, "wave": wave, "commitment": commitment}

    def _batch(self, rng: np.random.Generator) -> Tensor:
        """[B, 1, L] random crops at random loudness."""
        length = self._config.crop_samples
        starts = rng.integers(0, len(self._sound) - length, self._config.batch_size)
        crops = np.stack([self._sound[s : s + length] for s in starts]).astype(np.float32) / 32768.0
        gains = rng.uniform(0.7, 1.2, (len(crops), 1)).astype(np.float32)
        return torch.from_numpy(crops * gains * LOUDNESS)[:, None]


class DecoderTraining:
    """Losses of the decoder alone, from codes that no longer change, so that the stages can learn beside it."""

    def __init__(
        self,
        model: CodecModel,
        codes: list[npt.NDArray[np.int16]],
        sounds: list[npt.NDArray[np.int16]],
        config: CodecTrainingConfig,
    ) -> None:
        """`codes`: [K, T] each, and the `sounds` [T * 320 or more] that they were encoded from."""
        for module in (model.encoder, model.quantizer):
            module.requires_grad_(False)
        self._model = model
        self._codes, self._sounds = codes, sounds
        self._config = config
        self._distance = LogMelDistance()
        lengths = np.array([max(0, c.shape[1] - config.crop_samples // HOP_SAMPLES) for c in codes], np.float64)
        self._weights = lengths / lengths.sum()

    def __call__(self, step: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """Losses of one step: loss, log-mel distance, waveform error."""
        num_frames = self._config.crop_samples // HOP_SAMPLES
        codes, sounds = [], []
        for index in rng.choice(len(self._codes), self._config.batch_size, p=self._weights):
            first = int(rng.integers(0, self._codes[index].shape[1] - num_frames))
            codes.append(self._codes[index][:, first : first + num_frames])
            sound = self._sounds[index][first * HOP_SAMPLES : (first + num_frames) * HOP_SAMPLES]
            sounds.append(np.pad(sound, (0, num_frames * HOP_SAMPLES - len(sound))))
        with torch.no_grad():
            latent = self._model.quantizer.decode(torch.from_numpy(np.stack(codes).astype(np.int64)).transpose(0, 1))
        true = torch.from_numpy(np.stack(sounds).astype(np.float32)) * (LOUDNESS / 32768.0)
        made = self._model.decoder(latent)[:, 0]
        wave = F.mse_loss(_pre_emphasised(made), _pre_emphasised(true))
        mel = self._distance(made, true)
        return {
            "loss": self._config.wave_weight * wave + self._config.mel_weight * mel,
            "mel": mel,
            "wave": wave,
        }


def fold_loudness(state: dict[str, Tensor], *, factor: float = LOUDNESS) -> dict[str, Tensor]:
    """State dict of the same codec for sound that is softer by `factor`.

    The first convolution of the encoder and the last of the decoder are linear, so the factor goes into their weights.
    """
    folded = {name: value.clone() for name, value in state.items()}
    folded["encoder.model.0.conv.conv.weight_g"] *= factor
    for part in ("weight_g", "bias"):
        folded[f"decoder.model.{_last_layer(state)}.conv.conv.{part}"] /= factor
    return folded


def set_usage(state: dict[str, Tensor], usage: float) -> dict[str, Tensor]:
    """State dict whose codebooks take every code to have been met `usage` times; above 2 none counts as dead."""
    changed = dict(state)
    for name in (n for n in state if n.endswith("_codebook.embed")):
        changed[name + "_avg"] = state[name] * usage
        changed[name.removesuffix("embed") + "cluster_size"] = torch.full(state[name].shape[:1], usage)
    return changed


def _last_layer(state: dict[str, Tensor]) -> int:
    return max(int(name.split(".")[2]) for name in state if name.startswith("decoder.model."))


def _pre_emphasised(sound: Tensor) -> Tensor:
    return sound[..., 1:] - 0.9 * sound[..., :-1]
