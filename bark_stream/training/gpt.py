"""What training asks of the causal transformer beyond running it: first weights, and positions of one's own. Knows
no tokens."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bark_stream.transformer import Attend, CausalGPT


def init_gpt(model: nn.Module, generator: torch.Generator) -> None:
    """GPT-2's: normal with 0.02, smaller where a block writes to the residual stream."""
    num_layers = len(cast(nn.ModuleList, model.get_submodule("transformer.h")))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim >= 2:
                scale = 0.02 / (2 * num_layers) ** 0.5 if name.endswith("c_proj.weight") else 0.02
                parameter.normal_(0.0, scale, generator=generator)


def causal(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention over whole sequences [B, T, H, D]."""
    q, k, v = (t.transpose(1, 2) for t in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2)


def forward_at(
    model: CausalGPT,
    embeddings: Tensor,
    positions: Tensor,
    attend: Attend = causal,
) -> Tensor:
    """Hidden states [B, T, C] of embeddings [B, T, C] at positions [B or 1, T], some of which may be left out.

    Padding that inference lays out in full costs training as much as what is said; a few positions of it are enough to
    learn to pass it over.
    """
    x = embeddings + model.transformer["wpe"](positions)
    for layer, block in enumerate(cast(nn.ModuleList, model.transformer["h"])):
        x = block(x, layer, attend)
    return cast(Tensor, model.transformer["ln_f"](x))


def first_blocks(model: CausalGPT, embeddings: Tensor, positions: Tensor, num_blocks: int) -> Tensor:
    """What the first blocks alone make of embeddings [B, T, C] at positions [B or 1, T]: [B, T, C]."""
    x = embeddings + model.transformer["wpe"](positions)
    for layer, block in enumerate(cast(nn.ModuleList, model.transformer["h"])[:num_blocks]):
        x = block(x, layer, causal)
    return cast(Tensor, x)
