"""What a match begins with, compared with what matches begin with."""

from __future__ import annotations

import re

import pytest

from pbt.lang.first import first_characters
from pbt.lang.saved import parser


@pytest.mark.parametrize(
    ("pattern", "first"),
    [("ab", "a"), ("a?b", "ab"), ("a*?", "a"), ("(x|y?z)w", "xyz"), ("(?=k)[a-c]", "abc"), (r"\d+", "0123456789"),
     ("(?:a|)b", "ab"), ("(?!q)[^\x00-y{-\x7f]", "z")],
)  # fmt: skip
def test_characters(pattern: str, first: str) -> None:
    assert first_characters(pattern) == first


def test_no_terminal_matches_at_another_character() -> None:
    tails = ["", "a", "1", "a;", "a)b", "struct x)", '"', "*/", "=", "/ {", " {", "*)", "\n"]
    for terminal in parser().terminals:
        if not terminal.literal:
            match = re.compile(terminal.pattern).match
            for character in map(chr, range(128)):
                if character not in terminal.first:
                    assert not any(match(character + tail) for tail in tails), (terminal.name, character)
