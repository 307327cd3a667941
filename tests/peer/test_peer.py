"""pbt and bpftrace run the same scripts and say the same, but for what differences.txt accepts.

The peer is the installed bpftrace; a second one, newer or older, is the command in PBT_PEER.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import count

import pytest

from tests.peer.cases import Case, Difference, applied, cases, differences
from tests.peer.document import PATH, document
from tests.peer.rules import comparable, modern
from tests.peer.tools import Nurseries, Result, Tool, given, hunks, installed, run_peer

PEERS = {"installed": installed, "given": given}
CASES = {case.name: case for case in cases()}
DIFFERENCES = differences()
AT_ONCE = 5  # starting a tool is waiting for the kernel, mostly


class Runs:
    """All runs that the chosen tests need, under way from the start."""

    def __init__(self, pool: ThreadPoolExecutor, pbt: Nurseries, wanted: list[tuple[str, str]]) -> None:
        self.peers: dict[str, Tool | None] = {peer: PEERS[peer]() for peer in {peer for peer, _ in wanted}}
        self._futures: dict[tuple[str, str], Future[Result]] = {}
        numbers = count(1)
        for peer, name in wanted:
            if tool := self.peers[peer]:
                self._futures[peer, name] = pool.submit(run_peer, tool, CASES[name], next(numbers))
                if ("pbt", name) not in self._futures:
                    self._futures["pbt", name] = pool.submit(pbt.run, CASES[name], next(numbers))

    def __call__(self, tool: str, name: str) -> Result:
        return self._futures[tool, name].result()


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest) -> Iterator[Runs]:
    wanted = [
        (item.callspec.params["peer"], item.callspec.params["name"])
        for item in request.session.items
        if item.path == request.path and hasattr(item, "callspec")
    ]
    with closing(Nurseries(AT_ONCE)) as pbt, ThreadPoolExecutor(AT_ONCE) as pool:
        yield Runs(pool, pbt, wanted)
        pool.shutdown(cancel_futures=True)


@pytest.mark.live
@pytest.mark.skipif(
    "PBT_PEER" not in os.environ, reason="three minutes of bpftrace: set PBT_PEER (may be empty)"
)
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("peer", PEERS)
def test_same(runs: Runs, peer: str, name: str) -> None:
    tool, case = runs.peers[peer], CASES[name]
    if not tool:
        pytest.skip("no bpftrace installed" if peer == "installed" else "PBT_PEER names no command")
    theirs, ours = runs(peer, name), runs("pbt", name)
    accepted = [d for d in DIFFERENCES if name in d.hunks and d.about(tool.version)]
    expected, found = (
        comparable(lines, tool.version, case.json)
        for lines in (modern(theirs.lines, tool.version, case.json), ours.lines)
    )
    failed = f"(status {case.status})"
    if (ours.lines[-1:] == [failed]) != bool(case.status):
        pytest.fail(f"exit status is not {case.status}\n{case.text}\n{ours.errors}", pytrace=False)
    if wrong := verdict(case, accepted, expected, found):
        pytest.fail(f"{wrong}\n{case.text}\n--- peer\n{theirs.errors}--- pbt\n{ours.errors}", pytrace=False)


def verdict(case: Case, accepted: list[Difference], theirs: list[str], ours: list[str]) -> str:
    """What is wrong with two outputs; "" if they differ as accepted, and no less."""
    for difference in accepted:
        try:
            theirs = applied(difference.hunks[case.name], theirs)
        except ValueError as gone:
            shown = hunks(theirs, ours)
            return f"{difference.name} is no difference any more in {case.name}: {gone}\n{shown}"
    return f"@ {case.name}\n{hunks(theirs, ours)}" if theirs != ours else ""


def test_enough_scripts() -> None:
    assert len(CASES) == len(cases()) >= 150


def test_differences_are_about_scripts() -> None:
    assert {name for difference in DIFFERENCES for name in difference.hunks} <= CASES.keys()
    assert all(difference.why and difference.hunks for difference in DIFFERENCES)


def test_document(bless: bool) -> None:
    """docs/differences.md shows differences.txt as it is now (rewrite it with --bless)."""
    if bless:
        PATH.write_text(document())
    assert PATH.read_text() == document()
