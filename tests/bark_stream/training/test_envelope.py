"""The codec's latent is turned so that its coarse codebooks do not see phase."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bark_stream.training.codec import DIMENSION, NUM_PROBED, CodecModel
from bark_stream.training.envelope import Latents, Turn, find_turn, fit_split, listen, turned_codec

NUM_STILL, NUM_MOVING = 6, 4
"""Directions of the made-up latent that stay when the moment moves, and that do not."""


@pytest.fixture(scope="module")
def latents() -> Latents:
    """Strong directions without meaning that change with the moment, weak ones that make the spectrum."""
    generator = torch.Generator().manual_seed(0)
    still = torch.randn(3000, NUM_STILL, generator=generator)
    moving = 2 * torch.randn(3000, NUM_MOVING, generator=generator)
    mixing = torch.linalg.qr(torch.randn(DIMENSION, NUM_STILL + NUM_MOVING, generator=generator))[0]
    noise = 1e-3 * torch.randn(3000, DIMENSION, generator=generator)
    reading = torch.randn(NUM_STILL, NUM_PROBED, generator=generator)
    return Latents(
        values=torch.cat([still, moving], 1) @ mixing.T + noise,
        spectra=still @ reading,
        shift_covariance=2 * 4.0 * mixing[:, NUM_STILL:] @ mixing[:, NUM_STILL:].T + 1e-6 * torch.eye(DIMENSION),
    )


@pytest.fixture(scope="module")
def turn(latents: Latents) -> Turn:
    return find_turn(latents)


def test_turn_tells_envelope_from_phase(latents: Latents, turn: Turn) -> None:
    """What makes the spectrum comes first, what moves with the moment after it, with half of the variance."""
    assert turn.num_phase == NUM_MOVING
    turned = turn(latents.values)
    envelope, phase = turned[:, : turn.num_envelope], turned[:, turn.num_envelope : turn.num_envelope + NUM_MOVING]
    for part, is_told in ((envelope, True), (phase, False)):
        design = torch.cat([part, torch.ones(len(part), 1)], 1)
        left = latents.spectra - design @ torch.linalg.lstsq(design, latents.spectra).solution
        share = float((left**2).sum() / (latents.spectra**2).sum())
        assert share < 0.01 if is_told else share > 0.9
    assert float((phase**2).sum() / (envelope**2).sum()) == pytest.approx(0.5, rel=0.1)


def test_coarse_codebooks_do_not_see_phase(latents: Latents, turn: Turn) -> None:
    """Whatever the phase, the nearest coarse codes are the same; the next one answers to it."""
    codebooks = fit_split(turn, latents.values, np.random.default_rng(0))
    turned = turn(latents.values[:200])
    phase = slice(turn.num_envelope, turn.num_envelope + turn.num_phase)
    other = turned.clone()
    other[:, phase] = turned.flip(0)[:, phase]
    for vectors in codebooks[:2]:
        chosen = torch.cdist(turned, vectors).argmin(1)
        assert len(chosen.unique()) > 50
        assert torch.equal(torch.cdist(other, vectors).argmin(1), chosen)
        turned, other = turned - vectors[chosen], other - vectors[chosen]
    assert not torch.equal(torch.cdist(other, codebooks[2]).argmin(1), torch.cdist(turned, codebooks[2]).argmin(1))


def test_turned_codec_makes_the_same_sound(latents: Latents, turn: Turn) -> None:
    """Encoder and decoder are what they were: the turn goes in and out again."""
    torch.manual_seed(0)
    model, turned = CodecModel(4).eval(), CodecModel(4).eval()
    codebooks = torch.randn(8, 1024, DIMENSION)
    turned.load_state_dict(turned_codec(model.state_dict(), turn, codebooks))
    sound = torch.randn(1, 1, 20 * 320)
    with torch.inference_mode():
        latent, other = model.encoder(sound), turned.encoder(sound)
        torch.testing.assert_close(turn(latent[0].T), other[0].T, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(turned.decoder(other), model.decoder(latent), rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(turned.probe(other), model.probe(latent), rtol=1e-3, atol=1e-3)
    assert torch.equal(turned.quantizer.vq.layers[3]._codebook.embed, codebooks[3])


def test_listen_gives_a_latent_and_a_spectrum_for_each_frame() -> None:
    """Sounds of any length; the shift covariance is one."""
    sounds = [np.random.default_rng(i).integers(-9000, 9000, 4000 + 700 * i).astype(np.int16) for i in range(3)]
    latents = listen(CodecModel(4).eval(), sounds)
    assert latents.values.shape[0] == latents.spectra.shape[0] >= 3 * 10
    assert float(torch.linalg.eigvalsh(latents.shift_covariance).min()) > -1e-5
