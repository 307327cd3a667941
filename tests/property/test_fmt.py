"""The formatter changes nothing but blanks: the tree, the comments, and a second formatting say so."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pbt.lang import ast
from pbt.lang.concrete import concrete
from pbt.lang.fmt import format_script
from pbt.lang.parse import parse
from pbt.lang.preprocess import PREDEFINED
from pbt.source import PbtError, Source
from tests.property.test_meaning import scripts as meaningful
from tests.seeds import documents, rows

TOOLS = sorted([*Path("/usr/sbin").glob("*.bt"), *documents()])


def tree(text: str) -> Any:
    """The syntax tree without places."""
    return _plain(parse(Source("script", text), PREDEFINED, whole=False).script)


def _plain(node: Any) -> Any:
    if isinstance(node, ast.Node):
        return (
            type(node).__name__,
            *(_plain(node.__dict__[f]) for f in node.fields if f not in ("span", "name_span")),
        )
    if isinstance(node, tuple):
        return tuple(map(_plain, node))
    return re.sub(r"^\$'\d+", "$'", node) if isinstance(node, str) else node  # made by ?:, named by its place


def comments(text: str) -> list[str]:
    """Comments and directives in their order, without the blanks that begin and end their lines."""
    notes = [
        note for leaf in concrete(Source("script", text)).leaves() for note in (*leaf.before, *leaf.after)
    ]
    return [re.sub(r"\s*\n\s*", "\n", note.text) for note in notes]


def obeys(text: str) -> str:
    """Format a script and check all laws."""
    once = format_script(Source("script", text))
    assert tree(once) == tree(text), once
    assert comments(once) == comments(text), once
    assert format_script(Source("script", once)) == once
    bare = re.sub(r"/\*(.|\n)*?\*/|//.*|\"(\\.|[^\"\\])*\"", "x", once)
    assert not re.search(r"[ \t]+$", bare, re.M), once
    return once


@pytest.mark.parametrize("path", TOOLS, ids=lambda path: path.name)
def test_scripts(path: Path) -> None:
    obeys(path.read_text())


def test_rows() -> None:
    each_row(obeys)


def each_row(check: Callable[[str], object]) -> None:
    """Check the scripts of the language's tables, without those that are none."""
    for text in filter(_parsed, rows()):
        check(text)


# --- scripts whose blanks and comments are anywhere -------------------------------------------

_BREAKS = st.sampled_from(
    [" ", "  ", "\n", "\n\n\n", "\t", " // note\n", "\n// own\n", "\n\n// apart\n\n", " /* in */ ", "\n/* a\n   b */\n",
     "\n# hash\n", "\n#define NOTHING 1\n", "\n#ifdef NOWHERE\n left out {\n#endif\n"]
)  # fmt: skip
_CORPUS = [path.read_text() for path in TOOLS] + rows()


def _parsed(text: str) -> bool:
    try:
        tree(text)
    except PbtError:
        return False
    return True


@given(st.sampled_from([text for text in _CORPUS if _parsed(text)]) | meaningful, st.data())
@settings(max_examples=150, deadline=None)
def test_blanks_and_comments_anywhere(text: str, data: st.DataObject) -> None:
    leaves = [leaf for leaf in concrete(Source("script", text)).leaves() if leaf.text]
    chosen = data.draw(st.lists(st.sampled_from(leaves), max_size=6, unique_by=lambda leaf: leaf.start))
    for leaf in sorted(chosen, key=lambda leaf: -leaf.start):
        text = text[: leaf.start] + data.draw(_BREAKS) + text[leaf.start :]
    if _parsed(text):
        obeys(text)
