"""Random programs that follow pointers through the kernel's own types: tracepoints and iterators.

The generator looks at the types to take members that are there, mostly with their own sizes, and now
and then an offset, a size or an argument that does not fit.
"""

from __future__ import annotations

import random
from typing import NamedTuple

from pbt.host.btf import Btf
from pbt.isa import insn as make
from pbt.isa.asm import assemble
from pbt.isa.insn import EXIT, Insn
from pbt.uapi.btf import PTR, STRUCT, UNION
from pbt.uapi.helpers import HELPERS
from pbt.verifier_sim.kerneltypes import KernelTypes

TARGETS = (
    ("TRACE_RAW_TP", "sched_switch"), ("TRACE_RAW_TP", "task_newtask"), ("TRACE_RAW_TP", "sys_enter"),
    ("TRACE_RAW_TP", "kfree_skb"), ("TRACE_RAW_TP", "mm_page_alloc"), ("TRACE_RAW_TP", "tcp_probe"),
    ("TRACE_RAW_TP", "sched_process_exec"), ("TRACE_RAW_TP", "signal_generate"),
    ("TRACE_RAW_TP", "netif_receive_skb"), ("TRACE_RAW_TP", "cgroup_mkdir"),
    ("TRACE_RAW_TP", "inet_sock_set_state"), ("TRACE_RAW_TP", "tcp_send_reset"),
    ("TRACE_RAW_TP", "fib_table_lookup"), ("TRACE_RAW_TP", "posix_lock_inode"),
    ("TRACE_ITER", "task"), ("TRACE_ITER", "task_file"), ("TRACE_ITER", "task_vma"),
    ("TRACE_ITER", "tcp"), ("TRACE_ITER", "udp"), ("TRACE_ITER", "bpf_map"),
    ("TRACE_ITER", "bpf_prog"), ("TRACE_ITER", "netlink"),
    ("TRACE_ITER", "unix"), ("TRACE_ITER", "cgroup"),
    ("TRACE_ITER", "ksym"), ("TRACE_ITER", "bpf_link"),
)  # fmt: skip
_TAKES = {  # helper → what the arguments behind the pointer are
    "task_pt_regs": "", "sock_from_file": "", "skc_to_tcp_sock": "", "skc_to_udp6_sock": "",
    "get_task_stack": "r2 = r10; r2 += -64; r3 = 64; r4 = 0;",
    "seq_write": "*(u64 *)(r10 -8) = 0; r2 = r10; r2 += -8; r3 = 8;",
    "d_path": "r2 = r10; r2 += -64; r3 = 64;",
    "get_socket_cookie": "",
}  # fmt: skip
_IDS = {name: helper.id for name, helper in HELPERS.items()}


class Typed(NamedTuple):
    attach: str
    name: str
    btf_id: int
    insns: list[Insn]


def program(seed: int, btf: Btf, types: KernelTypes) -> Typed | None:
    """A program for one of TARGETS; None if this kernel has no such target."""
    rng = random.Random(seed)
    attach, name = rng.choice(TARGETS)
    wanted = ("typedef", f"btf_trace_{name}") if attach == "TRACE_RAW_TP" else ("func", f"bpf_iter_{name}")
    id, proto = btf.find(*wanted), types.prototype(*wanted)
    if id is None or proto is None:
        return None
    params = list(proto.words[1::2])[attach == "TRACE_RAW_TP" :]
    out: list[Insn] = [make.mov(6, 1)]
    held: dict[int, str] = {}
    for _ in range(rng.randrange(1, 6)):
        to = rng.choice((0, 2, 3, 4, 5, 7, 8, 9))
        if held and rng.random() < 0.7:
            _follow(rng, types, out, held, to)
        else:
            at = rng.randrange(len(params)) if rng.random() < 0.97 else rng.randrange(13)
            size = 8 if rng.random() < 0.95 else rng.choice((1, 2, 4))
            out.append(make.load(size, to, 6, 8 * at + (rng.random() < 0.02)))
            held.pop(to, None)
            struct = (
                types.pointed(types.plain(params[at])[0])[0]
                if at < len(params) and _points(types, params[at])
                else ""
            )
            if struct:
                held[to] = struct
                _maybe_checked(rng, out, to, 0.6)
        if held and rng.random() < 0.2:
            _call(rng, out, held)
    out += [make.mov_imm(0, 0), EXIT]
    return Typed(attach, name, id, out)


def _points(types: KernelTypes, id: int) -> bool:
    return types.plain(id)[1].kind == PTR


def _maybe_checked(rng: random.Random, out: list[Insn], reg: int, of: float) -> None:
    if rng.random() < of:
        out += assemble(f"if r{reg} != 0 goto a\nr0 = 0\nexit\na:\nr0 = 0\n")[:-1]


def _follow(rng: random.Random, types: KernelTypes, out: list[Insn], held: dict[int, str], to: int) -> None:
    """A load through one of the pointers at hand."""
    source = rng.choice(list(held))
    off, size, struct = _member(rng, types, held[source])
    if rng.random() < 0.05:
        off += rng.choice((-8, -1, 1, 4, 8))
    if rng.random() < 0.05:
        size = rng.choice((1, 2, 4, 8))
    if not -(1 << 15) <= off < 1 << 15:
        return
    if rng.random() < 0.1:
        out.append(make.alu("ADD", source, None, off))
        off = 0
    out.append(make.load(size, to, source, off))
    held.pop(to, None)
    if struct:
        held[to] = struct
        _maybe_checked(rng, out, to, 0.2)


def _member(rng: random.Random, types: KernelTypes, struct: str) -> tuple[int, int, str]:
    """Offset, size and pointed structure of some member, also of one inside of members."""
    id, off = types.struct(struct), 0
    while id is not None:
        members = list(types.members(types.row(id)))
        if not members:
            break
        _, kind, place, _ = rng.choice(members)
        off += place // 8
        size, count, inner, row = types._extent(kind)
        if count:
            off += rng.randrange(count) * (size // count)
        if row.kind not in (STRUCT, UNION):
            width = row.size if row.kind != PTR else 8
            return (
                off,
                width if width in (1, 2, 4, 8) else 8,
                types.pointed(inner)[0] if row.kind == PTR else "",
            )
        id = inner
    return off, 8, ""


def _call(rng: random.Random, out: list[Insn], held: dict[int, str]) -> None:
    name, source = rng.choice(list(_TAKES)), rng.choice(list(held))
    out.append(make.mov(1, source))
    out += assemble(f"{_TAKES[name]} call {name}".replace(";", "\n"), _IDS)
    for gone in (0, 1, 2, 3, 4, 5):
        held.pop(gone, None)
