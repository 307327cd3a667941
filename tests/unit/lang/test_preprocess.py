"""Directives: what they leave of the text, what they define, and that offsets stay."""

from __future__ import annotations

import pytest

from pbt.lang.preprocess import Preprocessed, preprocess
from pbt.source import ScriptError, ScriptErrors, Source
from tests.unit.lang.shown import parsed


def done(text: str, **predefined: str) -> Preprocessed:
    made = preprocess(Source("test", text), predefined)
    assert len(made.text) == len(text), "offsets must stay"
    assert [c for c in made.text if c == "\n"] == [c for c in text if c == "\n"]
    return made


def kept(text: str, **predefined: str) -> list[str]:
    """The words that are left."""
    return done(text, **predefined).text.split()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("#ifdef A\na\n#endif\nz", "z"),
        ("#ifndef A\na\n#endif\nz", "a z"),
        ("#ifdef A\na\n#else\nb\n#endif", "b"),
        ("#define A\n#ifdef A\na\n#else\nb\n#endif", "a"),
        ("#define A\n#undef A\n#ifdef A\na\n#else\nb\n#endif", "b"),
        ("#ifdef KNOWN\na\n#else\nb\n#endif", "a"),
        ("#if 1\na\n#endif", "a"),
        ("#if 0\na\n#endif", ""),
        ("#if 0\na\n#elif 1\nb\n#elif 1\nc\n#else\nd\n#endif", "b"),
        ("#if 0\na\n#elif 0\nb\n#else\nd\n#endif", "d"),
        ("#if defined(KNOWN) && !defined(A)\na\n#endif", "a"),
        ("#if defined KNOWN || defined A\na\n#endif", "a"),
        ("#if defined(A) || KNOWN > 5\na\n#endif", "a"),
        ("#if KNOWN == 7\na\n#else\nb\n#endif", "a"),
        ("#if UNKNOWN\na\n#else\nb\n#endif", "b"),
        ("#if (1 + 1) * 2 == 4 && 0x10 != 15\na\n#endif", "a"),
        ("#if !0\na\n#endif", "a"),
        ("#if 0\n#if 1\na\n#else\nb\n#endif\nc\n#else\nd\n#endif", "d"),
        ("#if 1\n#if 0\na\n#else\nb\n#endif\nc\n#else\nd\n#endif", "b c"),
        ("#if 0\n#error never\n#endif\nz", "z"),
        ("#if 0\n#define A\n#endif\n#ifdef A\na\n#endif\nz", "z"),
        ("  #  ifdef KNOWN  // why\na\n  #endif", "a"),
        ("#pragma once\nz", "z"),
        ("#!/usr/bin/pbt\nz", "z"),
    ],
)
def test_conditionals(text: str, words: str) -> None:
    assert kept(text, KNOWN="7") == words.split()


def test_values_of_defines_are_places_in_the_source() -> None:
    made = done("#define A 1 + 2  // three\n#define EMPTY\n#define B\t(A * 2) /* six */\n#define F(x) x\n")
    assert {name: define.span.text for name, define in made.defines.items()} == {
        "A": "1 + 2", "EMPTY": "", "B": "(A * 2)"}  # fmt: skip


def test_the_last_define_wins() -> None:
    made = done("#define A 1\n#define A 2\n")
    assert made.defines["A"].span.text == "2"


def test_includes_are_noted() -> None:
    made = done('#include <linux/sched.h>\n#include "my.h"\nz')
    assert [include[:2] for include in made.includes] == [("linux/sched.h", False), ("my.h", True)]
    assert made.text.split() == ["z"]


def test_predefined_names_are_not_the_scripts_defines() -> None:
    assert done("#define A 1\n", KNOWN="7").defines.keys() == {"A"}


def test_a_hash_inside_a_block_comment_means_nothing() -> None:
    made = done("/* a\n#if 0\n*/ z")
    assert made.text == "/* a\n#if 0\n*/ z" and not made.warnings


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a\n#if 1\nb", 2, "no #endif"),
        ("#endif", 1, "#endif without #if"),
        ("\n#else", 2, "#else without #if"),
        ("#elif 1", 1, "#elif without #if"),
        ("#error too old", 1, "#error too old"),
        ("#if import\nx\n#endif", 1, ""),
        ("#if 1 +\nx\n#endif", 1, "cannot evaluate"),
        ("#if __import__('os')\nx\n#endif", 1, "cannot evaluate"),
        ("#if 9 ** 9 ** 9 ** 9\nx\n#endif", 1, "cannot evaluate"),
        ("#if 1 << 99999999999\nx\n#endif", 1, "cannot evaluate"),
        ("#if 1()\nx\n#endif", 1, "cannot evaluate"),
        ("#define\n", 1, "needs a name"),
    ],
)
def test_errors(text: str, line: int, message: str) -> None:
    if text.startswith("#if import"):
        assert kept(text) == []
        return
    with pytest.raises(ScriptError, match=message.replace("(", r"\(")) as caught:
        done(text)
    assert caught.value.span.locate()[0] == line


def test_errors_behind_directives_stand_at_their_line() -> None:
    with pytest.raises(ScriptErrors) as caught:
        parsed("#define A 1\n#ifdef A\nBEGIN { $x = ; }\n#endif\n")
    assert caught.value.errors[0].span.locate()[:2] == (3, 14)
