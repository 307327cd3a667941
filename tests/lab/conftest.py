"""Each kernel of the lab is booted once for all tests; PBT_LAB_KERNELS says which (default 6.1, or all)."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

import pytest

from tests.lab import kernels, vm
from tests.lab.test_kprobe import COMMANDS, FILES

ROWS = vm.Command([sys.executable, "-m", "tests.lab.inside"], timeout=600)
LIVE = vm.Command(
    [sys.executable, "-m", "pytest", "tests/live/test_probes.py", "tests/live/test_probe_types.py"],
    timeout=600,
)


def tools(kernel: str) -> vm.Command:
    """Every script of tools.py, with the modules that some of them trace."""
    root = shlex.quote(str(kernels.fetch(kernel).root))
    words = f"modprobe -d {root} -a md_mod xfs; exec {shlex.quote(sys.executable)} -m tests.lab.tools"
    return vm.Command(["sh", "-c", words], timeout=900)


class Booted(NamedTuple):
    """What came of everything that ran in a kernel."""

    kernel: str
    results: Mapping[str, vm.Result]

    @property
    def found(self) -> dict[str, Any]:
        """What inside.py printed: the outcome of each row of rows.py, and the kernel's features."""
        return self._lines("rows")[0]

    @property
    def tools(self) -> dict[str, dict[str, Any]]:
        """What tools.py printed of each script; nothing if it was not to run."""
        return {row["name"]: row for row in self._lines("tools")} if "tools" in self.results else {}

    def _lines(self, name: str) -> list[dict[str, Any]]:
        result = self.results[name]
        assert result.code == 0, result.stdout + result.stderr
        return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture(scope="session", params=kernels.chosen())
def booted(request: pytest.FixtureRequest) -> Booted:
    """A kernel after all commands of all tests."""
    usual = {**COMMANDS, "tools": tools(request.param)}
    every = {**usual, "rows": ROWS, "live": LIVE} if kernels.thorough() else usual
    commands = every if kernels.native(request.param) else {"rows": ROWS}
    results = vm.run(request.param, list(commands.values()), files=FILES)
    return Booted(request.param, dict(zip(commands, results, strict=True)))
