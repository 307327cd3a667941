"""Every kernel of the lab that PBT_LAB_KERNELS names (default 6.1, or all) is booted once, and runs what commands.py has
for the tests that were chosen.

Guests are booted from the start, by a process of their own (guests.py), beside the tests that ask nothing of this
machine's kernel. These come first, then those of the lab: the first one waits until all guests are done. The live tests
come last, and nothing else runs beside them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from subprocess import PIPE
from typing import Any, NamedTuple

import pytest

from tests.lab import kernels, vm

REQUIRED = os.environ.get("PBT_REQUIRE_LIVE") == "1"


class Booted(NamedTuple):
    """What came of everything that ran in a kernel; or why it cannot be booted."""

    kernel: str
    why: str
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


class Guests:
    """guests.py under way, for the files of tests in `tests`."""

    def __init__(self, tests: set[str]) -> None:
        command = [sys.executable, "-m", "tests.lab.guests", ",".join(kernels.chosen()), ",".join(tests)]
        self._process = subprocess.Popen(
            command, stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True, cwd=kernels.PROJECT
        )
        self.booted: dict[str, Booted] = {}

    def wait(self) -> dict[str, Booted]:
        """All kernels, once they are done; from now on, guests may have all processors."""
        if not self.booted:
            out, err = self._process.communicate("\n")
            assert self._process.returncode == 0, err
            for name, row in json.loads(out).items():
                why, found = row.get("why", ""), row.get("results", {})
                assert why or "results" in row, err
                results = {key: vm.Result(**result) for key, result in found.items()}
                self.booted[name] = Booted(name, why, results)
        return self.booted

    def close(self) -> None:
        """End it, and with it its guests, if nobody has waited for it."""
        if self._process.returncode is None:
            self._process.kill()
            self._process.communicate()


GUESTS = pytest.StashKey[Guests]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=turn)


def turn(item: pytest.Item) -> int:
    """When a test has its turn: beside guests, with the lab's, or after."""
    return 2 if item.get_closest_marker("live") else 1 if item.get_closest_marker("lab") else 0


@pytest.hookimpl(hookwrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Iterator[None]:
    """Boot while tests run."""
    tests = {item.path.stem for item in session.items if "booted" in getattr(item, "fixturenames", ())}
    if not tests or session.config.option.collectonly:
        yield
        return
    guests = session.config.stash[GUESTS] = Guests(tests)
    try:
        yield
    finally:
        guests.close()


@pytest.fixture(scope="session", params=kernels.chosen())
def booted(request: pytest.FixtureRequest) -> Booted:
    """A kernel after all commands of all tests."""
    found = request.config.stash[GUESTS].wait()[request.param]
    if found.why:
        (pytest.fail if REQUIRED else pytest.skip)(found.why)
    return found


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How long each kernel took."""
    guests = terminalreporter.config.stash.get(GUESTS, None)
    for name, booted in guests.booted.items() if guests else ():
        results = booted.results
        lost = "".join(f"; {key} had no end" for key, result in results.items() if result.code is None)
        slowest = sorted(results, key=lambda key: -results[key].seconds)[:4]
        told = ", ".join(f"{key} {results[key].seconds:.0f} s" for key in slowest)
        seconds = sum(result.seconds for result in results.values())
        terminalreporter.write_line(
            f"lab {name}: {len(results)} commands in {seconds:.0f} s ({told}, …){lost}"
        )
