"""What Suno published about Bark in code rather than in its checkpoints.

Vocabularies, special tokens, rates and windows: bark/generation.py (constants at the top, and defaults of
generate_coarse and generate_fine). Sizes of the networks: `model_args` of each file. EnCodec 24 kHz: encodec/model.py.
"""

from __future__ import annotations

from bark_stream.config import (
    CoarseConfig,
    CodecConfig,
    FineConfig,
    ModelConfig,
    SemanticConfig,
    TransformerConfig,
)

SEMANTIC_VOCAB_SIZES = (129_600, 10_048)
"""Input and output."""
COARSE_VOCAB_SIZES = (12_096, 12_096)
FINE_VOCAB_SIZES = (1_056, 1_056)
BLOCK_SIZE = 1024
ENCODEC_24KHZ = CodecConfig(
    sample_rate_hz=24_000,
    num_filters=32,
    dimension=128,
    ratios=(8, 5, 4, 2),
    num_lstm_layers=2,
    num_quantizers=32,
    codebook_size=1024,
)


def bark_config(
    name: str, *, semantic: TransformerConfig, coarse: TransformerConfig, fine: TransformerConfig
) -> ModelConfig:
    """Bark with networks of these sizes."""
    return ModelConfig(
        name=name,
        semantic=SemanticConfig(
            transformer=semantic,
            vocab_size=10_000,
            pad_token=10_000,
            infer_token=129_599,
            text_pad_token=129_595,
            text_offset=10_048,
            max_text_tokens=256,
            max_history_tokens=256,
            max_new_tokens=768,
            rate_hz=49.9,
        ),
        coarse=CoarseConfig(
            transformer=coarse,
            semantic_pad_token=12_048,
            infer_token=12_050,
            rate_hz=75.0,
            num_codebooks=2,
            max_semantic_tokens=256,
            max_history_tokens=630,
            sliding_window_len=60,
        ),
        fine=FineConfig(
            transformer=fine,
            num_codebooks=8,
            num_codebooks_given=1,
            max_history_frames=512,
            window_frames=1024,
        ),
        codec=ENCODEC_24KHZ,
    )
