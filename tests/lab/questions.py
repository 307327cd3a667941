"""Systematic questions: what programs of each type may do at all, asked of kernels and of the simulator.

    python -m tests.lab.questions [--kernel 5.10,6.1,…] [--here] [--kinds returns,context,…] [--answers FOLDER]

Program type by attach type by helper, offset of the context, kernel function, map, result. Each is one tiny
program; kernels and simulator answer it with a class: "yes", or the first thing that stands against it. What
is answered differently is printed. With --answers kernels are asked once only, and their types and answers kept.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from itertools import combinations, product
from pathlib import Path
from typing import Any, NamedTuple

from pbt.host.btf import Btf, contents
from pbt.isa import insn as make
from pbt.isa.insn import EXIT, Insn, encode
from pbt.uapi.btf import DECL_TAG, FUNC, FUNC_PROTO, FWD, INT, PTR, STRUCT
from pbt.uapi.consts import ATTACH_TYPE
from pbt.uapi.helpers import HELPERS
from pbt.uapi.kfuncs import KFUNCS
from pbt.uapi.progs import PROG_TYPES, ProgType, may_access
from pbt.verifier_sim import MapInfo, verify
from pbt.verifier_sim.functions import Declared
from pbt.verifier_sim.kernels import features
from pbt.verifier_sim.kerneltypes import KernelTypes
from pbt.verifier_sim.progbtf import ProgramTypes, functions
from tests.lab import kernels, vm
from tests.unit.host.test_btf import Maker

SLEEPS = 16  # BPF_F_SLEEPABLE
TARGETS = {  # attach type → kind of type, prefix and name of what these programs attach to
    "TRACE_RAW_TP": ("typedef", "btf_trace_", "task_newtask"),
    "TRACE_ITER": ("func", "bpf_iter_", "task"),
    "TRACE_FENTRY": ("func", "", "security_file_open"),
    "TRACE_FEXIT": ("func", "", "security_file_open"),
    "MODIFY_RETURN": ("func", "", "security_file_open"),
    "LSM_MAC": ("func", "bpf_lsm_", "file_open"),
    "LSM_CGROUP": ("func", "bpf_lsm_", "socket_bind"),
}
_SIZES = {"__sk_buff": 200, "pt_regs": 176, "bpf_perf_event_data": 192, "bpf_sock_ops": 232}
_UNKNOWN_HELPERS = (0, 212, 999)


class Question(NamedTuple):
    """A program. `classify`: a refusal in words → its class; the empty text is "yes"."""

    name: str
    prog_type: str
    attach: str
    insns: list[Insn]
    classify: Callable[[str], str]
    maps: tuple[MapInfo, ...] = ()
    map_of: Mapping[int, tuple[int, str, int]] = {}
    kfuncs: Mapping[int, str] = {}
    sleepable: bool = False
    target: tuple[str, str, str] | None = None
    described: tuple[bytes, bytes] = (b"", b"")  # types of its functions


class Asked(NamedTuple):
    """A kernel: its release, its types, and the helpers that its configuration leaves out."""

    release: str
    btf: Btf
    missing: frozenset[str]


def whole(said: str) -> str:
    """Yes or no."""
    return "no" if said else "yes"


def allowed(said: str) -> str:
    """Whether the call is possible at all: its arguments do not matter."""
    wrong = r"allowed for this program type|allowed attach point|cannot find address|not supported for program type|supported only for|unknown func|invalid func|cannot use helper|is not allowed|not in this kernel"
    if re.search(r"might sleep|must be sleepable|is sleepable within|use a non-sleepable", said):
        return "sleeps"
    return "no" if re.search(wrong, said) else "yes"


def pairs() -> Iterator[tuple[ProgType, str]]:
    """Types of programs, each with every attach type that it knows and with none."""
    for prog in PROG_TYPES.values():
        if prog.name in ("EXT", "STRUCT_OPS"):
            continue
        if prog.name in ("TRACING", "LSM"):
            yield from ((prog, attach) for attach in prog.attach_types if attach in TARGETS)
        else:
            yield from ((prog, attach) for attach in ("", *prog.attach_types))


_PLAIN = (
    "KPROBE",
    "PERF_EVENT",
    "TRACEPOINT",
    "SCHED_CLS",
    "XDP",
    "SK_SKB",
    "SK_MSG",
    "NETFILTER",
    "LIRC_MODE2",
)
"""Types of programs to whom the attach type means nothing but for the result."""
_DEFAULT = ("SK_LOOKUP", "NETFILTER", "CGROUP_SOCK_ADDR", "CGROUP_SOCKOPT")
"""Types that load with an attach type alone."""


def telling() -> Iterator[tuple[ProgType, str]]:
    """The pairs that may differ in more than their results."""
    for prog, attach in pairs():
        if prog.name in _DEFAULT:
            if attach:
                yield prog, attach
        elif not (attach and prog.name in _PLAIN):
            yield prog, attach


def each() -> Iterator[tuple[ProgType, str]]:
    """Each type of programs once; those that attach by types with two attach types."""
    seen = set()
    for prog, attach in telling():
        if prog.name not in seen or attach == "TRACE_ITER":
            seen.add(prog.name)
            yield prog, attach


def _target(prog: ProgType, attach: str) -> tuple[str, str, str] | None:
    return TARGETS[attach] if prog.name in ("TRACING", "LSM") else None


def ended(prog: ProgType, attach: str, *insns: Insn) -> list[Insn]:
    """Instructions, and an end that suits the type."""
    from pbt.uapi.expected import limits

    return [*insns, make.mov_imm(0, (limits(prog.name, attach) or (0, 0))[0]), EXIT]


def returns() -> Iterator[Question]:
    """Which attach types load, and what their programs may return."""
    values = (0, 1, -1, 2, 3, 4, -2, -4095, -4096, 5, 7, 1 << 30)
    known = {(prog.name, attach) for prog, attach in pairs()}
    for prog in PROG_TYPES.values():
        for attach in ("", *ATTACH_TYPE):
            here = (prog.name, attach) in known
            if prog.name in ("TRACING", "LSM", "EXT", "STRUCT_OPS") and not here:
                continue
            if attach == "CGROUP_INET_INGRESS" and prog.name != "CGROUP_SKB":
                continue  # its number is 0, that of none
            for value in values if here else values[:1]:
                insns = [make.mov_imm(0, value), EXIT]
                for sleepable in (False, True) if here and value in (0, 1) else (prog.name == "SYSCALL",):
                    yield Question(f"returns {value}", prog.name, attach, insns, whole, sleepable=sleepable,
                                   target=_target(prog, attach))  # fmt: skip
            if here:
                yield Question("returns any", prog.name, attach, [make.call(5), EXIT], whole,
                               sleepable=prog.name == "SYSCALL", target=_target(prog, attach))  # fmt: skip
                yield Question("returns ctx", prog.name, attach, [make.mov(0, 1), EXIT], whole,
                               sleepable=prog.name == "SYSCALL", target=_target(prog, attach))  # fmt: skip


_ALIKE = ("LWT_OUT", "LWT_XMIT", "LWT_SEG6LOCAL", "SCHED_ACT", "RAW_TRACEPOINT")
"""Types whose context is another type's, too."""


