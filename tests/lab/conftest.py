"""Every kernel of the lab that PBT_LAB_KERNELS names (default 6.1, or all) is booted once, and runs what commands.py has
for the tests that were chosen.

The first test that asks waits until all guests are done: nothing else runs beside them.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

import pytest

from tests.lab import boot, kernels, vm
from tests.lab.commands import asked

LIMIT = 1500.0  # seconds for one guest's commands, twice what they take on a quiet machine
TOTAL = 2400.0  # seconds for all guests
REQUIRED = os.environ.get("PBT_REQUIRE_LIVE") == "1"
unavailable = cache(boot.unavailable)
OUTCOMES = pytest.StashKey["dict[str, Booted]"]()


class Booted(NamedTuple):
    """What came of everything that ran in a kernel."""

    kernel: str
    results: Mapping[str, vm.Result]

    @property
    def found(self) -> dict[str, Any]:
        """What inside.py printed: the outcome of each row of rows.py, and the kernel's features."""
        return self.lines("rows")[0]

    @property
    def tools(self) -> dict[str, dict[str, Any]]:
        """What tools.py printed of each script; nothing if it was not to run."""
        return {row["name"]: row for row in self.lines("tools")} if "tools" in self.results else {}

    def lines(self, name: str) -> list[dict[str, Any]]:
        """What a command printed, an object of JSON a line."""
        result = self.results[name]
        assert result.code == 0, result.stdout + result.stderr
        return [json.loads(line) for line in result.stdout.splitlines()]


def run_all(names: list[str], tests: set[str]) -> dict[str, Booted]:
    """Boot every kernel once, as many at a time as there are processors and memory for; the longest lists first."""
    waiting = sorted(((name, asked(name, tests)) for name in names), key=lambda pair: -len(pair[1]))
    found: dict[str, Booted] = {}
    end = time.monotonic() + TOTAL

    def work() -> None:
        while waiting:
            name, rows = waiting.pop(0)
            files = {path: text for row in rows for path, text in row.files.items()}
            left = max(1.0, min(LIMIT, end - time.monotonic()))
            done = vm.run(name, [row.command for row in rows], timeout=left, files=files)
            found[name] = Booted(name, dict(zip((row.name for row in rows), done, strict=True)))

    # daemons: a guest ends with the thread that started it, and these do not outlive pytest
    workers = [threading.Thread(target=work, daemon=True) for _ in range(boot.at_a_time())]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return {name: found[name] for name in names}


@pytest.fixture(scope="session")
def outcomes(request: pytest.FixtureRequest) -> dict[str, Booted]:
    """What came of everything in every kernel that can be had."""
    tests = {item.path.stem for item in request.session.items}
    found = run_all([name for name in kernels.chosen() if not unavailable(name)], tests)
    request.config.stash[OUTCOMES] = found
    return found


@pytest.fixture(scope="session", params=kernels.chosen())
def booted(request: pytest.FixtureRequest, outcomes: dict[str, Booted]) -> Booted:
    """A kernel after all commands of all tests."""
    if why := unavailable(request.param):
        (pytest.fail if REQUIRED else pytest.skip)(why)
    return outcomes[request.param]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How long each kernel took."""
    for name, booted in terminalreporter.config.stash.get(OUTCOMES, {}).items():
        results = booted.results
        lost = "".join(f"; {key} had no end" for key, result in results.items() if result.code is None)
        slowest = sorted(results, key=lambda key: -results[key].seconds)[:4]
        told = ", ".join(f"{key} {results[key].seconds:.0f} s" for key in slowest)
        seconds = sum(result.seconds for result in results.values())
        terminalreporter.write_line(
            f"lab {name}: {len(results)} commands in {seconds:.0f} s ({told}, …){lost}"
        )
