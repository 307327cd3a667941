"""The verifiers of the lab's kernels say of programs what the simulator says of them with that kernel's rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pytest

from pbt.verifier_sim.kernels import features
from tests.lab import judging, kernels

pytestmark = pytest.mark.lab


class Judged(NamedTuple):
    """What a kernel said: of the calibration programs and of those of root; of those of nobody; of scripts."""

    release: str
    root: Mapping[str, Mapping[str, Any]]
    nobody: Mapping[str, Mapping[str, Any]]
    scripts: Sequence[Mapping[str, Any]]


@pytest.fixture
def judged(booted) -> Judged:
    if not kernels.native(booted.kernel):
        pytest.skip("kernels of other machines run the rows alone: these are slower by far")
    root, nobody = ({row["id"]: row for row in booted.lines(name)} for name in ("root", "nobody"))
    return Judged(kernels.fetch(booted.kernel).release, root, nobody, booted.lines("scripts"))


def test_rules_are_those_of_the_release(judged: Judged) -> None:
    known = features(judged.release)
    found = judging.rules(judged.root)
    assert len(found) > 30
    assert {rule for rule, has in found.items() if has != (rule in known)} == set()


def test_programs_of_root(judged: Judged) -> None:
    _same(judged.release, judged.root, judging.asked_by_root())


def test_programs_of_nobody(judged: Judged) -> None:
    _same(judged.release, judged.nobody, judging.asked_by_nobody())


def test_programs_of_scripts(judged: Judged) -> None:
    """Whatever compiles is judged as the kernel judges it; what it refuses first is told by its name."""
    differ, asked = {}, 0
    for row in judged.scripts:
        assert "Traceback" not in row["why"], row
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