def context(step: int = 4) -> Iterator[Question]:
    """Parts of the context, read and written, in each size; what is read, followed."""
    for prog, attach in telling():
        if prog.name in _ALIKE or (
            attach.endswith(("BIND", "NAME", "RELEASE")) and prog.name == "CGROUP_SOCK_ADDR"
        ):
            continue
        ask = partial(Question, prog_type=prog.name, attach=attach, classify=whole,
                      sleepable=prog.name == "SYSCALL", target=_target(prog, attach))  # fmt: skip
        for at in range(-8, _SIZES.get(prog.context, 112), step):
            for size in (1, 2, 4, 8):
                if at % size:
                    continue
                read = make.load(size, 2, 1, at)
                yield ask(f"reads {size} at {at}", insns=ended(prog, attach, read))
                write = ended(prog, attach, make.mov_imm(2, 0), make.store(size, 1, at, 2))
                yield ask(f"writes {size} at {at}", insns=write)
                if size < 4:
                    continue
                follow = make.load(1, 3, 2, 0)
                if may_access(prog.reads, at, size) or not prog.reads:
                    yield ask(f"follows {size} at {at}", insns=ended(prog, attach, read, follow))
                    test = make.branch("JEQ", 2, None, 1)
                    yield ask(f"follows {size} at {at} if", insns=ended(prog, attach, read, test, follow))
        moved = ended(prog, attach, make.alu("ADD", 1, None, 4), make.load(4, 2, 1, 4))
        yield ask("moves", insns=moved)


