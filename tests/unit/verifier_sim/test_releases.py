"""Programs that kernels judge differently: who accepts them, as observed on these very kernels."""

from __future__ import annotations

import pytest

from pbt.isa.asm import assemble
from pbt.runtime.funcinfo import describe
from pbt.verifier_sim import verify
from pbt.verifier_sim.functions import declared
from tests.unit.verifier_sim import programs
from tests.unit.verifier_sim.test_attach import _judge

KERNELS = ("5.10", "6.1", "6.12", "6.18.15", "6.18.44", "7.3")
_LOOK = "*(u32 *)(r10 -4) = 0; r2 = r10; r2 += -4; r1 = MAP; call map_lookup_elem; r8 = r0"
_AT = {kernel: 16 for kernel in KERNELS} | {"6.18.15": 48, "6.18.44": 56, "7.3": 48}  # bpf_map.security
_INDEX = f"{_LOOK}; if r8 == 0 goto out; r7 = *(u32 *)(r8 +0); r7 &= 7"
_READ_IT = "r0 = *(u8 *)(r8 +0); out: r0 = 0; exit"
_HALF = "call ktime_get_ns; r0 &= 65535; r1 = r0; *(u32 *)(r10 -8) = r0"
_BIT = "call get_prandom_u32; r0 &= 1; r2 = r0"
_RECORD = (
    "r1 = RING; r2 = 16; r3 = 0; call ringbuf_reserve; if r0 == 0 goto out; r6 = r0; *(u64 *)(r6 +0) = 0"
)
_SUBMIT = "r1 = r6; r2 = 0; call ringbuf_submit; out: r0 = 0; exit"
_READ = "next: r1 = r10; r1 += -40; r3 = 0; call probe_read_kernel_str; r0 = 0; exit"

