"""The optimiser of all parts."""

from __future__ import annotations

import torch
from torch import nn

from bark_stream.training.muon import Muon, is_hidden_matrix, orthogonal


def test_orthogonal_brings_singular_values_near_one() -> None:
    """Whatever the shape and however unequal the directions were."""
    generator = torch.Generator().manual_seed(0)
    for shape in ((16, 96), (96, 16)):
        matrix = torch.randn(shape, generator=generator) * torch.logspace(-0.5, 0.5, shape[1])
        values = torch.linalg.svdvals(orthogonal(matrix))
        assert 0.4 < float(values.min()) <= float(values.max()) < 1.3


def test_is_hidden_matrix_leaves_tables_heads_and_gains_to_adam() -> None:
    """Only what maps one hidden layer to another is moved by Muon."""
    matrix = nn.Parameter(torch.zeros(8, 4))
    assert is_hidden_matrix("transformer.h.0.attn.c_attn.weight", matrix)
    assert is_hidden_matrix("encoder.model.1.conv.conv.weight_v", nn.Parameter(torch.zeros(8, 4, 3)))
    assert not is_hidden_matrix("transformer.wte.weight", matrix)
    assert not is_hidden_matrix("lm_head.weight", matrix)
    assert not is_hidden_matrix("encoder.model.1.conv.conv.weight_g", nn.Parameter(torch.zeros(8, 1, 1)))
    assert not is_hidden_matrix("transformer.ln_f.weight", nn.Parameter(torch.zeros(8)))


def test_muon_goes_on_from_its_state_as_if_never_stopped() -> None:
    """State saved and loaded, the next steps are the same."""
    torch.manual_seed(0)
    x, y = torch.randn(64, 6), torch.randn(64, 3)

    def made() -> tuple[nn.Sequential, Muon]:
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 3))
        named = list(model.named_parameters())
        hidden = [p for name, p in named if is_hidden_matrix(name, p)]
        return model, Muon(hidden, [p for p in model.parameters() if p.ndim < 2], lr=0.02)

    def advance(model: nn.Sequential, muon: Muon, count: int) -> float:
        for _ in range(count):
            loss = ((model(x) - y) ** 2).mean()
            muon.zero_grad()
            loss.backward()
            muon.step()
        return float(loss.detach())

    whole, muon = made()
    first = advance(whole, muon, 1)
    assert advance(whole, muon, 9) < first
    part, before = made()
    advance(part, before, 4)
    weights, state = part.state_dict(), before.state_dict()
    resumed, after = made()
    resumed.load_state_dict(weights)
    after.load_state_dict(state)
    advance(resumed, after, 6)
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)
