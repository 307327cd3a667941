"""Terminals matched by hand match what their regular expressions do."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbt.lang.saved import parser
from pbt.lang.scan import SCANS, UNSURE

PIECES = st.sampled_from(
    [*" \t\n\r\v\f\x1f\u2003,;{}()[]:=/\\\"'$@#*?!~<>+-%&|^.0189", "a", "Zz", "_", "é", "²", "٣", "x1", "//", "/*",
     "*/", "if", "const", "volatile ", "__restrict", "BEGIN", "kprobe:", "name=", " [x]", "<<=", "++", "->", "0x", "\\n"]
)  # fmt: skip


@pytest.mark.parametrize("pattern", SCANS)
@given(st.lists(PIECES, min_size=1, max_size=12).map("".join), st.data())
def test_same_as_the_expression(pattern: str, text: str, data: st.DataObject) -> None:
    terminal = next(t for t in parser().terminals if t.pattern == pattern and not t.literal)
    places = [at for at, c in enumerate(text) if c in terminal.first]
    if not places:
        text, places = data.draw(st.sampled_from(terminal.first)) + text, [0]
    for at in places:
        found = re.compile(pattern).match(text, at)
        assert SCANS[pattern](text, at) in (UNSURE, found.end() if found else -1), (text, at)


def test_every_hand_has_its_terminal() -> None:
    assert set(SCANS) <= {t.pattern for t in parser().terminals if not t.literal}
