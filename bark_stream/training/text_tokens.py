"""The text tokenizer of `mini`: characters, case kept, and one token for each sound in brackets.

Characters generalise to unseen words where a small vocabulary of word pieces would not. Knows no model.
"""

from __future__ import annotations

from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

UNKNOWN = "[UNK]"
SOUND_TAGS = ("[laughs]", "[sighs]", "[gasps]", "[clears throat]", "[music]")
_SYNONYMS = {"[laughter]": "[laughs]", "[laugh]": "[laughs]", "[sigh]": "[sighs]", "[gasp]": "[gasps]"}
_ALPHABET = " abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,!?;:'\"-—…()[]/&%$€£@#*+=<>_°♪~^|\\{}`"
_REPLACED = {
    "’": "'", "‘": "'", "“": '"', "”": '"', "–": "—", "...": "…", "\n": " ", "\t": " ", "♫": "♪", "é": "e", "è": "e",
    "ê": "e", "á": "a", "à": "a", "â": "a", "ä": "a", "ö": "o", "ó": "o", "ô": "o", "ü": "u", "ú": "u", "ñ": "n",
    "ç": "c", "í": "i", "ï": "i",
}  # fmt: skip


def build_tokenizer() -> Tokenizer:
    """Tokenizer of `mini`; ids are 0 for an unknown character, then the alphabet, then the sounds."""
    vocabulary = {UNKNOWN: 0} | {c: i + 1 for i, c in enumerate(_ALPHABET)}
    tokenizer = Tokenizer(models.WordLevel(vocab=vocabulary, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Replace(a, b) for a, b in (_SYNONYMS | _REPLACED).items()])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), behavior="isolated")
    tokenizer.add_tokens([AddedToken(tag, normalized=True) for tag in SOUND_TAGS])
    return tokenizer
