"""The saved parse table belongs to the grammar as it is, and the grammar leaves nothing open."""

from __future__ import annotations

import json
import logging
import zlib
from pathlib import Path

import lark
import pytest

from pbt.lang.table import GRAMMAR, TABLE, build, fingerprint, parser

PACKAGE = Path(__file__).resolve().parents[3] / "pbt"


def test_the_table_was_made_from_this_grammar() -> None:
    """If this fails: python -m pbt.lang.table."""
    made_from = json.loads(zlib.decompress(TABLE.read_bytes()))[0]
    grammar, _, version = made_from.partition(" ")
    assert grammar == fingerprint(GRAMMAR.read_bytes()).partition(" ")[0]
    if version != lark.__version__:
        pytest.skip(f"made for lark {version}")


def test_the_saved_parser_parses_as_the_computed_one() -> None:
    text = 'config = { a = 1 } kprobe:f,BEGIN /pid/ { @a[1, "x"] = count(); if (1) { exit(); } }'
    assert parser().parse(text) == build().parse(text)


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
        lark.Lark(GRAMMAR.read_text(), parser="lalr", lexer="contextual", debug=True)
        assert not [r for r in caplog.records if "onflict" in r.getMessage()]
        lark.Lark('start: a | a "x"\na: "y" | "y" a a', parser="lalr", debug=True)
        assert [r for r in caplog.records if "onflict" in r.getMessage()]  # so it would have told
    finally:
        lark.logger.setLevel(before)
        lark.logger.removeHandler(caplog.handler)
