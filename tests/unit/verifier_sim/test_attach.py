"""What TRACING and LSM programs attach to, on a small BTF of its own: contexts, walks, results."""

from __future__ import annotations

from typing import Any

import pytest

from pbt.host.btf import Btf
from pbt.uapi.btf import PTR, TYPEDEF
from pbt.verifier_sim import verify
from pbt.verifier_sim.env import Refuse
from pbt.verifier_sim.kerneltypes import KernelTypes
from tests.unit.host.test_btf import Maker
from tests.unit.verifier_sim import programs
from tests.unit.verifier_sim.attached import small_types


def _judge(text: str, attach: str = "TRACE_FENTRY", target: str = "traced", **options: Any) -> str:
    insns, references = programs.build(text)
    verdict = verify(
        insns,
        prog_type="LSM" if attach.startswith("LSM") else "TRACING",
        expected_attach_type=attach,
        target=target,
        maps=programs.MAPS,
        map_of=references,
        **{"types": small_types()} | options,
    )
    return verdict.error.reason if verdict.error else verdict.unsupported


@pytest.mark.parametrize(
    ("at", "size", "found"),
    [
        (0, 4, "number"), (8, 8, "inner"), (8, 4, "cannot access ptr member next"), (2, 2, "number"),
        (2, 4, "access beyond the end of member a"), (16, 8, "inner"), (24, 1, "number"),
        (25, 1, "struct outer doesn't have field"), (32, 8, ""), (48, 8, "access beyond struct outer"),
    ],
)  # fmt: skip
def test_walks(at: int, size: int, found: str) -> None:
    types = small_types()
    try:
        member = types.walk("outer", at, size)
    except Refuse as refusal:
        assert found and refusal.reason.startswith(found)
    else:
        assert (member.struct if member.pointer else "number") == found
        assert member.loose == (at == 16)


def test_a_structure_is_also_what_it_begins_with() -> None:
    types = small_types()
    assert types.holds("outer", 0, "inner") and types.holds("outer", 0, "outer")
    assert not types.holds("outer", 8, "inner") and not types.holds("inner", 0, "outer")


def test_contexts() -> None:
    end = "; r0 = 0; exit"
    assert _judge("r2 = *(u64 *)(r1 +0); r3 = *(u64 *)(r2 +8); r3 = *(u64 *)(r3 +8)" + end) == ""
    assert _judge("r2 = *(u32 *)(r1 +0)" + end) == "invalid bpf_context access off=0 size=4"
    assert _judge("r2 = *(u32 *)(r1 +8)" + end) == ""
    assert _judge("r2 = *(u32 *)(r1 +12)" + end) == "func 'traced' offset 12 is not multiple of 8"
    assert _judge("r2 = *(u64 *)(r1 +16); r2 = *(u8 *)(r2 +0)" + end) == "R2 invalid mem access 'scalar'"
    assert _judge("r2 = *(u64 *)(r1 +32)" + end) == "func 'traced' doesn't have 5-th argument"
    assert _judge("r2 = *(u64 *)(r1 +32)" + end, "TRACE_FEXIT") == ""
    read = "r2 = *(u64 *)(r1 +24)" + end
    assert _judge(read) == ""
    assert _judge(read, kernel="5.10") == "func 'traced' arg3 type int is not a struct"
    assert _judge("r2 = *(u64 *)(r1 +0); r0 = *(u64 *)(r2 +0)" + end, "TRACE_RAW_TP", "event").startswith(
        "access bey"
    )
    assert _judge("r2 = *(u64 *)(r1 +0); *(u64 *)(r2 +8) = 0" + end) == "only read is supported"


