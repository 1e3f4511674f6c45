"""The tokenizer of a foreign model folder, as one tokenizer.json."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer

from bark_stream.checkpoint.text_files import read_text
from bark_stream.errors import CheckpointError
from bark_stream.text import wordpiece_tokenizer


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
    path = folder / "vocab.txt"
    if path.exists():
        # Not splitlines: some pieces are line separators of other alphabets.
        return wordpiece_tokenizer(read_text(path).removesuffix("\n").split("\n")).to_str()
    raise CheckpointError(str(folder), "tokenizer.json (or vocab.txt) of bert-base-multilingual-cased is missing")
