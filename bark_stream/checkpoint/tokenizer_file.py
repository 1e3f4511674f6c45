"""The tokenizer of a foreign model folder, as one tokenizer.json."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from bark_stream.checkpoint.text_files import read_text
from bark_stream.errors import CheckpointError

UNKNOWN_TOKEN = "[UNK]"
MAX_WORD_CHARACTERS = 100
"""Longer words become the unknown token (BERT's tokenizer)."""


def read_tokenizer(folder: Path) -> str:
    """The folder's tokenizer.json, or one made of its vocab.txt.

    Raises: CheckpointError if there is neither, or it is damaged.
    """
    path = folder / "tokenizer.json"
    if path.exists():
        text = read_text(path)
        try:
            Tokenizer.from_str(text)
        except Exception as exc:  # the library raises no narrower type
            raise CheckpointError(str(path), f"is no tokenizer: {exc}") from exc
        return text
    if (folder / "vocab.txt").exists():
        return _word_piece(folder / "vocab.txt")
    raise CheckpointError(str(folder), "tokenizer.json (or vocab.txt) of bert-base-multilingual-cased is missing")


def _word_piece(path: Path) -> str:
    """BERT's cased WordPiece (bert-base-multilingual-cased): one piece a line, its number the line's."""
    pieces = read_text(path).splitlines()
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    if UNKNOWN_TOKEN not in vocabulary:
        raise CheckpointError(str(path), f"{UNKNOWN_TOKEN} is missing")
    tokenizer = Tokenizer(
        models.WordPiece(vocabulary, unk_token=UNKNOWN_TOKEN, max_input_chars_per_word=MAX_WORD_CHARACTERS)
    )
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer.to_str()
