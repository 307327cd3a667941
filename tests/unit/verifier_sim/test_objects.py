"""Objects that programs make, lists and trees of them, their locks: verdicts and the kernel's words."""

from __future__ import annotations

import pytest

from tests.unit.verifier_sim.objects import MAPS, Case, cases
from tests.unit.verifier_sim.test_kfuncs import TYPES


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.text[:60])
def test_verdict(case: Case) -> None:
    verdict = case.judge(types=TYPES, kernel="6.18")
    assert not verdict.unsupported
    assert (verdict.error.reason if verdict.error else "") == case.reason
    assert verdict.error is None or verdict.error.id


def test_fields_are_found_in_the_types() -> None:
    graph = {field.kind: field for field in MAPS[0].fields}
    assert set(graph) == {"spin_lock", "list_head", "rb_root"}
    assert (graph["rb_root"].struct, graph["rb_root"].node, graph["list_head"].node) == ("elem", 32, 8)


def test_old_kernels_know_no_such_functions() -> None:
    case = next(case for case in cases() if "bpf_list_front" in case.kfuncs.values())
    verdict = case.judge(types=TYPES, kernel="6.12")
    assert verdict.error is not None
    assert "is not in this kernel" in verdict.error.reason