def helpers() -> Iterator[Question]:
    """Each helper in each program."""
    ids = {**{h.id: h.name for h in HELPERS.values()}, **dict.fromkeys(_UNKNOWN_HELPERS, "none")}
    common = frozenset.intersection(*(prog.helpers for prog in PROG_TYPES.values())) - {
        "get_current_comm",
        "get_cgroup_classid",
    }
    seen = set()
    for prog, attach in telling():
        again = prog.name in seen
        seen.add(prog.name)
        sleeping = prog.name in ("TRACING", "LSM", "KPROBE") and attach not in ("TRACE_RAW_TP",)
        for sleepable in (True,) if prog.name == "SYSCALL" else (False, True) if sleeping else (False,):
            if sleepable and attach in ("TRACE_FENTRY", "TRACE_FEXIT", "MODIFY_RETURN", "LSM_CGROUP"):
                continue
            for id, name in ids.items():
                if again and (name in common or name not in prog.helpers) and "retval" not in name:
                    continue
                yield Question(f"calls {name}#{id}", prog.name, attach, ended(prog, attach, make.call(id)),
                               allowed, sleepable=sleepable, target=_target(prog, attach))  # fmt: skip


_HOOKS = (
    "XDP", "SCHED_CLS", "SCHED_ACT", "TRACING", "LSM", "SYSCALL", "CGROUP_SKB", "SK_SKB", "SOCKET_FILTER", "LWT_IN",
    "NETFILTER", "KPROBE",
)  # fmt: skip
_SAME = ("TRACE_FENTRY", "TRACE_FEXIT", "LSM_CGROUP", "CGROUP_INET_EGRESS", "CGROUP_INET_INGRESS")


@cache
def _kernel_functions(btf: Btf) -> list[str]:
    """Those of the table and those that the kernel's types mark."""
    rows = map(btf.row, range(1, btf.count))
    tagged = {btf.name(row[3]) for row in rows if row[:2] == (DECL_TAG, "bpf_kfunc")}
    return sorted(name for name in tagged | set(KFUNCS) if btf.find("func", name))