ROWS = (
    ("part of map_extra", "r1 = MAP; r0 = *(u32 *)(r1 +41); r0 = 0; exit", "6.1 6.12"),
    ("part of a pointer", "r1 = MAP; r0 = *(u32 *)(r1 +48); r0 = 0; exit", "5.10 6.1 6.12"),
    ("id of a map", "r1 = MAP; r0 = *(u32 *)(r1 +84); r0 = 0; exit", "5.10 6.1 6.18.15 6.18.44 7.3"),
    ("an untrusted pointer may be null", f"r1 = MAP; r6 = *(u64 *)(r1 +SECURITY); {_LOOK};"
     " if r8 != r6 goto out; r0 = *(u64 *)(r8 +0); out: r0 = 0; exit", "6.18.15 6.18.44"),
    ("untrusted memory against 0", "r1 = MAP; r6 = *(u64 *)(r1 +SECURITY); if r6 != 0 goto out; r0 = r9;"
     " out: r0 = 0; exit", ""),
    ("a number less than itself", f"{_BIT}; if w0 < w0 goto next; {_READ}", "6.1 7.3"),
    ("a wide number less than itself", f"{_BIT}; if r0 < r0 goto next; {_READ}", "6.1 6.18.44 7.3"),
    ("a zero that a helper read", f"{_LOOK}; r3 = *(u32 *)(r10 -4); if r3 == 0 goto out; r0 = r9; out: r0 = 0; exit",
     "6.18.15 6.18.44 7.3"),
    ("a zero beside what a helper read", "*(u32 *)(r10 -8) = 0; r2 = r10; r2 += -4; r1 = MAP; call map_lookup_elem; r3 = *(u32 *)(r10 -8);"
     " if r3 == 0 goto out; r0 = r9; out: r0 = 0; exit", "5.10 6.1 6.12 6.18.15 6.18.44 7.3"),
    ("copies by way of half a slot", f"{_HALF}; r1 = *(u32 *)(r10 -8); if r0 < 1 goto out; if r1 >= 1 goto out;"
     " r0 = r9; out: r0 = 0; exit", "5.10 6.1 6.12 6.18.15 6.18.44 7.3"),
    ("a copy in half a slot", f"{_HALF}; if r0 < 1 goto out; r1 = *(u32 *)(r10 -8); if r1 >= 1 goto out;"
     " r0 = r9; out: r0 = 0; exit", "6.12 6.18.15 6.18.44 7.3"),
    ("a dynptr over half of one", "r6 = ARRAY; r1 = r6; r2 = 8; r3 = 0; r4 = r10; r4 += -16; call dynptr_from_mem;"
     " r1 = r6; r2 = 8; r3 = 0; r4 = r10; r4 += -24; call dynptr_from_mem; r1 = r10; r1 += -16; r2 = 0; r3 = 8;"
     " call dynptr_data; r0 = 0; exit", "6.1"),
    ("an address whose register gets the old value", "*(u64 *)(r10 -8) = 8; r0 = r10;"
     " r0 = atomic_fetch_add((u64 *)(r0 -8), r0); r0 = 0; exit", ""),
    ("an even number less than itself", "call get_prandom_u32; r0 &= 2; if w0 < w0 goto next; next: r0 = 0; exit",
     "5.10 6.1 6.12 6.18.15 6.18.44 7.3"),
    ("a signed number less than itself", f"{_BIT}; if w0 s< w0 goto next; {_READ}", "6.1 6.18.44 7.3"),
    ("a wide signed number less than itself", f"{_BIT}; if r0 s< r0 goto next; {_READ}",
     "6.1 6.12 6.18.15 6.18.44 7.3"),
    ("half of a number at the upper end", "call ktime_get_ns; if r0 < -16 goto out; if w0 < -255 goto next; out: r0 = 0; exit;"
     " next: r0 = r9; exit", "6.1 6.12 6.18.15 6.18.44 7.3"),
    ("a range behind a test of bits", "call ktime_get_ns; if r0 s< -9 goto out; if r0 s> 9 goto out; if r0 & 1 goto out;"
     " if r0 s> 9 goto next; out: r0 = 0; exit; next: r0 = r9; exit", ""),
    ("all numbers but one, moved", "call ktime_get_ns; if r0 == 5 goto out; r0 -= 5; if r0 == 0 goto next; out: r0 = 0; exit;"
     " next: r0 = r9; exit", "7.3"),
    ("all halves but one, moved", "call ktime_get_ns; if w0 == 5 goto out; w0 -= 5; if w0 == 0 goto next; out: r0 = 0; exit;"
     " next: r0 = r9; exit", "7.3"),
    ("a range over both ends and back", "call ktime_get_ns; if r0 < 10 goto out; r0 += 5; r0 -= 15; if r0 > -11 goto next;"
     " out: r0 = 0; exit; next: r0 = r9; exit", "7.3"),
    ("a known bit that is tested by a number", "call ktime_get_ns; r2 = 4; if r2 & r0 goto out; if r0 & 4 goto next;"
     " out: r0 = 0; exit; next: r0 = r9; exit", "6.12 6.18.15 6.18.44 7.3"),
    ("no bit that is tested by a number", "call ktime_get_ns; r2 = 0; if w2 & w0 goto next; r0 = 0; exit; next: r0 = r9; exit",
     "6.12 6.18.15 6.18.44 7.3"),
    ("a range in two pieces", "call ktime_get_ns; if r0 s< -5 goto out; if r0 s> 5 goto out; if r0 > -3 goto out;"
     " if r0 == -1 goto next; out: r0 = 0; exit; next: r0 = r9; exit", "6.12 6.18.15 6.18.44"),
    ("a remainder that is the number", "call ktime_get_ns; r0 &= -2; if r0 > 8 goto out; r0 %= 10; if r0 & 1 goto next;"
     " out: r0 = 0; exit; next: r0 = r9; exit", "7.3"),
    ("a byte order that is the machine's", "call ktime_get_ns; if r0 > 8 goto out; if r0 < 5 goto out; r0 = le64 r0;"
     " if r0 < 5 goto next; out: r0 = 0; exit; next: r0 = r9; exit", "6.18.44 7.3"),
    ("a value before its start by a known amount", f"{_LOOK}; if r8 == 0 goto out; r8 -= 8; r0 = *(u8 *)(r8 +8);"
     " out: r0 = 0; exit", "5.10 6.1 6.12 6.18.15 6.18.44"),
    ("a value before its start by an unknown amount", f"{_INDEX}; r8 += r7; r8 -= 1; r0 = *(u8 *)(r8 +1);"
     " out: r0 = 0; exit", "5.10 6.1 6.12 6.18.15 6.18.44"),
    ("a value back from its middle", f"{_INDEX}; r8 += 8; r8 -= r7; {_READ_IT}", "7.3"),
    ("a value by a number that may be negative", f"{_INDEX}; r7 -= 3; r8 += r7; r8 += 3; {_READ_IT}", "7.3"),
    ("equal to the stack is not null", f"{_LOOK}; if r8 != r10 goto out; {_READ_IT}", "6.12 6.18.15 6.18.44"),
    ("equal to a value is not null", f"{_LOOK}; r7 = ARRAY; if r8 != r7 goto out; {_READ_IT}", "6.12 6.18.15 6.18.44 7.3"),
    ("a register of 0 against null", f"{_LOOK}; r7 = 0; if r8 == r7 goto out; {_READ_IT}", "7.3"),
    ("null against a register of 0", f"{_LOOK}; r7 = 0; if r7 == r8 goto out; {_READ_IT}", ""),
    ("0 against a value", f"{_LOOK}; if r8 == 0 goto out; r7 = 0; if r7 == r8 goto next; out: r0 = 0; exit; next: r0 = r9; exit",
     "6.12 6.18.15 6.18.44 7.3"),
    ("half of a value against half of a number", f"{_LOOK}; if r8 == 0 goto out; r7 = 1; r7 <<= 32; if w8 == w7 goto next;"
     " out: r0 = 0; exit; next: r0 = r9; exit", "5.10 6.1 6.12 6.18.15 6.18.44"),
    ("a task against null", "call get_current_task_btf; if r0 == 0 goto next; r0 = 0; exit; next: r0 = r9; exit",
     "6.12 6.18.15 6.18.44 7.3"),
    ("a task as key", "call get_current_task_btf; r2 = r0; r1 = MAP; call map_lookup_elem; r0 = 0; exit", ""),
    ("a helper that fills a dynptr", "r1 = ARRAY; r2 = 8; r3 = 0; r4 = r10; r4 += -16; call dynptr_from_mem; r1 = r10; r1 += -24;"
     " r2 = 16; r3 = 0; call probe_read_kernel; r0 = 0; exit", "6.1"),
    ("a helper that fills the stack beside a dynptr", "r1 = ARRAY; r2 = 8; r3 = 0; r4 = r10; r4 += -24; call dynptr_from_mem; r1 = r10;"
     " r1 += -8; r2 = 8; r3 = 0; call probe_read_kernel; r1 = r10; r1 += -40; r2 = 16; r3 = 0; call probe_read_kernel; r0 = 0; exit",
     "6.1 6.12 6.18.15 6.18.44 7.3"),
    ("a record as key", f"{_RECORD}; r1 = MAP; r2 = r6; call map_lookup_elem; {_SUBMIT}", "6.12 6.18.15 6.18.44 7.3"),
    ("a record against null", f"{_RECORD}; if r6 == 0 goto next; {_SUBMIT}; next: r0 = r9; exit", "6.12 6.18.15 6.18.44 7.3"),
    ("a register of 0 or 1 against null", f"call get_prandom_u32; r7 = 1; if r0 == 0 goto next; r7 = 0; next: {_LOOK};"
     f" if r8 == r7 goto out; {_READ_IT}", ""),
)  # fmt: skip


