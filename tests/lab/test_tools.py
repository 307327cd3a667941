"""Every published script and every tool in every kernel of the lab: attached, or refused for a known reason.

What is expected stands in tools.json: kernel → script → the number of probes attached, or why there are none.
`pytest --bless` rewrites it, and docs/kernels.md.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from pbt.cli import tool
from tests.lab import table
from tests.lab.table import TOOLS
from tests.live import published

pytestmark = pytest.mark.lab

OWN = [f"pbt/{name}" for name in tool.names()]
THEIRS = [] if published.absent() else [f"debian/{name}" for name in published.NAMES]


def outcome(row: dict[str, Any]) -> int | str:
    """Probes attached; or the message without its place, what it quotes, and the hint (names that are near)."""
    if not row["why"]:
        return int(row["probes"])
    lines = str(row["why"]).splitlines()
    return " | ".join(re.sub(r"^\S+:\d+:\d+: ", "", line) for line in lines if "ERROR" in line)


def near(found: int | str, expected: int | str) -> bool:
    """The same; a wildcard may match a few functions more or less in the next build of a kernel."""
    if isinstance(found, int) and isinstance(expected, int) and expected > 20:
        return abs(found - expected) <= expected // 5
    return found == expected


def test_attached_or_refused_as_expected(booted, bless):
    if not booted.tools:
        pytest.skip("kernels of other machines run the rows alone: these are slower by far")
    known = json.loads(TOOLS.read_text())
    found = {name: outcome(row) for name, row in booted.tools.items()}
    if bless:
        TOOLS.write_text(json.dumps({**known, booted.kernel: found}, indent=1, sort_keys=True) + "\n")
        table.write()
        return
    if booted.kernel not in known:
        pytest.skip(f"nobody has looked at {booted.kernel} yet: pytest --bless")
    expected = known[booted.kernel]
    assert {*OWN, *THEIRS} == set(found)
    differ = {
        name: (found[name], expected.get(name))
        for name in found
        if not near(found[name], expected.get(name, ""))
    }
    assert not differ


def test_the_built_in_verifier_accepts_what_the_kernel_accepts(booted):
    for name, row in booted.tools.items():
        if not row["why"]:
            assert row["accepted"] == row["programs"] > 0, name
        assert "Traceback" not in row["why"]
