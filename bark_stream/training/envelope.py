"""The codec's latent turned so that the coarse codebooks hold the envelope of the sound and none of its phase.

An autoencoder spends much of its latent on the phase of the waveform, which moves with the moment at which a frame
begins and which no text tells; so do its first codebooks, and a coarse stage then learns phase beside words. Which
directions those are shows when the same sound is encoded from a few moments on. The turn is linear, so it goes into
the encoder's last and the decoder's first convolution, and the codec is what it was: encoder and quantizer of
EnCodec. Knows no tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bark_stream.codec import folded_weight
from bark_stream.training.codec import (
    HOP_SAMPLES,
    LOUDNESS,
    NUM_CODEBOOKS,
    PROBED_MELS,
    CodecModel,
    Spectrum,
    last_convolution,
    residual_k_means,
    with_codebooks,
)

NUM_ENVELOPE_CODEBOOKS = 2
"""Those of the coarse stage."""
SHIFTS_SAMPLES = (0, 80, 160, 240)
"""Moments in a frame from which the same sound is encoded."""
KEPT_VARIANCE = 0.975
"""Share of the latent that is turned; what is left is near silence."""
PHASE_RATIO = 0.6
"""Shift over total variance above which a direction counts as phase; noise that is new in each frame has 1.5 to 2."""
PHASE_SHARE = 0.5
"""Variance that phase gets for each of the envelope's."""
BINS_WEIGHT = 0.7
"""Of single bins, where pitch shows, beside mel bands."""
SMALLEST_WEIGHT = 0.003
"""Of an envelope's direction, as a part of all."""
REST_SCALE = 0.3
SPLIT_USAGE = 16.0
"""What the codes are taken to have been met, so that none counts as dead."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Latents:
    """Latents of some sound, and what is known of it."""

    values: Tensor
    """[N, D]"""
    spectra: Tensor
    """[N, NUM_PROBED], see `codec.Spectrum`."""
    shift_covariance: Tensor
    """[D, D] of the difference between what a moment in a frame gives and what lies between its neighbours."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """A change of coordinates: matrix @ (latent - mean). Envelope first, then phase, then the rest."""

    matrix: Tensor
    """[D, D]"""
    mean: Tensor
    """[D]"""
    num_envelope: int
    num_phase: int

    def __call__(self, values: Tensor) -> Tensor:
        """[N, D] -> [N, D]."""
        return (values - self.mean) @ self.matrix.T


@torch.inference_mode()
def listen(model: CodecModel, sounds: list[npt.NDArray[np.int16]]) -> Latents:
    """Latents of sounds [L] at 24 kHz, each encoded from several moments on."""
    spectrum = Spectrum()
    values, spectra = [], []
    shift_covariance = torch.zeros(model.probe.in_channels, model.probe.in_channels)
    for sound in sounds:
        loud = torch.from_numpy(sound.astype(np.float32)) / 32768.0 * LOUDNESS
        length = len(loud) - HOP_SAMPLES
        shifted = [model.encoder(loud[None, None, s : s + length])[0].T for s in SHIFTS_SAMPLES]
        seen = spectrum(loud[None, :length])[0].T
        num_frames = min(len(seen), *(len(latent) for latent in shifted))
        values.append(shifted[0][:num_frames])
        spectra.append(seen[:num_frames])
        for shift, latent in zip(SHIFTS_SAMPLES[1:], shifted[1:], strict=True):
            between = torch.lerp(values[-1][:-1], values[-1][1:], shift / HOP_SAMPLES)
            moved = latent[: num_frames - 1] - between
            shift_covariance += moved.T @ moved / (len(SHIFTS_SAMPLES) - 1)
    num_values = sum(map(len, values))
    return Latents(values=torch.cat(values), spectra=torch.cat(spectra), shift_covariance=shift_covariance / num_values)


def find_turn(latents: Latents) -> Turn:
    """Directions by how little they move with the moment; distances of the envelope are those of the log spectrum.

    Phase gets a part of the envelope's variance, in the proportions that it has in the latent.
    """
    mean = latents.values.mean(0)
    centred = latents.values - mean
    total = centred.T @ centred / len(centred)
    variances, axes = (x.flip(-1) for x in torch.linalg.eigh(total))
    kept = max(2, int((variances.cumsum(0) < KEPT_VARIANCE * variances.sum()).sum()) + 1)
    axes, rest = axes[:, :kept], axes[:, kept:]
    # Coordinates of unit variance in which shift variance is diagonal: the generalised eigenproblem of the two.
    unit = axes / variances[:kept].sqrt()
    ratios, turned = torch.linalg.eigh(unit.T @ latents.shift_covariance @ unit)
    forward, back = unit @ turned, axes * variances[:kept].sqrt() @ turned
    num_envelope = min(max(1, int((ratios < PHASE_RATIO).sum())), kept - 1)
    envelope = _envelope_metric(centred @ forward[:, :num_envelope], latents.spectra)
    phase = back[:, num_envelope:].T @ back[:, num_envelope:]
    phase = phase * (PHASE_SHARE * envelope.trace() / phase.trace().clamp(min=1e-9))
    return Turn(
        matrix=torch.cat(
            [
                _root(envelope) @ forward[:, :num_envelope].T,
                _root(phase) @ forward[:, num_envelope:].T,
                REST_SCALE * rest.T,
            ]
        ),
        mean=mean,
        num_envelope=num_envelope,
        num_phase=kept - num_envelope,
    )


def fit_split(turn: Turn, values: Tensor, rng: np.random.Generator) -> Tensor:
    """Codebooks of turned latents: the coarse ones of the envelope, the others of all that is left.

    Args: values: [N, D] latents, not yet turned.
    Returns: [K, 1024, D].
    """
    parts = [slice(turn.num_envelope)] * NUM_ENVELOPE_CODEBOOKS
    parts += [slice(None)] * (NUM_CODEBOOKS - NUM_ENVELOPE_CODEBOOKS)
    return torch.stack([vectors for vectors, _ in residual_k_means(turn(values), parts, rng)])


def turned_codec(state: dict[str, Tensor], turn: Turn, codebooks: Tensor) -> dict[str, Tensor]:
    """State dict of the same encoder and decoder with a turned latent between them.

    Args: codebooks: [K, 1024, D] of turned latents.
    """
    changed = with_codebooks(state, codebooks, SPLIT_USAGE)
    encoder, decoder = last_convolution(state, "encoder"), "decoder.model.0.conv.conv."
    back = torch.linalg.inv(turn.matrix.double()).float()
    weight = folded_weight(state, encoder + "weight")
    _set_weight(changed, encoder, torch.einsum("oi,ick->ock", turn.matrix, weight))
    changed[encoder + "bias"] = turn.matrix @ (state[encoder + "bias"] - turn.mean)
    weight = folded_weight(state, decoder + "weight")
    _set_weight(changed, decoder, torch.einsum("oik,ij->ojk", weight, back))
    changed[decoder + "bias"] = state[decoder + "bias"] + torch.einsum("oik,i->o", weight, turn.mean)
    probe = state["probe.weight"][..., 0]
    changed["probe.weight"] = (probe @ back)[..., None]
    changed["probe.bias"] = state["probe.bias"] + probe @ turn.mean
    return changed


def _envelope_metric(coordinates: Tensor, spectra: Tensor) -> Tensor:
    """[E, E] whose distances are those of the log spectrum that can be read off linearly, evened out.

    Loudness alone is two thirds of that spectrum's variance, and would take half of the first codebook's bits.
    """
    weights = torch.ones(spectra.shape[1])
    weights[PROBED_MELS:] = BINS_WEIGHT
    reading = torch.linalg.lstsq(coordinates, spectra - spectra.mean(0)).solution * weights
    metric = reading @ reading.T
    variances, axes = torch.linalg.eigh(metric)
    evened = variances.clamp(min=SMALLEST_WEIGHT * float(metric.trace())).sqrt()
    scaled: Tensor = axes * (evened * metric.trace() / evened.sum()) @ axes.T
    return scaled


def _root(matrix: Tensor) -> Tensor:
    """Symmetric square root of a positive semidefinite matrix."""
    values, axes = torch.linalg.eigh(matrix)
    root: Tensor = axes * values.clamp(min=0).sqrt() @ axes.T
    return root


def _set_weight(state: dict[str, Tensor], layer: str, weight: Tensor) -> None:
    state[layer + "weight_v"] = weight.contiguous()
    state[layer + "weight_g"] = torch.linalg.vector_norm(weight, dim=(1, 2), keepdim=True)
