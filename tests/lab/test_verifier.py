"""The verifiers of the lab's kernels say of programs what the simulator says of them with that kernel's rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pytest

from pbt.host.target import Target
from pbt.verifier_sim.kernels import features
from tests.lab import judging, kernels, vm

pytestmark = pytest.mark.lab
COUNT = 300  # programs of each kind


class Judged(NamedTuple):
    """What a kernel said: of the calibration programs and of those of root; of those of nobody."""

    kernel: str
    release: str
    root: Mapping[str, Mapping[str, Any]]
    nobody: Mapping[str, Mapping[str, Any]]


@pytest.fixture(scope="module")
def asked() -> list[judging.Asked]:
    return [*judging.random_ones(COUNT), *judging.changed_scripts(COUNT, Target.live())]


@pytest.fixture(scope="module")
def asked_by_nobody() -> list[judging.Asked]:
    return list(judging.random_ones(COUNT, privileged=False))


MEASURED = ("6.1", "6.12", "6.18", "7")  # kernels whose rules were compared; 5.10 is not among them yet


@pytest.fixture(scope="module", params=[name for name in kernels.chosen() if name in MEASURED])
def judged(
    request: pytest.FixtureRequest, asked: list[judging.Asked], asked_by_nobody: list[judging.Asked]
) -> Judged:
    files = {
        "root.jsonl": judging.text([*judging.calibration(), *(row.line for row in asked)]),
        "nobody.jsonl": judging.text([row.line for row in asked_by_nobody]),
    }
    commands = [judging.command("root.jsonl"), judging.command("nobody.jsonl", "--unprivileged")]
    root, nobody = map(judging.answers, vm.run(request.param, commands, files=files))
    return Judged(request.param, kernels.fetch(request.param).release, root, nobody)


def test_rules_are_those_of_the_release(judged: Judged) -> None:
    known = features(judged.release)
    found = judging.rules(judged.root)
    assert len(found) > 30
    assert {rule for rule, has in found.items() if has != (rule in known)} == set()


def test_programs_of_root(judged: Judged, asked: list[judging.Asked]) -> None:
    _same(judged.release, judged.root, asked)


def test_programs_of_nobody(judged: Judged, asked_by_nobody: list[judging.Asked]) -> None:
    _same(judged.release, judged.nobody, asked_by_nobody)


def _same(release: str, said: Mapping[str, Mapping[str, Any]], asked: Sequence[judging.Asked]) -> None:
    """Never accepted where the kernel refuses, and hardly ever the other way."""
    accepts, rejects = judging.compare(asked, said, release)
    assert not accepts
    assert len(rejects) <= len(asked) // 200, rejects
    assert len(asked) // 20 < sum(bool(said[row.name]["ok"]) for row in asked) < len(asked)
