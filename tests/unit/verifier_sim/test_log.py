"""The walk as the kernel's log tells it, and such a log read back."""

from __future__ import annotations

import pytest

from pbt.isa.asm import assemble
from pbt.uapi.helpers import HELPERS
from pbt.verifier_sim import MapInfo, verify
from pbt.verifier_sim.kernellog import read, verdict_of

_IDS = {name: helper.id for name, helper in HELPERS.items()}
_TEXT = """
r6 = r1
call get_prandom_u32
if r0 > 7 goto +2
r0 &= 3
exit
r0 = *(u64 *)(r0 +0)
exit
"""


def _log(level: int) -> list[str]:
    verdict = verify(assemble(_TEXT, _IDS), prog_type="SOCKET_FILTER", log=level)
    assert not verdict.ok
    return verdict.log.splitlines()


def test_every_path_at_level_two() -> None:
    lines = _log(2)
    assert lines[:3] == ["func#0 @0", "Live regs before insn:", "      0: .1........ (bf) r6 = r1"]
    start = lines.index("0: R1=ctx() R10=fp0")
    assert lines[start + 1] == f"{'0: (bf) r6 = r1':<37} ; R1=ctx() R6=ctx()"
    bounds = "smin=smin32=0,smax=umax=smax32=umax32=3,var_off=(0x0; 0x3)"
    assert any(
        line.startswith("3: (57) r0 &= 3") and line.endswith(f"; R0=scalar({bounds})") for line in lines
    )
    assert "from 2 to 5: R0=scalar(umin=8) R6=ctx() R10=fp0" in lines
    assert lines[-2] == "R0 invalid mem access 'scalar'"


def test_only_the_refused_path_at_level_one() -> None:
    """With what led to its last branch, whose state is the other side's and is not told."""
    lines = _log(1)
    assert not any(line.startswith("3:") for line in lines)
    assert lines[0] == "0: R1=ctx() R10=fp0"
    assert "2: (25) if r0 > 0x7 goto pc+2" in lines
    assert "5: R0=scalar(umin=8) R6=ctx() R10=fp0" in lines


def test_nothing_of_paths_that_are_well() -> None:
    verdict = verify(assemble("r0 = 0\nexit"), prog_type="SOCKET_FILTER", log=1)
    assert [line.split()[0] for line in verdict.log.splitlines()] == ["processed"]


def test_functions_and_paths_that_need_no_walk() -> None:
    text = "r6 = r1\ncall f\nif r0 == 1 goto +1\nr0 = 1\nexit\nf:\nr0 = *(u32 *)(r1 +0)\nexit"
    lines = verify(assemble(text), prog_type="SOCKET_FILTER", log=2).log.splitlines()
    assert lines[1] == "func#1 @5"
    call = lines.index("1: (85) call pc+3")
    assert lines[call + 1 : call + 6] == [
        "caller:", " R6=ctx() R10=fp0", "callee:", " frame1: R1=ctx() R10=fp0", "5: frame1: R1=ctx() R10=fp0",
    ]  # fmt: skip
    left = lines.index("returning from callee:")
    assert lines[left + 2 : left + 6] == [
        "to caller at 2:",
        lines[left + 3],
        "",
        "from 6 to 2:" + lines[left + 3],
    ]


def test_a_log_is_read_back() -> None:
    text = "\n".join(_log(2))
    lines = list(read(text))
    assert [line.pc for line in lines if line.pc >= 0][:3] == [0, 1, 2]
    assert verdict_of(lines) == (5, "R0 invalid mem access 'scalar'")


@pytest.mark.parametrize(
    ("text", "pc", "why"),
    [
        # Linux 5.10
        ("0: (bf) r6 = r1\nlast_idx 9 first_idx 0\nregs=4 stack=0 before 8: (b7) r2 = 4\n9: (61) r0 = *(u32 *)(r0 +0)\n"
         "R0 invalid mem access 'inv'\nprocessed 9 insns (limit 1000000)\n", 9, "R0 invalid mem access 'inv'"),
        # Linux 6.18: two lines say why
        ("62: (79) r9 = *(u64 *)(r7 +0)\ninvalid access to map value, value_size=64 off=60 size=8\n"
         "R7 min value is outside of the allowed memory range\nprocessed 60 insns (limit 1000000)\n",
         62, "R7 min value is outside of the allowed memory range"),
        ("9: (7b) *(u64 *)(r10 -32) = r2\ninfinite loop detected at insn 10\ncur state: R2=3\nold state: R2=P3\n",
         10, "infinite loop detected at insn 10"),
        # Linux 7.3, accepted
        ("0: (b7) r0 = 0\n1: (95) exit\nverification time 2639 usec\nstack depth max 64\n"
         "subprog 0 (<unknown>) main insns_self 2 insns_total 2 stack 64\nprocessed 2 insns (limit 1000000)\n", 1, ""),
    ],
)  # fmt: skip
def test_logs_of_kernels(text: str, pc: int, why: str) -> None:
    assert verdict_of(list(read(text))) == (pc, why)


