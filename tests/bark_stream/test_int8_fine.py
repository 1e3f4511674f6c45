"""Promises of `bark_stream.int8_fine`."""

from __future__ import annotations

import torch

from bark_stream.config import TransformerConfig
from bark_stream.int8_fine import Int8Fine
from bark_stream.transformer import FineGPT

CONFIG = TransformerConfig(
    num_layers=3, num_heads=2, hidden_size=64, block_size=24, input_vocab_size=50, output_vocab_size=50
)


def test_fine_pass_is_close_to_float32() -> None:
    """Logits are a few percent from the float model's, and only those of the frames that were asked for are made."""
    torch.manual_seed(0)
    model, twin = (FineGPT(CONFIG, num_codebooks=4, num_codebooks_given=1).eval() for _ in range(2))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.15)
    twin.load_state_dict(model.state_dict())
    twin.layers = Int8Fine(CONFIG, model.requires_grad_(False).state_dict(), num_threads=1)
    codes = torch.randint(0, 50, (1, 20, 4), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected, logits = (m(2, codes, num_codes=40, first_frame=6) for m in (model, twin))
    assert logits.shape == (1, 14, 40)
    assert (logits - expected).norm() / expected.norm() < 0.06
