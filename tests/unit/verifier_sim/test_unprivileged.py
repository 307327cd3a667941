"""Programs of users without privileges: what random ones found, made small, with the words of Linux 6.18."""

from __future__ import annotations

import pytest

from pbt.isa.asm import assemble
from pbt.uapi.helpers import HELPERS
from pbt.verifier_sim import MapInfo, Verdict, verify

_IDS = {name: helper.id for name, helper in HELPERS.items()}
_MAPS = (MapInfo("hash", "HASH", 4, 16, 8), MapInfo("array", "ARRAY", 4, 16, 4))
_LOOK = "*(u32 *)(r10 -4) = 0; r2 = r10; r2 += -4; r1 = map_fd[0][0]; call map_lookup_elem; if r0 == 0 goto out; r7 = r0"
_BYTES = "r1 = r6; r2 = 0; r3 = r10; r3 += -16; r4 = 16; call skb_load_bytes"
_END = "out: r0 = 0; exit"
_TWO = "r9 = *(u8 *)(r7 +1); if r9 > 3 goto l; r8 = {}; goto m; l: r8 = {}; m: r7 += r8; r1 = *(u8 *)(r7 +0)"

CASES = (
    ("a pointer stored in order", f"{_LOOK}; r1 = r10; store_release((u64 *)(r7 +0), r1); {_END}",
     "R1 leaks addr into map"),
    ("a number stored in order", f"{_LOOK}; r1 = 7; store_release((u64 *)(r7 +0), r1); {_END}", ""),
    ("the kernel's map", f"r1 = map_fd[0][0]; r2 = *(u32 *)(r1 +0); {_END}",
     "'struct bpf_htab' access is allowed only to CAP_PERFMON and CAP_SYS_ADMIN"),
    ("two distances at one place", f"{_LOOK}; {_TWO.format(2, 7)}; {_END}",
     "R7 tried to add from different maps, paths or scalars"),
    ("one distance at one place", f"{_LOOK}; {_TWO.format(5, 5)}; {_END}", ""),
    ("a distance of any sign", f"{_LOOK}; r8 = *(u64 *)(r7 +0); if r8 s> 7 goto out; if r8 s< -1 goto out; r7 += r8;"
     f" r1 = *(u8 *)(r7 +0); {_END}", "R8 has unknown scalar with mixed signed bounds"),
    ("an addition to a pointer on the stack", f"*(u64 *)(r10 -8) = r10; r1 = 1; lock *(u64 *)(r10 -8) += r1; {_END}",
     "leaking pointer from stack off -8"),
    ("bytes over a pointer", f"r6 = r1; *(u64 *)(r10 -8) = r10; {_BYTES}; {_END}",
     "attempt to corrupt spilled pointer on stack"),
    ("bytes over a number", f"r6 = r1; *(u64 *)(r10 -8) = 0; {_BYTES}; {_END}", ""),
    ("a constant key tells nothing", f"{_LOOK.replace('map_fd[0]', 'map_fd[1]').replace('; if r0 == 0 goto out', '')};"
     f" r1 = *(u8 *)(r7 +0); {_END}", "R7 invalid mem access 'map_value_or_null'"),
    ("wrong ahead of a branch alone", "r0 = 0; r1 = 5; if r1 == 5 goto out; r2 = *(u64 *)(r0 +0); out: r0 = 0; exit", ""),
    ("wrong behind what goes wrong ahead", f"{_LOOK}; r9 = 0; if r9 == 0 goto m; r8 = *(u64 *)(r9 +0); m: r7 = 0;"
     f" r1 = *(u64 *)(r7 +0); {_END}", "R7 invalid mem access 'scalar'"),
)  # fmt: skip


def judged(text: str, kernel: str, kind: str = "SOCKET_FILTER", capabilities: str = "") -> Verdict:
    insns = assemble(text.replace(";", "\n"), _IDS)
    wide = {at: insn.imm for at, insn in enumerate(insns) if insn.is_wide and insn.src_reg == 1}
    references = {at: (index, "map_fd", 0) for at, index in wide.items()}
    return verify(
        insns, prog_type=kind, maps=_MAPS, map_of=references, capabilities=frozenset(capabilities.split()), kernel=kernel
    )  # fmt: skip