_INDEX = """
call get_prandom_u32
r7 = r0
r7 &= 15
*(u32 *)(r10 -4) = 1
r2 = r10
r2 += -4
r1 = map_fd[0][0]
call map_lookup_elem
if r0 == 0 goto +2
r0 += r7
r1 = *(u8 *)(r0 +0)
r0 = 0
exit
"""
_BACK = """
10: (0f) r0 += r7
mark_precise: frame0: last_idx 10 first_idx 9 subseq_idx -1
mark_precise: frame0: regs=r7 stack= before 9: (15) if r0 == 0x0 goto pc+2
mark_precise: frame0: parent state regs=r7 stack=:  R0=map_value_or_null(id=2,map=M,ks=4,vs=16) R7=Pscalar(smin=smin32=0,smax=umax=smax32=umax32=15,var_off=(0x0; 0xf)) R10=fp0 fp-8=mmmm????
mark_precise: frame0: last_idx 8 first_idx 0 subseq_idx 9
mark_precise: frame0: regs=r7 stack= before 8: (85) call bpf_map_lookup_elem#1
mark_precise: frame0: regs=r7 stack= before 6: (18) r1 = map_fd[0][0]
mark_precise: frame0: regs=r7 stack= before 5: (07) r2 += -4
mark_precise: frame0: regs=r7 stack= before 4: (bf) r2 = r10
mark_precise: frame0: regs=r7 stack= before 3: (62) *(u32 *)(r10 -4) = 1
mark_precise: frame0: regs=r7 stack= before 2: (57) r7 &= 15
mark_precise: frame0: regs=r7 stack= before 1: (bf) r7 = r0
mark_precise: frame0: regs=r0 stack= before 0: (85) call bpf_get_prandom_u32#7
11: R0=map_value(map=M,ks=4,vs=16,smin=smin32=0,smax=umax=smax32=umax32=15,var_off=(0x0; 0xf)) R7=scalar(smin=smin32=0,smax=umax=smax32=umax32=15,var_off=(0x0; 0xf))
"""


def _all(text: str, kind: str = "KPROBE") -> list[str]:
    insns = assemble(text, _IDS)
    references = {at: (0, "map_fd", 0) for at, insn in enumerate(insns) if insn.is_wide and insn.src_reg == 1}
    verdict = verify(insns, prog_type=kind, maps=(MapInfo("M", "HASH", 4, 16, 4),), map_of=references, log=2)
    return [line.rstrip() for line in verdict.log.splitlines()]


def test_where_a_number_came_from_is_told_as_the_kernel_tells_it() -> None:
    assert _BACK.strip() in "\n".join(_all(_INDEX))
    assert not any("mark_precise" in line for line in verify(b"\x95" + bytes(7), prog_type="XDP", log=1).log)


@pytest.mark.parametrize("text, told", [
    pytest.param(  # in the function, out of it with the argument, and on in the caller
        "r6 = 5; r1 = r6; call f; r0 = 0; exit; f: r2 = r10; r3 = r1; r3 -= 8; r3 &= -8; r2 += r3; r0 = 0; exit",
        ["frame1: regs=r3 stack= before 6: (bf) r3 = r1", "frame0: regs=r6 stack= before 0: (b7) r6 = 5"],
        id="argument",
    ),
    pytest.param(
        "call f; r1 = r10; r1 += -16; r1 += r0; r0 = 0; exit; f: r0 = 8; exit",
        ["frame0: regs=r0 stack= before 7: (95) exit", "frame1: regs=r0 stack= before 6: (b7) r0 = 8"],
        id="result",
    ),
    pytest.param(
        "r0 = 8; *(u64 *)(r10 -8) = r0; r2 = *(u64 *)(r10 -8); r1 = r10; r1 += -16; r1 += r2; r0 = 0; exit",
        [
            "frame0: regs=r2 stack= before 2: (79) r2 = *(u64 *)(r10 -8)",
            "frame0: regs= stack=-8 before 1: (7b) *(u64 *)(r10 -8) = r0",
            "frame0: regs=r0 stack= before 0: (b7) r0 = 8",
        ],
        id="stack",
    ),
])  # fmt: skip
def test_numbers_are_followed_through_calls_and_the_stack(text: str, told: list[str]) -> None:
    lines = _all(text.replace(";", "\n").replace(": ", ":\n"))
    found = [line.removeprefix("mark_precise: ") for line in lines if "before" in line]
    assert [line for line in found if line in told] == told, found