def kernel_functions(btf: Btf) -> Iterator[Question]:
    """Each kernel function, of the table or marked in the kernel's types, in each program."""
    names = _kernel_functions(btf)
    some = names[:: max(1, len(names) // 20)]
    for prog, attach in telling():
        for sleepable in (
            (True,) if prog.name == "SYSCALL" else (False, True) if attach == "TRACE_ITER" else (False,)
        ):
            for name in names if prog.name in _HOOKS and attach not in _SAME else some:
                insns = ended(prog, attach, Insn(0x85, 0, 2, 0, 0))
                yield Question(f"calls {name}", prog.name, attach, insns, allowed, kfuncs={0: name},
                               sleepable=sleepable, target=_target(prog, attach))  # fmt: skip


MAPS = {
    name: MapInfo(name, name, *sizes)
    for name, sizes in {
        "HASH": (4, 8, 4), "ARRAY": (4, 8, 4), "PROG_ARRAY": (4, 4, 4), "PERF_EVENT_ARRAY": (4, 4, 4),
        "PERCPU_HASH": (4, 8, 4), "PERCPU_ARRAY": (4, 8, 4), "STACK_TRACE": (4, 8, 4),
        "CGROUP_ARRAY": (4, 4, 4), "LRU_HASH": (4, 8, 4), "LRU_PERCPU_HASH": (4, 8, 4),
        "LPM_TRIE": (8, 8, 4, 1), "DEVMAP": (4, 4, 4), "SOCKMAP": (4, 4, 4), "CPUMAP": (4, 4, 4),
        "XSKMAP": (4, 4, 4), "SOCKHASH": (4, 4, 4), "CGROUP_STORAGE": (8, 8, 0),
        "REUSEPORT_SOCKARRAY": (4, 8, 4), "PERCPU_CGROUP_STORAGE": (8, 8, 0), "QUEUE": (0, 8, 4),
        "STACK": (0, 8, 4), "DEVMAP_HASH": (4, 4, 4), "RINGBUF": (0, 0, 4096), "BLOOM_FILTER": (0, 8, 4),
        "USER_RINGBUF": (0, 0, 4096), "ARENA": (0, 0, 1, 1 << 10),
    }.items()
}  # fmt: skip
_INNER = MapInfo("inner", "ARRAY", 4, 8, 4)
MAPS |= {
    "ARRAY_OF_MAPS": MapInfo("outer", "ARRAY_OF_MAPS", 4, 4, 4, inner=_INNER),
    "HASH_OF_MAPS": MapInfo("outer", "HASH_OF_MAPS", 4, 4, 4, inner=_INNER),
    "HASH no prealloc": MapInfo("lazy", "HASH", 4, 8, 4, 1),
    "HASH rdonly": MapInfo("r", "HASH", 4, 8, 4, 1 << 7),
    "HASH wronly": MapInfo("w", "HASH", 4, 8, 4, 1 << 8),
    "ARRAY rdonly": MapInfo("r", "ARRAY", 4, 8, 4, 1 << 7),
    "ARRAY wronly": MapInfo("w", "ARRAY", 4, 8, 4, 1 << 8),
    "ARRAY mmap": MapInfo("m", "ARRAY", 4, 8, 4, 1 << 10),
    "HASH locked": MapInfo("l", "HASH", 4, 16, 4, fields=()),
}


def map_types() -> Iterator[Question]:
    """Each map in each program, sleepable or not."""
    for prog, attach in each():
        for name, info in MAPS.items():
            for sleepable in (False, True):
                if (
                    sleepable != (prog.name == "SYSCALL")
                    and (not sleepable or attach not in ("TRACE_ITER", "LSM_MAC"))
                    and prog.name != "KPROBE"
                ):
                    continue
                insns = ended(prog, attach, *make.wide(1, 0, "map_fd"))
                yield Question(f"has {name}", prog.name, attach, insns, whole, (info,), {0: (0, "map_fd", 0)},
                               sleepable=sleepable, target=_target(prog, attach))  # fmt: skip


def map_helpers() -> Iterator[Question]:
    """Each map with each helper that takes one, in a program that may call it; maps of sockets in all."""
    takers = [h for h in HELPERS.values() if "CONST_MAP_PTR" in h.args and "PTR_TO_FUNC" not in h.args]
    done = set()
    for prog, attach in each():
        for helper in takers:
            if helper.name not in prog.helpers or helper.name in ("timer_init", "kptr_xchg"):
                continue
            for name, info in MAPS.items():
                if helper.name not in done or name in ("SOCKMAP", "SOCKHASH"):
                    yield from _map_call(prog, attach, helper, name, info)
            done.add(helper.name)


def _map_call(prog: ProgType, attach: str, helper: Any, name: str, info: MapInfo) -> Iterator[Question]:
    body = [make.mov(6, 1), *(make.store_imm(8, 10, at, 0) for at in (-8, -16, -24, -32))]
    map_of = {}
    for regno, kind in enumerate(helper.args, 1):
        if kind == "CONST_MAP_PTR":
            map_of[len(body)] = (0, "map_fd", 0)
            body += make.wide(regno, 0, "map_fd")
        elif kind.startswith("PTR_TO_CTX"):
            body.append(make.mov(regno, 6))
        elif kind.startswith(("ANYTHING", "CONST_SIZE", "CONST_ALLOC")):
            body.append(make.mov_imm(regno, 0 if kind == "ANYTHING" else 8))
        else:
            body += [make.mov(regno, 10), make.alu("ADD", regno, None, -32)]
    body.append(make.call(helper.id))
    ask = partial(Question, prog_type=prog.name, attach=attach, classify=whole, maps=(info,), map_of=map_of,
                  sleepable=prog.name == "SYSCALL", target=_target(prog, attach))  # fmt: skip
    yield ask(f"{helper.name} of {name}", insns=ended(prog, attach, *body))
    if helper.name == "map_lookup_elem":
        test = make.branch("JEQ", 0, None, 1)
        for how, use in (("reads", make.load(4, 1, 0, 0)), ("writes", make.store_imm(4, 0, 0, 0))):
            yield ask(f"{how} element of {name}", insns=ended(prog, attach, *body, test, use))


_TAGS = ("ctx", "nonnull", "nullable", "trusted", "untrusted", "arena")
_POINTEES = ("int", "long", "void", "char", "task_struct", "__sk_buff", "bpf_dynptr", "own", "forward")
_PASSED = {  # what is in r1 → how it comes there
    "nothing": [make.call(5)], "number": [make.mov_imm(1, 5)], "null": [make.mov_imm(1, 0)], "ctx": [],
    "stack": [make.store_imm(8, 10, -8, 0), make.mov(1, 10), make.alu("ADD", 1, None, -8)],
}  # fmt: skip


def parameters() -> Iterator[Question]:
    """A global function with a pointer, tagged in each way; each kind of value passed to it; what it does with it."""
    tags = [(), *((tag,) for tag in _TAGS), *combinations(_TAGS, 2)]
    for kind, pointee, tagged in product(("SCHED_CLS", "TRACEPOINT"), _POINTEES, tags):
        for passed in _PASSED if len(tagged) < 2 else ("null", "stack"):
            uses = {"": [], " read": [make.load(1, 2, 1, 0)], " written": [make.store_imm(1, 1, 0, 0)]}
            for use, body in uses.items() if passed == "null" and len(tagged) < 2 else (("", []),):
                before = [*_PASSED[passed]]
                before += [Insn(0x85, 0, 1, 0, 2), make.mov_imm(0, 0), EXIT]
                code = [*before, *body, make.mov_imm(0, 0), EXIT]
                name = f"{pointee} * {' '.join(tagged)} given {passed}{use}"
                yield Question(
                    name, kind, "", code, whole, described=_described(pointee, tagged, len(before))
                )


def _described(pointee: str, tags: Sequence[str], start: int) -> tuple[bytes, bytes]:
    """BTF of int main(void *ctx) and int f(POINTEE *p), and where these start."""
    m = Maker()
    number = m.add(INT, "int", 4, 1 << 24 | 32)
    to = {
        "int": lambda: number, "long": lambda: m.add(INT, "long", 8, 1 << 24 | 64), "void": lambda: 0,
        "char": lambda: m.add(INT, "char", 1, 8), "forward": lambda: m.add(FWD, "cgroup", 0),
    }.get(pointee, lambda: m.add(STRUCT, pointee, 8, m.text("a"), number, 0, count=1))()  # fmt: skip
    main = m.add(
        FUNC, "main", m.add(FUNC_PROTO, "", number, m.text("ctx"), m.add(PTR, "", 0), count=1), count=1
    )
    called = m.add(
        FUNC, "f", m.add(FUNC_PROTO, "", number, m.text("p"), m.add(PTR, "", to), count=1), count=1
    )
    for tag in tags:
        m.add(DECL_TAG, f"arg:{tag}", called, 0)
    return m.bytes(), struct.pack("<4I", 0, main, start, called)


KINDS: dict[str, Callable[..., Iterator[Question]]] = {
    "returns": returns, "context": context, "helpers": helpers, "maps": map_types, "map_helpers": map_helpers,
    "parameters": parameters,
}  # fmt: skip


def structures(btf: Btf) -> Iterator[Question]:
    """STRUCT_OPS programs, for each member of each structure: results, arguments, helpers, kernel functions."""
    for owner, position, name in _members(btf):
        made = partial(Question, prog_type="STRUCT_OPS", attach=_NUMBERED[position],
                       target=("struct", "", owner))  # fmt: skip
        ask = partial(made, classify=whole)
        end = [make.mov_imm(0, 0), EXIT]
        yield ask(f"{owner}.{name} 0", insns=end)
        yield ask(f"{owner}.{name} 0 sleeping", insns=end, sleepable=True)
        yield ask(f"{owner}.{name} 1", insns=[make.mov_imm(0, 1), EXIT])
        yield ask(f"{owner}.{name} none", insns=[EXIT])
        yield ask(f"{owner}.{name} ctx", insns=[make.mov(0, 1), EXIT])
        yield ask(f"{owner}.{name} writes", insns=[make.mov_imm(0, 0), make.store(8, 1, 0, 0), EXIT])
        for at in range(0, 48, 8):
            read = make.load(8, 2, 1, at)
            test = make.branch("JEQ", 2, None, 1)
            yield ask(f"{owner}.{name} reads 8 at {at}", insns=[read, *end])
            yield ask(f"{owner}.{name} follows {at}", insns=[read, make.load(1, 3, 2, 0), *end])
            yield ask(f"{owner}.{name} follows {at} if", insns=[read, test, make.load(1, 3, 2, 0), *end])
        yield ask(f"{owner}.{name} reads 4", insns=[make.load(4, 2, 1, 0), *end])
        yield ask(f"{owner}.{name} reads 1", insns=[make.load(1, 2, 1, 8), *end])
        yield ask(
            f"{owner}.{name} writes to it", insns=[make.load(8, 2, 1, 0), make.store_imm(4, 2, 0, 0), *end]
        )
        yield ask(f"{owner}.{name} gives it", insns=[make.load(8, 0, 1, 0), EXIT])
        for helper in HELPERS.values() if not position or name in ("init", "release") else ():
            yield made(
                f"{owner}.{name} calls {helper.name}", insns=[make.call(helper.id), *end], classify=allowed
            )
        for kfunc in _kernel_functions(btf):
            if position and not (kfunc.startswith("scx_") and name in _SCHED):
                continue
            yield made(f"{owner}.{name} calls {kfunc}", insns=[Insn(0x85, 0, 2, 0, 0), *end], classify=allowed,
                       kfuncs={0: kfunc})  # fmt: skip


_SCHED = ("enqueue", "dequeue", "dispatch", "tick", "init", "init_task", "cpu_release", "dump")
_NUMBERED = {number: name for name, number in ATTACH_TYPE.items()}


def _members(btf: Btf) -> Iterator[tuple[str, int, str]]:
    prefix = "bpf_struct_ops_"
    for owner in btf.names_after("struct", prefix):
        id = btf.find("struct", owner)
        if id is None or btf.find("struct", prefix + owner) is None:
            continue
        row = btf.row(id)
        for position, at in enumerate(range(0, 3 * row[2], 3)):
            if position in _NUMBERED:
                yield owner, position, btf.text(row[4][at])


def calls(btf: Btf) -> Iterator[Question]:
    """Each kernel function, called with what its types ask for; what it gives, followed."""
    task = btf.struct("struct task_struct")
    assert task is not None
    mask = next(member.offset for member in task.members if member.name == "cpus_ptr")
    for name in _kernel_functions(btf):
        id = btf.find("func", name)
        assert id is not None
        proto = btf.row(btf.row(id)[3])
        body = _arguments(btf, proto, mask)
        at = len(body)
        body.append(Insn(0x85, 0, 2, 0, 0))
        follow = make.load(1, 3, 0, 0)
        test = make.branch("JEQ", 0, None, 1)
        for kind, attach, sleepable in (
            ("TRACING", "TRACE_RAW_TP", False),
            ("SYSCALL", "", True),
            ("LSM", "LSM_MAC", False),
        ):
            for how, more in (("", []), (" follows", [follow]), (" follows if", [test, follow])):
                if how and not proto[3]:
                    continue
                target = TARGETS.get(attach)
                end = [make.mov_imm(0, 0), EXIT]
                yield Question(f"{name}(){how}", kind, attach, [*body, *more, *end], whole, kfuncs={at: name},
                               sleepable=sleepable, target=target)  # fmt: skip


def _arguments(btf: Btf, proto: Any, mask: int) -> list[Insn]:
    """Values that fit the types: r6 the context, r7 the running task, zeros on the stack."""
    body = [make.mov(6, 1), *(make.store_imm(8, 10, at, 0) for at in range(-64, 0, 8))]
    body += [make.call(HELPERS["get_current_task_btf"].id), make.mov(7, 0)]
    for regno, (label, id) in enumerate(zip(proto[4][::2], proto[4][1::2], strict=True), 1):
        text, name = btf.ctype(id), btf.text(label)
        if "*" not in text:
            body.append(make.mov_imm(regno, 8 if name.endswith(("__sz", "__szk", "_size")) else 0))
        elif "task_struct" in text:
            body.append(make.mov(regno, 7))
        elif "struct cpumask" in text:
            body.append(make.load(8, regno, 7, mask))
        elif "__sk_buff" in text or "xdp_md" in text or name.endswith("__ctx"):
            body.append(make.mov(regno, 6))
        else:
            at = -96 if "bpf_iter" in text else -64
            body += [make.mov(regno, 10), make.alu("ADD", regno, None, at)]
    return body


OF_TYPES = {"calls": calls, "kfuncs": kernel_functions, "structs": structures}


def questions(kinds: list[str], btf: Btf) -> dict[str, Question]:
    found: dict[str, Question] = {}
    for kind in kinds:
        made = OF_TYPES[kind](btf) if kind in OF_TYPES else KINDS[kind]()
        for q in made:
            found.setdefault(f"{q.prog_type} {q.attach} {q.name}{' asleep' if q.sleepable else ''}", q)
    return found


# --- asking ----------------------------------------------------------------------------------------


def line(name: str, q: Question, btf: Btf) -> dict[str, Any] | None:
    """The question as loading.py reads it; None if what it attaches to is not in this kernel."""
    insns = [
        insn._replace(imm=btf.find("func", q.kfuncs[at]) or 0) if at in q.kfuncs else insn
        for at, insn in enumerate(q.insns)
    ]
    target = btf.find(q.target[0], q.target[1] + q.target[2]) if q.target else 0
    if target is None:
        return None
    from tests.lab.judging import _map

    return {
        "id": name, "type": q.prog_type, "attach": q.attach, "insns": encode(insns).hex(),
        "maps": [_map(info) for info in q.maps], "refs": [[at, row[0]] for at, row in q.map_of.items()],
        "types": q.described[0].hex(), "functions": q.described[1].hex(), "btf_id": target, "flags": SLEEPS * q.sleepable, "level": 1,
    }  # fmt: skip


def ours(q: Question, asked: Asked, types: KernelTypes) -> str:
    rules = features(asked.release)
    found = verify(
        q.insns, prog_type=q.prog_type, expected_attach_type=q.attach, maps=q.maps, map_of=q.map_of,
        kernel=asked.release, features=rules, sleepable=q.sleepable, target=q.target[2] if q.target else None,
        types=types, kfuncs=q.kfuncs, missing=asked.missing, explain=False, declared=_declared(q),
        described=bool(q.described[0]),
    )  # fmt: skip
    if found.unsupported:
        return f"unsupported: {found.unsupported}" if q.classify is whole else q.classify("") + "?"
    return q.classify(found.error.reason or "refused" if found.error else "")


def _declared(q: Question) -> Declared | None:
    if not q.described[0]:
        return None
    types = ProgramTypes.parse(q.described[0])
    words = struct.unpack(f"<{len(q.described[1]) // 4}I", q.described[1])
    rows = list(zip(words[::2], words[1::2], strict=True))
    return Declared(functions(types, rows), types, types.struct_sizes())


def fetch_types(kernel: str) -> tuple[str, bytes]:
    """A lab kernel's release and BTF."""
    words = "uname -r; gzip -1c /sys/kernel/btf/vmlinux | base64 -w0"
    said = vm.run(kernel, [vm.Command(["sh", "-c", words], timeout=100)])[0].stdout.split()
    return said[0], gzip.decompress(base64.b64decode(said[1]))


def answers(kernel: str, lines: list[dict[str, Any]]) -> dict[str, Any]:
    """What a kernel ("here": the running one) says to lines for loading.py."""
    text = "".join(json.dumps(row) + "\n" for row in lines)
    if kernel == "here":
        with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
            file.write(text)
            file.flush()
            said = subprocess.run([sys.executable, "-m", "tests.lab.loading", file.name], check=True, text=True,
                                  capture_output=True, cwd=kernels.PROJECT, timeout=300).stdout  # fmt: skip
    else:
        words = [sys.executable, "-m", "tests.lab.loading", "/run/lab/asked.jsonl"]
        result = vm.run(kernel, [vm.Command(words, timeout=1400)], files={"asked.jsonl": text})[0]
        if result.code:
            raise SystemExit(result.stderr)
        said = result.stdout
    return {row["id"]: row for row in map(json.loads, said.splitlines())}


def compare(kernel: str, kinds: list[str], folder: Path) -> list[str]:
    """Differences, a line each."""
    kept = folder / f"{kernel}.btf"
    if kernel == "here":
        release, data = os.uname().release, bytes(contents("/sys/kernel/btf/vmlinux"))
    elif kept.exists():
        release, data = (folder / f"{kernel}.release").read_text(), kept.read_bytes()
    else:
        release, data = fetch_types(kernel)
        kept.write_bytes(data)
        (folder / f"{kernel}.release").write_text(release)
    btf = Btf(data)
    asked = questions(kinds, btf)
    store = folder / f"{kernel}.answers"
    said = json.loads(store.read_text()) if store.exists() else {}
    lines = [made for name, q in asked.items() if name not in said and (made := line(name, q, btf))]
    if lines:
        got = answers(kernel, lines)
        said |= {row["id"]: "?" if got[row["id"]]["ok"] is None else "" if got[row["id"]]["ok"]
                 else got[row["id"]]["log"] for row in lines}  # fmt: skip
        store.write_text(json.dumps(said))
    missing = frozenset(("override_return", "probe_write_user") if kernel == "here" else ("override_return",))
    types, found = KernelTypes(btf, True), dict[str, list[str]]()
    there = {q.prog_type for name, q in asked.items() if not said.get(name, "?")}
    for name, q in asked.items():
        log = said.get(name, "?")
        if log == "?" or q.prog_type not in there or "Operation not permitted" in log:
            continue
        theirs, mine = q.classify(log), ours(q, Asked(release, btf, missing), types)
        if theirs != mine:
            words = [text[:150] for text in log.splitlines() if "processed" not in text and text.strip()][-1:]
            where = f"{q.prog_type} {q.attach}{' asleep' if q.sleepable else ''}"
            found.setdefault(f"{q.name}: kernel {theirs}, simulator {mine}{words}", []).append(where)
    count = sum(map(len, found.values()))
    print(f"{kernel} ({release}): {len(asked)} questions, {count} answered differently", flush=True)
    return [f"{kernel}: {what}: {len(where)}: {', '.join(where)}" for what, where in found.items()]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.lab.questions", description=__doc__)
    parser.add_argument("--kernel", default="")
    parser.add_argument("--here", action="store_true")
    parser.add_argument("--kinds", default=",".join((*KINDS, *OF_TYPES)))
    parser.add_argument("--answers", type=Path, default=Path(tempfile.gettempdir()))
    args = parser.parse_args()
    names = [*(kernels.chosen(args.kernel) if args.kernel else ()), *(["here"] if args.here else ())]
    found = [row for name in names for row in compare(name, args.kinds.split(","), args.answers)]
    print("\n".join(found))
    return bool(found)


if __name__ == "__main__":
    raise SystemExit(main())
