"""One sentence -> text tokens."""

from __future__ import annotations

from pathlib import Path

import pytest

from bark_stream.checkpoint import Checkpoint
from bark_stream.errors import CheckpointError, EmptyText, TextTooLong
from bark_stream.text import TextEncoder, has_speech, normalize_whitespace, pad_to, wordpiece_tokenizer

VOCABULARY = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "Hello", "hello", "world", "##s", "##ing", "laugh", "[", "]",
    ",", ".",
    "!", "…", "—", "♪", "你", "好", "。", "क", "##े", "##ा", "é", "e", "Ü", "##ber", "U", "1", "##2", "'", "s",
    "안", "##녕",
    "ё", "##ж", "##лка", "MAN", ":", "g", "##ğ", "\u0130", "I", "##ı",
]  # fmt: skip
TEXTS = [
    "Hello world, hello worlds!",
    "  Hello \n\t world.  ",
    "[laughs] laughing… — ♪ hello ♪",
    "你好。Hello你好",
    "Über é e\u0301 U\u0308 Ü ёжлка",
    "MAN: it's 12 안녕 \u0130I ğ",
    "[CLS] hello [SEP] [MASK] [UNK] [PAD]",
    "zero\u200bwidth\u00a0hello\u0000hello\ufffd",
    "hello" * 30,
    "के का 🙂 hello",
]


@pytest.fixture(scope="module")
def vocab_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bert") / "vocab.txt"
    path.write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("text", TEXTS)
def test_wordpiece_tokenizer_agrees_with_transformers(text: str, vocab_file: Path) -> None:
    """The ids are those of transformers' BertTokenizer, case and accents kept."""
    transformers = pytest.importorskip("transformers")
    theirs = transformers.BertTokenizer(vocab=str(vocab_file), do_lower_case=False)
    ours = wordpiece_tokenizer(vocab_file.read_text("utf-8").splitlines())
    assert ours.encode(text, add_special_tokens=False).ids == theirs.encode(text, add_special_tokens=False)


def test_wordpiece_tokenizer_without_unknown_token() -> None:
    """A file that is no vocabulary is named as such."""
    with pytest.raises(CheckpointError, match="UNK"):
        wordpiece_tokenizer(["a", "b"])


@pytest.fixture(scope="module")
def encoder(tiny_checkpoint: Checkpoint) -> TextEncoder:
    return TextEncoder(tiny_checkpoint.tokenizer, tiny_checkpoint.config.semantic)


def test_encode_adds_the_offset(encoder: TextEncoder, tiny_checkpoint: Checkpoint) -> None:
    """Text tokens lie above the semantic ones, as many as `num_tokens` says, white space normalised."""
    config = tiny_checkpoint.config.semantic
    tokens = encoder.encode(" hello  there\n")
    assert tokens == encoder.encode("hello there")
    assert len(tokens) == encoder.num_tokens("hello there")
    assert all(config.text_offset <= token < config.text_pad_token for token in tokens)


def test_encode_padded_has_the_model_s_length(encoder: TextEncoder, tiny_checkpoint: Checkpoint) -> None:
    """Padding follows the text."""
    config = tiny_checkpoint.config.semantic
    padded = encoder.encode_padded("hi")
    assert len(padded) == config.max_text_tokens
    assert padded[: encoder.num_tokens("hi")] == encoder.encode("hi")
    assert padded[-1] == config.text_pad_token


@pytest.mark.parametrize("text", ["", "  \n", "…", "—?!", "♪ ♪", "🙂", "\ud800"])
def test_encode_of_nothing_speakable(text: str, encoder: TextEncoder) -> None:
    """What cannot be spoken is refused."""
    with pytest.raises(EmptyText):
        encoder.encode(text)


def test_encode_of_too_much(encoder: TextEncoder, tiny_checkpoint: Checkpoint) -> None:
    """A text that does not fit is an error that says by how much; nothing is cut off in silence."""
    limit = tiny_checkpoint.config.semantic.max_text_tokens
    with pytest.raises(TextTooLong) as caught:
        encoder.encode("a b " * limit)
    assert caught.value.num_tokens > caught.value.max_tokens == limit


def test_encode_of_half_a_surrogate_pair(encoder: TextEncoder) -> None:
    """A string that is no valid Unicode is spoken without the broken part, not a crash."""
    assert encoder.encode("hi \ud83d")


def test_encoder_from_something_else(tiny_checkpoint: Checkpoint) -> None:
    """A broken tokenizer.json is a checkpoint error."""
    with pytest.raises(CheckpointError, match=r"tokenizer\.json"):
        TextEncoder("{}", tiny_checkpoint.config.semantic)


def test_pad_to_refuses_to_cut() -> None:
    """Padding never shortens."""
    assert pad_to([1], 3, 9) == [1, 9, 9]
    with pytest.raises(TextTooLong):
        pad_to([1, 2], 1, 9)


def test_normalize_whitespace_of_all_kinds() -> None:
    """No-break and ideographic spaces count; zero-width characters do not."""
    assert normalize_whitespace("\u3000a\u00a0\n b\u200bc ") == "a b\u200bc"


@pytest.mark.parametrize(
    ("text", "speakable"), [("5", True), ("い", True), ("ह", True), ("[laughs]", True), ("…!", False)]
)
def test_has_speech(text: str, speakable: bool) -> None:
    """Letters and digits of any script can be spoken."""
    assert has_speech(text) is speakable
