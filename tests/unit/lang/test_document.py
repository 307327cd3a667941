"""Documents: lines break where they must, and only there."""

from pbt.lang.document import FRESH, LINE, Align, Fill, Flush, Fresh, Group, Nest, Text, cat, joined, render

WORDS = [Text(word) for word in ("one", "two", "three", "four")]


def test_a_group_stays_on_one_line_where_there_is_room():
    doc = Group(joined(WORDS, LINE))
    assert render(doc, 18) == "one two three four\n"
    assert render(doc, 17) == "one\ntwo\nthree\nfour\n"


def test_what_follows_a_group_counts():
    assert render(cat(Group(joined(WORDS, LINE)), ";"), 18) == "one\ntwo\nthree\nfour;\n"
    assert render(cat(Group(joined(WORDS, LINE)), FRESH, "more"), 18) == "one two three four\nmore\n"


def test_fill_breaks_only_where_it_must():
    assert render(cat("f(", Align(Fill(tuple(WORDS))), ")"), 12) == "f(one two\n  three\n  four)\n"


def test_indentation():
    inside = Nest(2, cat(LINE, "a", LINE, "b", Nest(2, cat(LINE, "c"))))
    assert render(cat("{", inside, LINE, "}"), 80) == "{\n  a\n  b\n    c\n}\n"


def test_a_line_that_ends_breaks_its_group():
    assert render(Group(cat("a // note", FRESH, LINE, "b")), 80) == "a // note\nb\n"


def test_fresh_lines_do_not_add_up():
    assert (
        render(cat(Fresh(True), "a", FRESH, FRESH, "b", Fresh(True), FRESH, "c", FRESH), 80) == "a\nb\n\nc\n"
    )


def test_lines_at_the_margin():
    assert render(cat("a", Nest(4, cat(Flush("#if"), "b"))), 80) == "a\n#if\n    b\n"


def test_no_blanks_at_the_end_of_a_line():
    assert render(cat("a", " ", FRESH, " ", "b"), 80) == "a\nb\n"
