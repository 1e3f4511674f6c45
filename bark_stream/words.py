"""The words of a text, as captions and word times count them. Knows no model."""

from __future__ import annotations

import re
from collections.abc import Iterator

# Han and kana have no spaces between words: each character counts as one.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff][^\w\s]*|[^\s\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]+")


def words_in(text: str) -> Iterator[re.Match[str]]:
    """Each word with its place in the text, punctuation included."""
    return _WORD.finditer(text)
