"""Small programs: the verdict and the kernel's words."""

from __future__ import annotations

from typing import Any

import pytest

from pbt.isa.insn import Insn
from pbt.verifier_sim import verify
from tests.unit.verifier_sim import programs


@pytest.mark.parametrize("case", programs.CASES, ids=lambda case: case.name)
def test_verdict(case: programs.Case) -> None:
    insns, references = programs.build(case.text)
    verdict = verify(insns, prog_type=case.prog_type, maps=programs.MAPS, map_of=references)
    reason = case.reason
    assert not verdict.unsupported
    assert (verdict.error.reason if verdict.error else "").startswith(reason)
    assert verdict.ok == (not reason)


def _refused(text: str, **options: Any) -> str:
    insns, references = programs.build(text)
    verdict = verify(insns, prog_type="KPROBE", maps=programs.MAPS, map_of=references, **options)
    return verdict.error.reason if verdict.error else verdict.unsupported


def test_kernels_differ_by_features() -> None:
    text = "r0 = *(u64 *)(r10 -8); exit"
    assert _refused(text, kernel="5.10").startswith("invalid read from stack")
    assert _refused(text, kernel="6.1") == ""
    assert _refused("r0 = 1; r0 s/= 2; exit", kernel="6.1") == "BPF_ALU uses reserved fields"
    assert _refused("r0 = 1; r0 s/= 2; exit", kernel="6.12") == ""
    assert _refused("call ktime_get_tai_ns; exit", kernel="5.10") == "invalid func unknown#208"


def test_constant_key_in_range_is_never_null_from_615() -> None:
    text = (
        "*(u32 *)(r10 -4) = 0; r2 = r10; r2 += -4; r1 = map_fd[2][0]; call map_lookup_elem;"
        "r0 = *(u64 *)(r0 +0); exit"
    )
    assert _refused(text, kernel="6.12") == "R0 invalid mem access 'map_value_or_null'"
    assert _refused(text, kernel="6.18") == ""


def test_callback() -> None:
    body = "r1 = 4; r2 = func[0][0]; r3 = 0; r4 = 0; call loop; r0 = 0; exit; f: r0 = {}; exit"
    insns, _ = programs.build(body.format(0))
    at = next(i for i, insn in enumerate(insns) if insn.is_wide)
    insns[at] = insns[at]._replace(imm=len(insns) - 2 - at - 1)
    assert verify(insns, prog_type="KPROBE").kind == "accept"
    insns[-2] = Insn(0xB7, 0, 0, 0, 2)
    refused = verify(insns, prog_type="KPROBE").error
    assert refused is not None and refused.reason.startswith("At callback return the register R0")


@pytest.mark.parametrize(("rounds", "kind"), [(9, "accept"), (20, "reject")])
def test_callback_changes_what_follows(rounds: int, kind: str) -> None:
    """The caller's stack slot counts the rounds: up to 15 it is an index of 16 bytes."""
    text = (
        f"*(u64 *)(r10 -8) = 0; r1 = {rounds}; r2 = func[0][0]; r3 = r10; r3 += -8; r4 = 0; call loop;"
        "r1 = *(u64 *)(r10 -8); r2 = map_value[2][0]; r2 += r1; r0 = *(u8 *)(r2 +0); r0 = 0; exit;"
        "f: r3 = *(u64 *)(r2 +0); r3 += 1; *(u64 *)(r2 +0) = r3; r0 = 0; exit"
    )
    insns, references = programs.build(text)
    at = next(i for i, insn in enumerate(insns) if insn.is_wide)
    insns[at] = insns[at]._replace(imm=len(insns) - 5 - at - 1)
    verdict = verify(insns, prog_type="KPROBE", maps=programs.MAPS, map_of=references)
    assert verdict.kind == kind
    assert verdict.insns_processed < 2000


def test_return_range_of_a_cgroup_program() -> None:
    insns, _ = programs.build("r0 = 2; exit")
    assert verify(insns, prog_type="XDP").ok
    error = verify(insns, prog_type="CGROUP_SOCK").error
    assert error is not None and "should have been in [0, 1]" in error.reason


def test_gpl_helper_needs_gpl() -> None:
    assert _refused("call get_current_task; r0 = 0; exit", gpl=False).startswith("cannot call GPL")


def test_unprivileged_pointer_leak() -> None:
    insns, _ = programs.build("r0 = r10; exit")
    error = verify(insns, prog_type="SOCKET_FILTER", privileged=False).error
    assert error is not None and error.reason == "R0 leaks addr as return value"


def test_unrolled_code_is_pruned() -> None:
    """Each of many branches joins again: the walk must stay linear."""
    text = (
        "call ktime_get_ns; r6 = r0;" + "r1 = 1; if r6 == 3 goto +1; r1 = 2; r7 = r1; r7 += 1; r7 = 0;" * 200
    )
    insns, _ = programs.build(text + "r0 = 0; exit")
    assert verify(insns, prog_type="KPROBE").insns_processed < 4000


def test_states_are_kept_for_teaching() -> None:
    insns, _ = programs.build("r2 = 5; *(u64 *)(r10 -8) = r2; *(u32 *)(r10 -16) = r1; r0 = 0; exit")
    verdict = verify(insns[:2] + insns[3:], prog_type="KPROBE", keep_states=True)
    assert verdict.before(0) == "R1=ctx() R10=fp0"
    assert verdict.before(2) == "R1=ctx() R2=5 R10=fp0 fp-8=5"
    assert verdict.covers(2, [0, 0, 5] + [0] * 8) and not verdict.covers(2, [0, 0, 6] + [0] * 8)


def test_a_spilled_zero_is_lost_when_part_of_it_is_overwritten() -> None:
    for write in ("*(u8 *)(r10 -6) = 1", "*(u32 *)(r10 -8) = 1", "r2 = 1; *(u16 *)(r10 -6) = r2"):
        text = f"r1 = 0; *(u64 *)(r10 -8) = r1; {write}; r0 = *(u8 *)(r10 -1); if r0 == 0 goto a; "
        text += "r0 = *(u64 *)(r0 +0); a: r0 = 0; exit"
        assert _refused(text) == "R0 invalid mem access 'scalar'"
