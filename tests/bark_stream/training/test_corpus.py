"""Texts to learn from."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

from bark_stream.training.corpus import Corpus, held_out_sentences, validation_sentences


def test_corpus_says_the_words_that_people_use() -> None:
    """Of everyday words none is missing from twenty thousand lists, and a name keeps its capital."""
    lists = itertools.islice(Corpus(None, seed=1, only_words=True), 20_000)
    words = {word for text in lists for word in re.findall(r"[A-Za-z']+", text)}
    lower = {word.lower() for word in words}
    assert {"milk", "tea", "movie", "happen", "ice", "football"} <= lower
    assert "America" in words or "John" in words


def test_corpus_never_draws_a_held_out_sentence(tmp_path: Path) -> None:
    """A list that holds sentences that figures are taken from, or choices made by, gives the others alone, whatever
    their case and marks."""
    assert set(held_out_sentences()).isdisjoint(validation_sentences())
    held_out = held_out_sentences() + validation_sentences()
    listed = [s.upper() if n % 2 else s.rstrip(".?!") for n, s in enumerate(held_out)]
    (tmp_path / "list.txt").write_text("\n".join([*listed, "The kettle sings in the kitchen."]), "utf-8")
    texts = list(itertools.islice(Corpus(tmp_path / "list.txt", seed=2), 3000))
    drawn = {re.sub("[^a-z]", "", text.lower()) for text in texts}
    assert drawn.isdisjoint(re.sub("[^a-z]", "", s.lower()) for s in held_out)
    assert any("kettle" in text.lower() for text in texts)


def test_corpus_with_a_seed_is_the_same_again() -> None:
    """Two corpora of one seed say the same sentences; of another seed, others."""
    first, again, other = (list(itertools.islice(Corpus(None, seed=seed), 50)) for seed in (3, 3, 4))
    assert first == again != other
