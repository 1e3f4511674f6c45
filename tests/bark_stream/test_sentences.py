"""Text that is still being written -> sentences."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bark_stream.clauses import spoken_weight
from bark_stream.errors import ConfigError
from bark_stream.sentences import Sentence, SentencePolicy, SentenceStream
from bark_stream.text import has_speech, normalize_whitespace

GOLDEN = json.loads((Path(__file__).parent / "golden_sentences.json").read_text("utf-8"))
EVERY_SENTENCE = SentencePolicy(min_characters=1, eager=False)
PATIENT = SentencePolicy(eager=False)
WORDS = """Hello world the I Dr. U.S. J. e.g. 3 1984 . .. … ! ? , ; : — " ' “ ” „ « » ( ) [ ] [laughs] ♪ - * 1. OK é
MAN: WOMAN: NARRATOR: Я т. д. ЧТО 。 ！ ？ 、 ， 「 」 （ ） こんにちは 你好吗 と 안녕 नमस्ते ।
🙂 www.example.com a@b.org"""
SPACES = (" ", " ", " ", " ", " ", "  ", "\n", "\n\n", "\t", "\u200d")
PIECES = st.sampled_from([*WORDS.split(), *SPACES, "e\u0301", "\ud83d"])
TEXTS = st.lists(PIECES, max_size=40).map("".join)
POLICIES = st.sampled_from(
    [
        SentencePolicy(),
        EVERY_SENTENCE,
        SentencePolicy(max_characters=24, min_characters=6, eager_characters=8, eager_min_characters=4),
    ]
)


def split(text: str, policy: SentencePolicy = PATIENT) -> list[str]:
    """Sources, pushed one character at a time, white space around them aside."""
    stream = SentenceStream(policy)
    done = [sentence for character in text for sentence in stream.push(character)]
    return [sentence.source.strip() for sentence in done + stream.flush()]


def run(slices: list[str], policy: SentencePolicy) -> tuple[list[Sentence], SentenceStream]:
    stream = SentenceStream(policy, num_tokens=len)
    done = [sentence for piece in slices for sentence in stream.push(piece)]
    return done + stream.flush(), stream


@pytest.mark.parametrize(
    ("language", "sentences"), [(language, case) for language, cases in GOLDEN.items() for case in cases]
)
def test_push_in_thirteen_languages(language: str, sentences: list[str]) -> None:
    """Each golden text, a character at a time, comes apart where a reader would pause for good."""
    joint = "" if language in ("ja", "zh") else " "
    assert split(joint.join(sentences), EVERY_SENTENCE) == sentences


@settings(max_examples=100, deadline=None)
@given(st.lists(TEXTS, max_size=4), POLICIES)
def test_push_in_any_slices(slices: list[str], policy: SentencePolicy) -> None:
    """However the text is sliced, the same sentences come."""
    whole, _ = run(["".join(slices)], policy)
    sliced, _ = run(slices, policy)
    single, _ = run(list("".join(slices)), policy)
    assert whole == sliced == single


@settings(max_examples=100, deadline=None)
@given(st.lists(TEXTS, max_size=4), POLICIES)
def test_nothing_is_lost(slices: list[str], policy: SentencePolicy) -> None:
    """Sources in order, then what is pending, are the input; so are the offsets; also over flushes."""
    stream = SentenceStream(policy)
    done: list[Sentence] = []
    for piece in slices:
        done += stream.push(piece)
        assert "".join(slices).startswith("".join(s.source for s in done) + stream.pending)
        done += stream.flush()
        assert not has_speech(stream.pending)
    text = "".join(slices)
    assert "".join(s.source for s in done) + stream.pending == text
    assert [s.index for s in done] == list(range(len(done)))
    assert all(text[s.start : s.start + len(s.source)] == s.source for s in done)


@settings(max_examples=100, deadline=None)
@given(TEXTS, POLICIES)
def test_sentences_can_be_spoken(text: str, policy: SentencePolicy) -> None:
    """Every text has something to say, is not too long and has one space between words."""
    for sentence in run([text], policy)[0]:
        assert has_speech(sentence.text)
        assert sentence.text == normalize_whitespace(sentence.text)
        assert spoken_weight(sentence.text) <= policy.max_characters
        assert len(sentence.text) <= policy.max_text_tokens


@pytest.mark.parametrize(
    ("pushed", "left"),
    [
        ("Good evening, my friends.", 0),
        ("Good evening, my friends. ", 0),
        ("Good evening, my friends. H", 1),
        ("It costs more than 3.", 0),
        ("It costs more than 3.5", 0),
        ("I went to see Dr. S", 0),
        ("我们今天一起去公园。", 1),
        ("他说：“我们走。", 0),
        ("आज हम सब बाज़ार जाएँगे।", 1),
        ("Are you really sure?\n\n", 1),
        ("It is very far away... T", 0),
        ("It is very far away... Then ", 1),
        ("The man said “Go away.” h", 0),
        ("The man said “Go away.” H", 1),
    ],
)
def test_push_as_soon_as_certain(pushed: str, left: int) -> None:
    """A sentence leaves with the first character that makes its end certain, and not before."""
    stream = SentenceStream(PATIENT)
    assert len([s for character in pushed for s in stream.push(character)]) == left


def test_short_sentences_wait_for_company() -> None:
    """A word or two join what follows; a flush lets them go alone."""
    assert split("Of course I know that one. Yes. No. Maybe it is so. Bye.") == [
        "Of course I know that one.", "Yes. No. Maybe it is so.", "Bye.",
    ]  # fmt: skip


def test_eager_first_sentence_leaves_at_a_clause() -> None:
    """Only the first one of a turn, only from `eager_characters` on."""
    text = "Well, as far as I can remember it, we met in Rome, in a long and rainy summer, did we not. "
    assert split(text + text, SentencePolicy())[0] == "Well, as far as I can remember it,"
    assert len(split(text + text, SentencePolicy())) == 3
    assert len(split(text + text)) == 2


def test_eager_first_word_waits_for_a_clause_at_most() -> None:
    """ "Yes." is too little for Bark; it goes with the next clause and not with the next paragraph."""
    stream = SentenceStream()
    assert stream.push("Yes. I have looked at your plan,") == []
    assert [s.text for s in stream.push(" and")] == ["Yes. I have looked at your plan,"]


def test_eager_whole_first_sentence_does_not_wait() -> None:
    """A short greeting leaves at once."""
    assert [s.text for s in SentenceStream().push("Of course. H")] == ["Of course."]


def test_eager_again_after_flush() -> None:
    """A flush ends a turn: the next first sentence is eager again, indices and offsets go on."""
    stream = SentenceStream()
    first = stream.push("Of course. Let me see") + stream.flush()
    second = stream.push(" Of course. L")
    assert [s.index for s in first + second] == [0, 1, 2]
    assert second[0].source == " Of course. "
    assert second[0].start == len("Of course. Let me see")


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("That is really so funny. [laughs]", ["That is really so funny. [laughs]"]),
        ("That is really so funny. [laughs] Now go on.", ["That is really so funny.", "[laughs] Now go on."]),
        ("[gasps] Ladies and gentlemen. [sighs] [laughs]", ["[gasps] Ladies and gentlemen. [sighs] [laughs]"]),
        ("[laughs]", ["[laughs]"]),
        ("[laughs] [sighs]\n\nLet us begin here and now.", ["[laughs] [sighs]\n\nLet us begin here and now."]),
        ("An open [bracket is no reason to stop. It goes on and on. Does it not? It does.",
         ["An open [bracket is no reason to stop. It goes on and on. Does it not? It does."]),
    ],
)  # fmt: skip
def test_tags_never_stand_alone(text: str, sentences: list[str]) -> None:
    """A sound in brackets goes with a neighbour unless it is all there is."""
    assert split(text) == sentences


def test_tag_is_not_cut() -> None:
    """However long the sentence is, a tag stays whole."""
    for offset in range(12):
        for source in split("a" * offset + " word [clears throat]" * 40):
            assert source.count("[") == source.count("]") > 0


def test_song_is_not_cut_if_it_fits() -> None:
    """A pair of ♪ holds several sentences and lines together."""
    song = "♪ In the quiet of the night. The stars are bright,\nand so are you. ♪"
    assert split(f"Listen to this one now. {song} Did you like it? I did so.") == [
        "Listen to this one now.", song, "Did you like it? I did so.",
    ]  # fmt: skip


def test_song_that_does_not_fit_after_speech() -> None:
    """The cut comes before the ♪, not inside, if that lets the song fit."""
    song = "♪ " + "la la la, " * 15 + "♪"
    assert song in split("and then all of them began to sing their old song, " + song)


def test_unbalanced_marks_do_not_block() -> None:
    """A bracket, quotation or song that nobody closes holds the stream up for a sentence or two."""
    for mark in ("(", "[", '"', "“", "„", "«", "「", "♪ ", "{"):
        assert len(split(f"{mark}{'This is one of many sentences. ' * 40}")) > 5


def test_speakers_do_not_share_a_sentence() -> None:
    """A speaker's name stays with the line and keeps the other's words apart, however short they are."""
    assert split("MAN: Yes.\nWOMAN: No.\nNARRATOR: They were never seen again.") == [
        "MAN: Yes.", "WOMAN: No.", "NARRATOR: They were never seen again.",
    ]  # fmt: skip


def test_marks_reach_the_model_as_written() -> None:
    """CAPITALS, dashes, ellipses, tags and notes are left alone; white space is not."""
    stream = SentenceStream(PATIENT)
    stream.push("WAIT — I mean…  [sighs]\tit is\u00a0♪ LOUD ♪")
    assert [s.text for s in stream.flush()] == ["WAIT — I mean… [sighs] it is ♪ LOUD ♪"]


def test_long_sentence_is_cut_at_clauses() -> None:
    """The head ends at the best mark that leaves enough to say."""
    clause = "and this is yet another clause of it, "
    heads = split(clause * 12 + "which ends here.")
    assert all(head.endswith((",", "here.")) and len(head) <= 200 for head in heads)
    assert min(map(len, heads[:-1])) > 80
    assert split("one two; " + "word " * 14 + "end; " + "word, " * 40)[0].endswith("end;")


def test_long_sentence_without_marks_is_cut_at_a_space() -> None:
    """No word is broken where there are spaces."""
    assert {word for source in split("word " * 300) for word in source.split()} == {"word"}


def test_long_word_is_cut_between_characters() -> None:
    """A word without end is cut, but no letter is parted from its accent."""
    sources = split("e\u0301" * 400)
    assert "".join(sources) == "e\u0301" * 400
    assert all(source.startswith("e") for source in sources)


def test_cjk_sentences_are_shorter() -> None:
    """A Chinese character takes as long as three letters."""
    sources = split("我们都知道，" * 60)
    assert max(map(len, sources)) <= 80
    assert all(source.endswith("，") for source in sources)


def test_tokens_are_counted() -> None:
    """No sentence has more text tokens than the model takes."""
    policy = SentencePolicy(max_text_tokens=40, eager=False)
    stream = SentenceStream(policy, num_tokens=lambda text: 2 * len(text))
    sentences = stream.push("Every word, of this sentence, has a lot of tokens, more than one would think. So. " * 3)
    sentences += stream.flush()
    assert all(len(sentence.text) <= 20 for sentence in sentences)
    assert "".join(s.source for s in sentences) + stream.pending == (
        "Every word, of this sentence, has a lot of tokens, more than one would think. So. " * 3
    )


@pytest.mark.parametrize("text", ["", " \n", "…", "?!", "🙂 🙂", "♪", "--- * ---"])
def test_flush_of_nothing_speakable(text: str) -> None:
    """Nothing is spoken, nothing is lost; what comes later takes it along."""
    stream = SentenceStream()
    assert stream.push(text) + stream.flush() == []
    assert stream.pending == text
    (sentence,) = stream.push("Hello") + stream.flush()
    assert sentence.source == text + "Hello"
    assert stream.pending == ""


def test_lines_are_wrapped_or_items() -> None:
    """A line that an editor wrapped goes on; list items, headings and paragraphs end."""
    wrapped = "This line was wrapped by the editor of\nsome program, and long ones before a name like\nAnna too."
    assert split(wrapped, EVERY_SENTENCE) == [wrapped]
    assert split("Shopping list\n- apples\n- pears\n\nThat is all", EVERY_SENTENCE) == [
        "Shopping list", "- apples", "- pears", "That is all",
    ]  # fmt: skip


def test_writer_without_capitals() -> None:
    """Whoever begins every sentence small is understood as well."""
    assert split("hi there. how are you? fine, e.g. not ill.", EVERY_SENTENCE) == [
        "hi there.", "how are you?", "fine, e.g. not ill.",
    ]  # fmt: skip


def test_memory_is_that_of_the_pending_sentence() -> None:
    """Between sentences little is kept, whatever came before."""
    stream = SentenceStream()
    for _ in range(2000):
        stream.push("Some more of the same. ")
        assert len(stream.pending) < 300


@pytest.mark.parametrize("field", ["max_characters", "max_text_tokens", "min_characters", "eager_characters"])
def test_policy_with_a_length_of_nothing(field: str) -> None:
    """Lengths are at least one character."""
    with pytest.raises(ConfigError, match=field):
        SentencePolicy(**{field: 0})  # type: ignore[arg-type]


def test_policy_that_contradicts_itself() -> None:
    """A sentence cannot have to be longer than it may be."""
    with pytest.raises(ConfigError, match="min_characters"):
        SentencePolicy(max_characters=10)