@pytest.mark.parametrize(("name", "text", "reason"), CASES, ids=[case[0] for case in CASES])
def test_nobody(name: str, text: str, reason: str) -> None:
    found = judged(text, "6.18")
    assert found.ok == (not reason), found.error
    if found.error is not None:
        assert found.error.reason.startswith(reason)
        assert found.error.id


def test_older_kernels_refuse_what_goes_wrong_ahead_of_a_branch() -> None:
    text = "r0 = 0; r1 = 5; if r1 == 5 goto out; r2 = *(u64 *)(r0 +0); out: r0 = 0; exit"
    assert judged(text, "6.17").ok
    found = judged(text, "6.12").error
    assert found is not None
    assert found.reason == "R0 invalid mem access 'scalar'"


_LOOP = "r1 = 0; a: r1 += 1; if r1 < 5 goto a; r0 = 0; exit"
_UNEVEN = (
    "*(u32 *)(r10 -8) = 0; r2 = r10; r2 += -8; r1 = map_fd[0][0]; call map_lookup_elem; if r0 == 0 goto out;"
    " *(u64 *)(r10 -16) = 0; out: *(u32 *)(r10 -24) = 1; r1 = *(u64 *)(r10 -16); r0 = 0; exit"
)
SOME = (
    ("XDP", "BPF", "r0 = 0; exit", "Operation not permitted"),
    ("XDP", "NET_ADMIN", "r0 = 0; exit", "Operation not permitted"),
    ("XDP", "BPF NET_ADMIN", "r0 = 0; exit", ""),
    ("TRACEPOINT", "BPF NET_ADMIN", "r0 = 0; exit", "Operation not permitted"),
    ("TRACEPOINT", "PERFMON", "r0 = 0; exit", "Operation not permitted"),
    ("TRACEPOINT", "BPF PERFMON", "r0 = r10; exit", ""),
    ("SOCKET_FILTER", "BPF", "call f; exit; f: r0 = 0; exit", ""),
    ("SOCKET_FILTER", "BPF", "r0 = r10; exit", "R0 leaks addr as return value"),
    ("SOCKET_FILTER", "BPF", "r0 = *(u64 *)(r10 -8); exit", "invalid read from stack R10 off=-8 size=8"),
    ("SOCKET_FILTER", "BPF PERFMON", "r0 = *(u64 *)(r10 -8); exit", ""),
    ("SOCKET_FILTER", "BPF", _UNEVEN, "invalid read from stack off -16+0 size 8"),
    ("SOCKET_FILTER", "BPF PERFMON", _UNEVEN, ""),
    ("SOCKET_FILTER", "BPF", _LOOP, "infinite loop detected at insn 2"),
    ("SOCKET_FILTER", "BPF PERFMON", _LOOP, ""),
    ("SOCKET_FILTER", "BPF PERFMON", "r3 = r10; r3 = (s8)r3; if r3 s> 127 goto b; r0 = 0; exit; b: r0 = *(u64 *)(r3 +0); exit",
     "R3 invalid mem access 'scalar'"),
    ("SOCKET_FILTER", "BPF PERFMON", "r7 += r8; r0 = 0; exit", "R8 !read_ok"),
    ("SOCKET_FILTER", "BPF", "*(u32 *)(r10 -8) = 0; r0 = *(u64 *)(r10 -12); exit", "misaligned stack access off 0+0+-12 size 8"),
    ("SK_REUSEPORT", "BPF", "r0 = 0; exit", ""),
    ("CGROUP_SKB", "BPF", "r1 = 0; call skc_to_tcp_sock; r0 = 0; exit", "program of this type cannot use helper"),
    ("SOCKET_FILTER", "BPF", "r1 = 9; call send_signal; r0 = 0; exit", "program of this type cannot use helper"),
    ("SOCKET_FILTER", "BPF", "call jiffies64; exit", ""),
    ("SOCKET_FILTER", "BPF", "call get_current_task; r0 = 0; exit", "program of this type cannot use helper"),
)  # fmt: skip


@pytest.mark.parametrize(("kind", "capabilities", "text", "reason"), SOME)
def test_some_capabilities(kind: str, capabilities: str, text: str, reason: str) -> None:
    found = judged(text, "6.18.44", kind, capabilities).error
    assert (found.reason if found else "")[: len(reason) or None] == reason