def test_trust() -> None:
    """What is read through a trusted pointer is no argument of helpers where nothing protects it."""
    text = "r2 = *(u64 *)(r1 +0); r2 = *(u64 *)(r2 +{}); r1 = r2; call task_pt_regs; r0 = 0; exit"
    assert (
        _judge(text.format(8), "TRACE_RAW_TP", "event") == "R1 is of type inner but task_struct is expected"
    )
    loose = "R1 type=untrusted_ptr_ expected=ptr_, trusted_ptr_, rcu_ptr_"
    assert _judge(text.format(16), "TRACE_RAW_TP", "event") == loose
    assert _judge(text.format(8), "LSM_MAC", "hook", sleepable=True) == "bpf_lsm_hook is not sleepable"


def test_unstructured_memory() -> None:
    text = "r2 = *(u64 *)(r1 +0); r2 = *(u64 *)(r2 +40); r2 = *(u8 *)(r2 +99); r0 = 0; exit"
    assert _judge(text) == ""
    assert _judge(text, kernel="6.12") == "R2 invalid mem access 'scalar'"


def test_results() -> None:
    for value, attach, target, kernel, reason in (
        (1, "TRACE_FENTRY", "traced", "6.18", "At program exit"),
        (1, "TRACE_RAW_TP", "event", "6.18", ""),
        (-4095, "LSM_MAC", "hook", "6.18", ""),
        (-4096, "LSM_MAC", "hook", "6.18", "At program exit"),
        (-4096, "LSM_MAC", "hook", "6.1", ""),
        (-1, "LSM_MAC", "audit_rule_known", "6.18", "At program exit"),
        (9, "LSM_MAC", "free", "6.18", ""),
        (0, "LSM_CGROUP", "free", "6.18", "At program exit"),
        (0, "LSM_CGROUP", "hook", "5.10", "attach_type"),
        (0, "LSM_MAC", "vm_enough_memory", "6.18", "points to disabled hook"),
        (0, "LSM_MAC", "vm_enough_memory", "6.1", "points to disabled hook"),
        (0, "TRACE_FENTRY", "absent", "6.18", "the types of absent"),
    ):
        got = _judge(f"r0 = {value}; exit", attach, target, kernel=kernel)
        assert got.startswith(reason) and bool(got) == bool(reason), (value, attach, target, kernel, got)


def test_without_the_verysmall_types() -> None:
    """Types of another kernel tell the arguments, and nothing of what lies inside."""
    near = small_types(exact=False)
    text = "r2 = *(u64 *)(r1 +0); r3 = *(u32 *)(r2 +2); r0 = 0; exit"
    assert _judge(text, types=near) == ""
    deeper = "r2 = *(u64 *)(r1 +0); r3 = *(u64 *)(r2 +8); r3 = *(u64 *)(r3 +8); r0 = 0; exit"
    assert "type is in BTF" in _judge(deeper, types=near)
    assert "which no kernel at hand has" in _judge("r0 = 0; exit", target="absent", types=near)
    assert "needs the types" in _judge("r0 = 0; exit", types=None)


def test_few_functions_are_safe_for_d_path() -> None:
    text = "r2 = r10; r2 += -8; *(u64 *)(r10 -8) = 0; r3 = 8; call d_path; r0 = 0; exit"
    assert _judge("r1 = *(u64 *)(r1 +0); " + text, target="d_path") == "helper call is not allowed in probe"


def test_types_that_refer_to_themselves_are_refused() -> None:
    m = Maker()
    name = m.add(TYPEDEF, "name", 2)
    m.add(TYPEDEF, "other", name)
    pointer = m.add(PTR, "", name)
    types = KernelTypes(Btf(m.bytes()), exact=True)
    with pytest.raises(Refuse, match="refers to itself"):
        types.plain(name)
    with pytest.raises(Refuse, match="refers to itself"):
        types.pointed(pointer)


def test_hooks_are_for_programs_under_the_gpl() -> None:
    refused = _judge("r0 = 0; exit", "LSM_MAC", "hook", gpl=False)
    assert refused == "LSM programs must have a GPL compatible license"
    assert _judge("r0 = 0; exit", "LSM_MAC", "hook") == _judge("r0 = 0; exit", gpl=False) == ""
