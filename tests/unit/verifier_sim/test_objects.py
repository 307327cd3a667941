"""Objects that programs make, lists and trees of them, their locks: verdicts and the kernel's words."""

from __future__ import annotations

import pytest

from pbt.verifier_sim.kerneltypes import KernelTypes
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


def test_since_linux_7_what_is_ignored_may_be_left_out() -> None:
    """bpf_obj_new does what bpf_obj_new_impl did, and so on."""
    types, asked = KernelTypes(TYPES.source, False), 0
    for case in cases():
        shorter = {at: name.removesuffix("_impl") for at, name in case.kfuncs.items()}
        if shorter != case.kfuncs:
            before = case.judge(types=types, kernel="7.3")
            after = case._replace(kfuncs=shorter).judge(types=types, kernel="7.3")
            if before.error is not None and "is not a scalar" in before.error.reason:
                continue  # what is ignored was not set
            if before.error is not None and "is not in this kernel" in before.error.reason:
                continue  # that of before is gone
            assert (after.kind, after.unsupported) == (before.kind, ""), case.text
            assert not case._replace(kfuncs=shorter).judge(types=types, kernel="6.18").ok
            asked += 1
    assert asked > 50
