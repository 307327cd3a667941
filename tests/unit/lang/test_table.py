"""The saved parse table belongs to the grammar as it is, and the grammar leaves nothing open."""

from __future__ import annotations

import logging
import zlib
from pathlib import Path
from typing import Any

import lark
import pytest

from pbt.lang.lalr import Token, Unexpected
from pbt.lang.saved import TABLE, parser, read
from pbt.lang.table import build, fingerprint, grammar

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = ROOT / "pbt"


def test_the_table_was_made_from_this_grammar() -> None:
    """If this fails: python -m pbt.lang.table."""
    made_from = zlib.decompress(read(TABLE)).decode().split("\0")[0]
    assert made_from == fingerprint(grammar())


SCRIPTS = sorted((ROOT / "bench" / "scripts").glob("*.bt")) + sorted(
    (ROOT / "tests" / "golden").rglob("*.bt")
)


def same(mine: Any, larks: Any) -> bool:
    """Whether two trees agree in everything, places included."""
    if isinstance(mine, Token):
        return (str(mine), mine.type, mine.start_pos, mine.end_pos) == (
            str(larks), larks.type, larks.start_pos, larks.end_pos,
        )  # fmt: skip
    place = (-1, -1) if larks.meta.empty else (larks.meta.start_pos, larks.meta.end_pos)
    assert (mine.data, mine.start_pos, mine.end_pos) == (str(larks.data), *place)
    return all(same(a, b) for a, b in zip(mine.children, larks.children, strict=True))


@pytest.fixture(scope="module")
def larks() -> lark.Lark:
    return build()


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_trees_are_lark_s(path: Path, larks: lark.Lark) -> None:
    text = path.read_text()
    try:
        theirs = larks.parse(text)
    except lark.UnexpectedInput:
        with pytest.raises(Unexpected):
            parser().parse(text)
        return
    assert same(parser().parse(text), theirs)


@pytest.mark.parametrize("size", range(0, 120, 3))
def test_errors_are_lark_s(size: int, larks: lark.Lark) -> None:
    """Where a script that is cut off, or has a wrong character in it, goes wrong, and what could stand there."""
    whole = 'config = { a = 1 } struct s { int a[2]; } kprobe:f,BEGIN /pid/ { @a[1, "x"] = count(); if (1) { exit(); } }'
    for text in (whole[:size], whole[:size] + " ` " + whole[size:], whole[:size] + " struct " + whole[size:]):
        try:
            larks.parse(text)
        except lark.UnexpectedInput as error:
            token = getattr(error, "token", None)
            wanted = getattr(error, "accepts", None) or getattr(error, "allowed", None) or set()
            with pytest.raises(Unexpected) as caught:
                parser().parse(text)
            mine = caught.value
            assert (mine.token is None) == (token is None)
            if token is None or token.type != "$END":
                assert mine.at == error.pos_in_stream
            assert mine.expected == set(wanted)
        else:
            parser().parse(text)


def test_nothing_unpickles_anything() -> None:
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text()
        assert "import pickle" not in text, path
        assert "cache=True" not in text.replace(" ", ""), path


def test_the_grammar_has_no_conflicts(caplog: pytest.LogCaptureFixture) -> None:
    """lark settles shift/reduce conflicts silently, unless it is asked to tell."""
    lark.logger.addHandler(caplog.handler)
    before = lark.logger.level
    lark.logger.setLevel(logging.DEBUG)
    try:
        lark.Lark(grammar().decode(), parser="lalr", lexer="contextual", debug=True)
        assert not [r for r in caplog.records if "onflict" in r.getMessage()]
        lark.Lark('start: a | a "x"\na: "y" | "y" a a', parser="lalr", debug=True)
        assert [r for r in caplog.records if "onflict" in r.getMessage()]  # so it would have told
    finally:
        lark.logger.setLevel(before)
        lark.logger.removeHandler(caplog.handler)
