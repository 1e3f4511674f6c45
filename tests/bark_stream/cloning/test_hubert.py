"""HuBERT and a quantizer as an ear: a tiny HuBERT, saved and read by transformers itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import HubertConfig, HubertModel

from bark_stream.cloning.hubert import LAYER, load_hubert_encoder
from bark_stream.cloning.quantizer import Quantizer, QuantizerConfig
from bark_stream.errors import CheckpointError


def save_hubert(folder: Path, num_layers: int = LAYER + 1) -> HubertModel:
    torch.manual_seed(0)
    model = HubertModel(
        HubertConfig(
            hidden_size=32,
            num_hidden_layers=num_layers,
            num_attention_heads=2,
            intermediate_size=48,
            conv_dim=(16,) * 7,
            num_conv_pos_embeddings=16,
            num_conv_pos_embedding_groups=4,
        )
    ).eval()
    model.save_pretrained(folder)
    return model


def save_quantizer(path: Path, input_size: int = 32) -> Quantizer:
    torch.manual_seed(1)
    sizes = {"input_size": input_size, "hidden_size": 16, "output_size": 300}
    quantizer = Quantizer(QuantizerConfig(**sizes, intermediate_size=None))
    torch.save(quantizer.state_dict(), path)
    return quantizer


def test_hubert_encoder_quantizes_the_ninth_layer(tmp_path: Path) -> None:
    """Two seconds of 24 kHz become the tokens of layer 9 at 16 kHz, 50 a second; the name says what named them."""
    model = save_hubert(tmp_path / "hubert")
    quantizer = save_quantizer(tmp_path / "q.pth")
    encoder = load_hubert_encoder(str(tmp_path / "hubert"), str(tmp_path / "q.pth"))
    time_s = np.arange(48_000) / 24_000
    tone = (0.3 * np.sin(2 * np.pi * 200 * time_s)).astype(np.float32)
    tokens = encoder.scores(tone, 24_000).argmax(-1)
    with torch.inference_mode():
        at_16k = torch.from_numpy(np.sin(2 * np.pi * 200 * np.arange(32_000) / 16_000).astype(np.float32) * 0.3)
        features = model(at_16k[None], output_hidden_states=True).hidden_states[9]
    assert len(tokens) == features.shape[1] == 99
    assert (tokens == quantizer.scores(features)[0].argmax(-1).numpy()).mean() > 0.95
    assert encoder.num_tokens == 300
    assert encoder.name.endswith("layer 9 + q.pth")


def test_load_hubert_encoder_refuses_parts_that_do_not_fit(tmp_path: Path) -> None:
    """Too few layers, another width, no such folder or file: each is named."""
    save_hubert(tmp_path / "small", num_layers=2)
    save_hubert(tmp_path / "hubert")
    save_quantizer(tmp_path / "q.pth")
    save_quantizer(tmp_path / "wide.pth", input_size=64)
    with pytest.raises(CheckpointError, match="has 2 layers"):
        load_hubert_encoder(str(tmp_path / "small"), str(tmp_path / "q.pth"))
    with pytest.raises(CheckpointError, match="the quantizer takes 64"):
        load_hubert_encoder(str(tmp_path / "hubert"), str(tmp_path / "wide.pth"))
    with pytest.raises(CheckpointError, match="does not exist"):
        load_hubert_encoder(str(tmp_path / "hubert"), str(tmp_path / "none.pth"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="no HuBERT"):
        load_hubert_encoder(str(tmp_path / "empty"), str(tmp_path / "q.pth"))


@pytest.mark.slow
def test_load_hubert_encoder_passes_over_a_torchaudio_that_cannot_be_loaded(tmp_path: Path) -> None:
    """A torchaudio made for another torch is no reason not to hear, and is left as it was."""
    save_hubert(tmp_path / "hubert")
    save_quantizer(tmp_path / "q.pth")
    (tmp_path / "torchaudio.py").write_text("raise OSError('libcuda')\n")
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from bark_stream.cloning.hubert import load_hubert_encoder\n"
        f"load_hubert_encoder({str(tmp_path / 'hubert')!r}, {str(tmp_path / 'q.pth')!r})\n"
        "assert 'torchaudio' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True)
