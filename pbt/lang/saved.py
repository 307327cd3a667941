"""The parser of scripts, from its saved table: compressed text, so that starting does not compute it.

`table` makes it: scripts are parsed without lark. A cache as lark has one is not used: it
unpickles a file with a guessable name in the temporary directory, which runs the code of whoever put it there.
"""

from __future__ import annotations

import os
import zlib
from functools import cache

from pbt.lang.lalr import Parser, Rule, Terminal
from pbt.typing import Any

TABLE = os.path.join(os.path.dirname(__file__), "table.bin")


@cache
def parser() -> Parser:
    """The parser of scripts, from the saved table."""
    _, *lists, start, final = zlib.decompress(read(TABLE)).decode().split("\0")
    terminals, rules = ([row.split("\2") for row in part.split("\1")] for part in lists[:2])
    sets, rows, gotos = (part.split("\n") for part in lists[2:])
    return Parser(
        [_terminal_of(*t) for t in terminals],
        [_rule_of(*r) for r in rules],
        sets,
        rows,
        gotos,
        int(start),
        int(final),
    )


def _terminal_of(name: str, pattern: str, literal: str, ignored: str, first: str, *words: str) -> Terminal:
    known = dict(zip(words[::2], map(int, words[1::2]), strict=True))
    return Terminal(name, pattern, literal == "1", ignored == "1", known, first)


def _rule_of(data: str, origin: str, size: str, single: str, keep: str) -> Rule:
    kept = None if keep == "-" else [int(n) for n in keep.split()]
    return Rule(data, int(origin), int(size), kept, single == "1")


def read(path: str) -> bytes:
    """The contents of a file of this package, which may lie in an archive."""
    loader: Any = __spec__.loader if __spec__ is not None else None
    if hasattr(loader, "get_data"):
        return bytes(loader.get_data(path))
    with open(path, "rb") as file:
        return file.read()