PACKET_ROWS = (
    ("a packet pointer moved before the start", "r2 = *(u32 *)(r1 +76); r3 = *(u32 *)(r1 +80); r2 -= 1; r4 = r2; r4 += 2;"
     " if r4 > r3 goto out; r0 = *(u8 *)(r2 +1); out: r0 = 0; exit", "5.10 6.1 6.12 6.18.15 6.18.44"),
    ("a packet back from its middle", "r2 = *(u32 *)(r1 +76); r3 = *(u32 *)(r1 +80); r5 = *(u32 *)(r1 +8); r5 &= 7; r2 += 8; r2 -= r5;"
     " r4 = r2; r4 += 8; if r4 > r3 goto out; r0 = *(u8 *)(r2 +7); out: r0 = 0; exit", "7.3"),
    ("a packet by parts of its length", "r2 = *(u32 *)(r1 +76); r3 = *(u32 *)(r1 +80); r5 = *(u32 *)(r1 +8); r5 &= 56; if r5 > 50 goto out;"
     " r2 += r5; r4 = r2; r4 += 8; if r2 > r3 goto out; r0 = *(u8 *)(r4 -8); out: r0 = 0; exit", ""),
    ("half of a packet pointer behind the end", "r2 = *(u32 *)(r1 +76); r3 = *(u32 *)(r1 +80); if r2 <= r3 goto out; if w2 > w3 goto out;"
     " r0 = r9; out: r0 = 0; exit", ""),
    ("a packet pointer behind the end, moved", "r2 = *(u32 *)(r1 +76); r3 = *(u32 *)(r1 +80); if r2 <= r3 goto out; r2 += 8;"
     " if r2 > r3 goto out; r0 = r9; out: r0 = 0; exit", "5.10 6.1 6.12 6.18.15 6.18.44"),
    ("a constant into the context", "*(u32 *)(r1 +8) = 0; r0 = 0; exit", "6.12 6.18.15 6.18.44 7.3"),
    ("a lookup by no bytes", "r2 = r10; r2 += -8; *(u64 *)(r10 -8) = 0; r3 = 0; r4 = 0; r5 = 0; call sk_lookup_tcp;"
     " if r0 == 0 goto out; r1 = r0; call sk_release; out: r0 = 0; exit", "6.12 6.18.15 6.18.44 7.3"),
)  # fmt: skip


