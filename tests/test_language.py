"""docs/language.md is true: every row has a status, and every test that it names is there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
STATUS = ("yes", "part", "no", "other")

REASON = re.compile(r": \w|\bas\b|\bbecause\b")
"""What a note has that says why: a reason behind a colon, or a likeness."""


class Row(NamedTuple):
    line: int
    item: str
    priority: str
    status: str
    tests: tuple[str, ...]
    note: str


def rows() -> list[Row]:
    found = []
    for number, line in enumerate((ROOT / "docs/language.md").read_text().splitlines(), 1):
        if not line.startswith("| ") or line.startswith("| Item "):
            continue
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip()[1:-1])]
        assert len(cells) == 5, f"docs/language.md:{number}: {len(cells)} cells instead of 5"
        item, priority, status, tests, note = cells
        found.append(Row(number, item, priority, status, tuple(re.findall(r"`([^`]+)`", tests)), note))
    return found


ROWS = rows()


def missing(reference: str) -> str:
    """What is wrong with the name of a test; "" if it is there."""
    name, mark, inner = reference.partition("::") if "::" in reference else reference.partition("#")
    path = ROOT / "tests" / name
    if not path.exists():
        return f"no file tests/{name}"
    if not mark:
        return ""
    text = path.read_text()
    there = f"def {inner}(" in text if mark == "::" else re.search(rf"(^|\W){re.escape(inner)}(\W|$)", text)
    return "" if there else f"no {inner} in tests/{name}"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"line {row.line}")
def test_a_row_is_complete(row: Row) -> None:
    where = f"docs/language.md:{row.line}: {row.item}"
    assert row.status in STATUS, f"{where}: status {row.status}"
    assert row.priority in ("P0", "P1", "P2"), f"{where}: priority {row.priority}"
    assert not [problem for test in row.tests if (problem := missing(test))], where
    if row.status == "yes":
        assert row.tests, f"{where}: no test"
    if row.status in ("part", "no", "other"):
        assert row.note, f"{where}: no note"
    if row.status in ("part", "no") and row.priority != "P2":
        assert row.tests, f"{where}: no test of what there is"
        assert REASON.search(row.note), f"{where}: the note does not say why"
