"""What compiling costs grows with a script, not with its square: lines of pbt that run, counted."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import pytest

from tests.unit.test_pipeline import made

FEW = 50
BAR = 2.1  # for twice as long a script


def _body(line: str, count: int) -> str:
    return "BEGIN { " + " ".join(line.replace("N", str(n)) for n in range(count)) + " }"


def _defines(count: int) -> str:
    return "\n".join(f"#define F{n} {n}" for n in range(count)) + "\n" + _body("@x = FN;", count)


SCRIPTS = {
    "keys that stay known, blocks of the same names": lambda count: _body('@s[N] = "text N";', count),
    "loops, warnings about a long line": lambda count: _body(
        "$iN = 0; while ($iN < 9) { $iN++; @x = $iN; }", count
    ),
    "values of #define": _defines,
}


def lines(script: str) -> int:
    """Lines that Python runs to compile a script."""
    count = 0

    def counted(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        count += event == "line"
        return counted

    before = sys.gettrace()
    sys.settrace(counted)
    try:
        made(script)
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("name", SCRIPTS)
def test_twice_the_script_is_twice_the_work(name: str) -> None:
    script = SCRIPTS[name]
    lines(script(2))  # what is only done once
    few, many = lines(script(FEW)), lines(script(2 * FEW))
    assert many < BAR * few
