"""Regular expression → the ASCII characters that a match may begin with

The lexer's table says them, so that at a character only what may begin there is tried, or compiled at all.
"""

from __future__ import annotations

import re
import sys

from pbt.typing import Any

if sys.version_info >= (3, 11):
    from re import _parser as _sre  # type: ignore[attr-defined]
else:
    import sre_parse as _sre

_CATEGORIES = {"CATEGORY_DIGIT": r"\d", "CATEGORY_SPACE": r"\s", "CATEGORY_WORD": r"\w"}
_WIDTHLESS = ("AT", "ASSERT", "ASSERT_NOT")


def first_characters(pattern: str) -> str:
    """In ascending order."""
    nodes = _sre.parse(pattern)
    return "".join(c for c in map(chr, range(128)) if _sequence(nodes, c)[0])


def _sequence(nodes: Any, character: str) -> tuple[bool, bool]:
    """(whether it may begin with the character, whether it may be empty)"""
    for code, value in nodes:
        if str(code) in _WIDTHLESS:
            continue
        yes, empty = _node(str(code), value, character)
        if yes or not empty:
            return yes, False
    return False, True


def _node(name: str, value: Any, character: str) -> tuple[bool, bool]:
    if name in ("MAX_REPEAT", "MIN_REPEAT"):
        yes, empty = _sequence(value[2], character)
        return yes, empty or value[0] == 0
    if name == "SUBPATTERN":
        return _sequence(value[-1], character)
    if name == "BRANCH":
        found = [_sequence(branch, character) for branch in value[1]]
        return any(yes for yes, _ in found), any(empty for _, empty in found)
    if name == "IN":
        return _within(value, character), False
    if name == "ANY":
        return character != "\n", False
    return (name == "LITERAL") == (ord(character) == value), False


def _within(items: Any, character: str) -> bool:
    negated = str(items[0][0]) == "NEGATE"
    return negated != any(_member(str(code), value, character) for code, value in items)


def _member(name: str, value: Any, character: str) -> bool:
    if name == "RANGE":
        return bool(value[0] <= ord(character) <= value[1])
    if name == "CATEGORY":
        return re.match(_CATEGORIES[str(value)], character) is not None
    return name == "LITERAL" and ord(character) == value
