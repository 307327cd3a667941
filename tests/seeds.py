"""Scripts to begin with: those of the tests and of `tools/`, for tests that format or change them."""

from __future__ import annotations

import re
from pathlib import Path

from tests.live.test_language import ROWS, TOP

HERE = Path(__file__).resolve().parent


def documents() -> list[Path]:
    """Script files of the repository."""
    found = [path for path in HERE.rglob("*.bt") if path.parent.name != "scripts"]
    return sorted([*found, *(HERE.parent / "tools").glob("*.bt")])


def rows() -> list[str]:
    """A script for each row of the language's tables."""
    return [_defined(row.body) + "BEGIN { " + row.body + " }" for row in ROWS]


def _defined(body: str) -> str:
    """The definitions that a row uses."""
    used = set(re.findall(r"[A-Za-z_]\w+", body)) - {"struct", "enum", "int", "char", "int64", "return", "if"}
    return "".join(line + "\n" for line in TOP.splitlines() if used & set(re.findall(r"[A-Za-z_]\w+", line)))
