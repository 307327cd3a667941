"""What fails in a kernel of the lab fails alone. No QEMU: the rows run here, and pbt is made to fail."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest

from pbt.host.target import Target
from tests.lab import inside, scripts, tools
from tests.lab.rows import ROWS

pytestmark = pytest.mark.live

BROKEN = "unlike any error that pbt knows"


def broken(*_: object) -> None:
    raise ZeroDivisionError(BROKEN)


@pytest.mark.parametrize(
    ("module", "text"),
    [
        (inside, lambda target: inside.run(ROWS[0], target)["text"]),
        (tools, lambda target: tools.run(__file__, target)["why"]),
        (scripts, lambda target: scripts.outcome("name", "BEGIN { }", target, {})["why"]),
    ],
    ids=["inside", "tools", "scripts"],
)
def test_a_row_that_breaks_says_where(
    module: ModuleType, text: Callable[[Target], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "compile", broken)
    said = text(Target.live())
    assert said.startswith("Traceback") and said.endswith(f"ZeroDivisionError: {BROKEN}\n")