@pytest.mark.parametrize(("name", "text", "accepting"), PACKET_ROWS, ids=[row[0] for row in PACKET_ROWS])
def test_who_accepts_classifiers(name: str, text: str, accepting: str) -> None:
    insns, _ = programs.build(text)
    assert [k for k in KERNELS if verify(insns, prog_type="SCHED_CLS", kernel=k).ok] == accepting.split()


@pytest.mark.parametrize(("name", "text", "accepting"), ROWS, ids=[row[0] for row in ROWS])
def test_who_accepts(name: str, text: str, accepting: str) -> None:
    found = []
    for kernel in KERNELS:
        insns, references = programs.build(text.replace("SECURITY", str(_AT[kernel])))
        if verify(insns, prog_type="KPROBE", maps=programs.MAPS, map_of=references, kernel=kernel).ok:
            found.append(kernel)
    assert found == accepting.split()


@pytest.mark.parametrize(
    ("kernel", "refused"),
    [("6.1", True), ("6.12", False), ("6.18.15", False), ("6.18.44", True), ("7.3", True)],
)
def test_results_of_hooks_keep_what_the_register_held(kernel: str, refused: bool) -> None:
    text = "r6 = 0; r6 = *(u64 *)(r1 +32); if r6 == 0 goto out; r6 /= 0; out: r0 = 0; exit"
    assert bool(_judge(text, "LSM_MAC", "hook", kernel=kernel)) == refused


@pytest.mark.parametrize(
    ("kernel", "refused"), [("6.12", False), ("6.18.15", False), ("6.18.44", False), ("7.3", True)]
)
def test_a_function_that_writes_behind_a_tail_call(kernel: str, refused: bool) -> None:
    """On one way the caller's slot keeps -1024, which leads out of the stack."""
    text = (
        "r6 = r1; *(u64 *)(r10 -8) = -8; call get_prandom_u32; if r0 != 42 goto a; goto b;"
        "a: *(u64 *)(r10 -8) = -1024; b: r1 = r6; r2 = r10; r2 += -8; call f; r1 = *(u64 *)(r10 -8); r2 = r10;"
        "r2 += r1; r0 = *(u64 *)(r2 +0); exit;"
        "f: r6 = r2; r2 = map_fd[3][0]; r3 = 0; call tail_call; *(u64 *)(r6 +0) = -16; r0 = 0; exit"
    )
    insns, references = programs.build(text)
    starts = (0, next(at + 1 + insn.imm for at, insn in enumerate(insns) if insn[:3] == (0x85, 0, 1)))
    types, (rows,) = describe([("main", [(f"f{at}", at) for at in starts])])
    ids = [int.from_bytes(rows[at + 4 : at + 8], "little") for at in range(0, len(rows), 8)]
    verdict = verify(
        insns,
        prog_type="SOCKET_FILTER",
        maps=(*programs.MAPS, programs.MapInfo("programs", "PROG_ARRAY", 4, 4, 1)),
        map_of=references,
        declared=declared({"raw": types.hex()}, list(zip(starts, ids, strict=True))),
        kernel=kernel,
    )
    assert verdict.ok != refused, verdict.error


def test_jumps_to_addresses_from_tables_are_not_judged_where_they_exist() -> None:
    insns = assemble("r1 = 0\n.insn 0x0d 1 0 0 0\nr0 = 0\nexit", {})
    assert "table" in verify(insns, prog_type="XDP", kernel="7.3").unsupported
    error = verify(insns, prog_type="XDP", kernel="6.18").error
    assert error is not None
    assert error.reason == "BPF_JA uses reserved fields"
