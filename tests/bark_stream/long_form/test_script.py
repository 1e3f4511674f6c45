"""Text files as turns."""

from __future__ import annotations

from bark_stream.long_form.script import Turn, dialogue, paragraphs


def test_paragraphs_end_at_blank_lines_and_begin_at_indents() -> None:
    """Broken lines belong together; the count of characters reaches the end of the file."""
    lines = ["One line\n", "and more.\n", "\n", "\n", "Two.\n", "  Three,\n", "indented.\n"]
    turns = list(paragraphs(lines))
    assert [turn.text for turn in turns] == ["One line\nand more.\n", "Two.\n", "  Three,\nindented.\n"]
    assert {turn.speaker for turn in turns} == {None}
    assert turns[-1].num_characters == sum(map(len, lines))
    assert list(paragraphs([" \n", "\n"])) == []


def test_dialogue_knows_names_and_what_only_looks_like_one() -> None:
    """A name, a colon, a space; times and addresses are none; who has the word keeps it until a blank line."""
    lines = ["ANNA: Hello.\n", "It is me.\n", "\n", "They look.\n", "Old Bob: At 14:30?\n", "http://a.b is it.\n"]
    spoken = [(turn.speaker, turn.text.strip()) for turn in dialogue(lines)]
    assert spoken == [
        ("ANNA", "Hello."),
        ("ANNA", "It is me."),
        (None, "They look."),
        ("Old Bob", "At 14:30?"),
        ("Old Bob", "http://a.b is it."),
    ]


def test_script_is_read_as_it_is_needed() -> None:
    """A file without end is no problem."""

    def endless() -> object:
        while True:
            yield "A: More.\n"

    assert next(iter(dialogue(endless()))) == Turn("A", "More.", 9)  # type: ignore[arg-type]
