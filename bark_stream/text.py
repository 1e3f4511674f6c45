"""One sentence -> text tokens, as the model was trained on them.

Knows the checkpoint's tokenizer and nothing of sentences: what is too long here was cut too late elsewhere.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable

from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

from bark_stream.alignment import TextWord
from bark_stream.config import SemanticConfig
from bark_stream.errors import CheckpointError, EmptyText, TextTooLong
from bark_stream.words import words_in

_SPACES = re.compile(r"\s+")
_TAG = re.compile(r"\[[^\]\n]{0,40}\]")
_SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def normalize_whitespace(text: str) -> str:
    """Every run of white space becomes one space, none at the ends (bark/generation.py, _normalize_whitespace)."""
    return _SPACES.sub(" ", text).strip()


def has_speech(text: str) -> bool:
    """Is there a letter or a digit of any script? Punctuation, ♪ and emoji alone cannot be spoken."""
    return any(map(str.isalnum, text))


def without_tags(text: str) -> str:
    """The text with a space for each `[laughs]` and the like."""
    return _TAG.sub(" ", text)


def wordpiece_tokenizer(vocabulary: Iterable[str]) -> Tokenizer:
    """BERT's cased WordPiece tokenizer from the lines of a `vocab.txt`, for folders without a `tokenizer.json`.

    Case and accents are kept; every Chinese character stands alone; a word of more than 100 characters is unknown.
    Raises: CheckpointError if the vocabulary lacks `[UNK]`.
    Source: google-research/bert tokenization.py; bert-base-multilingual-cased.
    """
    ids = {line.rstrip("\r\n"): number for number, line in enumerate(vocabulary)}
    if "[UNK]" not in ids:
        raise CheckpointError("vocab.txt", "lacks [UNK]")
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in _SPECIAL_TOKENS if token in ids])
    return tokenizer


class TextEncoder:
    """The checkpoint's tokenizer with the offset, the length and the padding that its semantic model asks for."""

    def __init__(self, tokenizer: str, config: SemanticConfig) -> None:
        """Args: tokenizer: a `tokenizer.json`, as text. Raises: CheckpointError if it is none."""
        try:
            self._tokenizer: Tokenizer = Tokenizer.from_str(tokenizer)
        except Exception as exc:  # tokenizers raises bare Exception
            raise CheckpointError("tokenizer.json", f"cannot be read: {exc}") from exc
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._config = config

    def encode(self, text: str) -> list[int]:
        """Text tokens of one sentence: ids + `text_offset`, no special tokens, not padded.

        Raises: EmptyText if nothing can be spoken; TextTooLong above `max_text_tokens` (Suno cuts with a warning, but
            here sentences were cut before).
        """
        ids = self._ids(text) if has_speech(text) else []
        if not ids:
            raise EmptyText
        if len(ids) > self._config.max_text_tokens:
            raise TextTooLong(len(ids), self._config.max_text_tokens)
        return [token + self._config.text_offset for token in ids]

    def encode_padded(self, text: str) -> list[int]:
        """As `encode`, filled up to `max_text_tokens` with `text_pad_token`."""
        return pad_to(self.encode(text), self._config.max_text_tokens, self._config.text_pad_token)

    def words(self, text: str) -> tuple[TextWord, ...]:
        """The words of one sentence, each with its first text token; Chinese and Japanese characters count as words."""
        text = _well_formed(text)
        offsets = self._tokenizer.encode(text, add_special_tokens=False).offsets
        starts = [start for start, _ in offsets]
        return tuple(
            TextWord(match.group(), max(0, bisect_right(starts, match.start()) - 1)) for match in words_in(text)
        )

    def num_tokens(self, text: str) -> int:
        """Length of the text in tokens, however long it is."""
        return len(self._ids(text))

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(_well_formed(text), add_special_tokens=False).ids
        return ids


def _well_formed(text: str) -> str:
    """As the tokenizer gets it: half a surrogate pair becomes "?"."""
    return normalize_whitespace(text.encode("utf-8", "replace").decode("utf-8"))


def pad_to(tokens: list[int], num_tokens: int, pad_token: int) -> list[int]:
    """`tokens` filled up with `pad_token`. Raises: TextTooLong if they are more than `num_tokens`."""
    if len(tokens) > num_tokens:
        raise TextTooLong(len(tokens), num_tokens)
    return tokens + [pad_token] * (num_tokens - len(tokens))
