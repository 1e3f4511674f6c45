"""Sizes and numbers of the built-in model `mini`. Knows no weights."""

from __future__ import annotations

from bark_stream.config import (
    CoarseConfig,
    CodecConfig,
    FineConfig,
    ModelConfig,
    SamplingConfig,
    SemanticConfig,
    TransformerConfig,
)
from bark_stream.training import codec, semantic_tokens
from bark_stream.training.text_tokens import build_tokenizer

NUM_SEMANTIC = len(semantic_tokens.SemanticVocabulary())
MAX_TEXT_TOKENS = 256
MAX_NEW_SEMANTIC_TOKENS = 767
ALIGNMENT_HEAD = (2, 0)
"""(layer, head) of the semantic stage that training ties to the character being spoken."""
NUM_VOICES = 10


def mini_config() -> ModelConfig:
    """The configuration of `mini`."""
    text_offset = NUM_SEMANTIC + 1
    text_pad = text_offset + build_tokenizer().get_vocab_size()
    num_coarse_rows = NUM_SEMANTIC + 2 * codec.CODEBOOK_SIZE
    return ModelConfig(
        name="mini",
        semantic=SemanticConfig(
            transformer=TransformerConfig(
                num_layers=5,
                num_heads=4,
                hidden_size=256,
                block_size=MAX_TEXT_TOKENS + 1 + MAX_NEW_SEMANTIC_TOKENS,
                input_vocab_size=text_pad + 2,
                output_vocab_size=NUM_SEMANTIC + 1,
            ),
            vocab_size=NUM_SEMANTIC,
            pad_token=NUM_SEMANTIC,
            infer_token=text_pad + 1,
            text_pad_token=text_pad,
            text_offset=text_offset,
            max_text_tokens=MAX_TEXT_TOKENS,
            max_history_tokens=MAX_TEXT_TOKENS,
            max_new_tokens=MAX_NEW_SEMANTIC_TOKENS,
            rate_hz=semantic_tokens.TOKEN_RATE_HZ,
            alignment_heads=(ALIGNMENT_HEAD,),
        ),
        coarse=CoarseConfig(
            transformer=TransformerConfig(
                num_layers=4,
                num_heads=5,
                hidden_size=320,
                block_size=640,
                input_vocab_size=num_coarse_rows + 2,
                output_vocab_size=num_coarse_rows,
            ),
            semantic_pad_token=num_coarse_rows,
            infer_token=num_coarse_rows + 1,
            rate_hz=float(codec.FRAME_RATE_HZ),
            num_codebooks=2,
            max_semantic_tokens=160,
            max_history_tokens=300,
            sliding_window_len=60,
            is_aligned=True,
        ),
        fine=FineConfig(
            transformer=TransformerConfig(
                num_layers=4,
                num_heads=4,
                hidden_size=256,
                block_size=1024,
                input_vocab_size=codec.CODEBOOK_SIZE + 1,
                output_vocab_size=codec.CODEBOOK_SIZE + 1,
            ),
            num_codebooks=codec.NUM_CODEBOOKS,
            num_codebooks_given=1,
            max_history_frames=512,
            window_frames=1024,
        ),
        codec=CodecConfig(
            sample_rate_hz=codec.SAMPLE_RATE_HZ,
            num_filters=16,
            dimension=codec.DIMENSION,
            ratios=(8, 5, 4, 2),
            num_lstm_layers=2,
            num_quantizers=codec.NUM_CODEBOOKS,
            codebook_size=codec.CODEBOOK_SIZE,
        ),
        sampling=SamplingConfig(text_temperature=0.4, waveform_temperature=0.2, fine_temperature=0.05),
        voice_aliases={f"v2/en_speaker_{i}": f"en_speaker_{i}" for i in range(NUM_VOICES)},
        default_voice="en_speaker_0",
    )
