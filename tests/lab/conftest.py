"""Each kernel of the lab is booted once for all tests; PBT_LAB_KERNELS says which (default 6.1, or all)."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

import pytest

from tests.lab import kernels, vm
from tests.lab.test_kprobe import COMMANDS, FILES

ROWS = vm.Command([sys.executable, "-m", "tests.lab.inside"], timeout=600)
TOOLS = vm.Command([sys.executable, "-m", "tests.lab.tools"], timeout=900)
LIVE = vm.Command(
    [sys.executable, "-m", "pytest", "tests/live/test_probes.py", "tests/live/test_probe_types.py"],
    timeout=600,
)


class Booted(NamedTuple):
    """What came of everything that ran in a kernel; `found`: the outcome of each row of rows.py; `tools`: of
    each script of tools.py."""

    kernel: str
    results: Mapping[str, vm.Result]
    found: Mapping[str, Any]
    tools: Mapping[str, Any]


@pytest.fixture(scope="session", params=kernels.chosen())
def booted(request: pytest.FixtureRequest) -> Booted:
    """A kernel after all commands of all tests."""
    usual = {**COMMANDS, "tools": TOOLS}
    every = {**usual, "rows": ROWS, "live": LIVE} if kernels.thorough() else usual
    commands = every if kernels.native(request.param) else {"rows": ROWS}
    results = dict(zip(commands, vm.run(request.param, list(commands.values()), files=FILES), strict=True))
    return Booted(request.param, results, _answer(results.get("rows")), _answer(results.get("tools")))


def _answer(result: vm.Result | None) -> Mapping[str, Any]:
    """What a command printed as JSON; {} if it was not to run."""
    assert result is None or result.code == 0, result.stdout + result.stderr
    return json.loads(result.stdout) if result else {}
