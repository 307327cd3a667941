"""The verifiers of the lab's kernels say of programs what the simulator says of them with that kernel's rules."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pytest

from pbt.host.target import Target
from pbt.verifier_sim.kernels import features
from tests.lab import judging, kernels, vm

pytestmark = pytest.mark.lab
COUNT = 300  # programs of each kind
SHARES = 5  # each kernel takes another fifth of the scripts, so that all are taken by some kernel


class Judged(NamedTuple):
    """What a kernel said: of the calibration programs and of those of root; of those of nobody; of scripts."""

    kernel: str
    release: str
    root: Mapping[str, Mapping[str, Any]]
    nobody: Mapping[str, Mapping[str, Any]]
    scripts: Sequence[Mapping[str, Any]]


@pytest.fixture(scope="module")
def asked() -> list[judging.Asked]:
    return [*judging.random_ones(COUNT), *judging.changed_scripts(COUNT, Target.live())]


@pytest.fixture(scope="module")
def asked_by_nobody() -> list[judging.Asked]:
    return list(judging.random_ones(COUNT, privileged=False))


@pytest.fixture(scope="module", params=[name for name in kernels.chosen() if kernels.native(name)])
def judged(
    request: pytest.FixtureRequest, asked: list[judging.Asked], asked_by_nobody: list[judging.Asked]
) -> Judged:
    files = {
        "root.jsonl": judging.text([*judging.calibration(), *(row.line for row in asked)]),
        "nobody.jsonl": judging.text([row.line for row in asked_by_nobody]),
    }
    share = [str(list(kernels.KERNELS).index(request.param) % SHARES), str(SHARES)]
    asking = vm.Command([sys.executable, "-m", "tests.lab.scripts", *share], timeout=400)
    commands = [judging.command("root.jsonl"), judging.command("nobody.jsonl", "--unprivileged")]
    said = vm.run(request.param, [*commands, asking], files=files)
    assert all(result.code == 0 for result in said), said[-1].stdout[-2000:] + said[-1].stderr[-2000:]
    rows = [json.loads(line) for result in said[2:] for line in result.stdout.splitlines()]
    root, nobody = map(judging.answers, said[:2])
    return Judged(request.param, kernels.fetch(request.param).release, root, nobody, rows)


def test_rules_are_those_of_the_release(judged: Judged) -> None:
    known = features(judged.release)
    found = judging.rules(judged.root)
    assert len(found) > 30
    assert {rule for rule, has in found.items() if has != (rule in known)} == set()


def test_programs_of_root(judged: Judged, asked: list[judging.Asked]) -> None:
    _same(judged.release, judged.root, asked)


def test_programs_of_nobody(judged: Judged, asked_by_nobody: list[judging.Asked]) -> None:
    _same(judged.release, judged.nobody, asked_by_nobody)


def test_programs_of_scripts(judged: Judged) -> None:
    """Whatever compiles is judged as the kernel judges it; what it refuses first is told by its name."""
    differ, asked = {}, 0
    for row in judged.scripts:
        asked += len(row["programs"]) if row["refused"] or not row["why"] else 0
        taken = set(row["programs"]) - {row["refused"]}
        if row["refused"] in row["accepted"] or (not row["why"] and taken != set(row["accepted"])):
            differ[row["name"]] = (row["refused"], row["why"], sorted(taken - set(row["accepted"])))
    assert not differ
    assert asked > 20


def _same(release: str, said: Mapping[str, Mapping[str, Any]], asked: Sequence[judging.Asked]) -> None:
    """Never accepted where the kernel refuses, and hardly ever the other way."""
    accepts, rejects = judging.compare(asked, said, release)
    assert not accepts
    assert len(rejects) <= len(asked) // 200, rejects
    assert len(asked) // 20 < sum(bool(said[row.name]["ok"]) for row in asked) < len(asked)
