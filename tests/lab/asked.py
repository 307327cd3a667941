"""Questions that programs of each type ask of any kernel: results, contexts, helpers, maps, tags of parameters."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import combinations, product
from typing import Any, NamedTuple

from pbt.isa import insn as make
from pbt.isa.insn import EXIT, Insn
from pbt.uapi.btf import DECL_TAG, FUNC, FUNC_PROTO, FWD, INT, PTR, STRUCT
from pbt.uapi.consts import ATTACH_TYPE
from pbt.uapi.helpers import HELPERS
from pbt.uapi.progs import PROG_TYPES, ProgType, may_access
from pbt.verifier_sim import MapInfo
from tests.unit.host.test_btf import Maker

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


def target_of(prog: ProgType, attach: str) -> tuple[str, str, str] | None:
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
                                   target=target_of(prog, attach))  # fmt: skip
            if here:
                yield Question("returns any", prog.name, attach, [make.call(5), EXIT], whole,
                               sleepable=prog.name == "SYSCALL", target=target_of(prog, attach))  # fmt: skip
                yield Question("returns ctx", prog.name, attach, [make.mov(0, 1), EXIT], whole,
                               sleepable=prog.name == "SYSCALL", target=target_of(prog, attach))  # fmt: skip


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
                      sleepable=prog.name == "SYSCALL", target=target_of(prog, attach))  # fmt: skip
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
                               allowed, sleepable=sleepable, target=target_of(prog, attach))  # fmt: skip


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
                               sleepable=sleepable, target=target_of(prog, attach))  # fmt: skip


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
                  sleepable=prog.name == "SYSCALL", target=target_of(prog, attach))  # fmt: skip
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
