"""Random calls of any helper, by any type of program, with arguments that mostly fit its prototype."""

from __future__ import annotations

import random
from typing import NamedTuple

from pbt.isa import insn as make
from pbt.isa.insn import EXIT, Insn
from pbt.uapi.helpers import HELPERS, Helper
from pbt.uapi.maps import MAP_TYPES
from pbt.uapi.progs import PROG_TYPES
from pbt.verifier_sim import MapInfo

MAPS = (
    MapInfo("hash", "HASH", 4, 16, 8), MapInfo("ring", "RINGBUF", 0, 0, 4096),
    MapInfo("array", "ARRAY", 4, 48, 4), MapInfo("one", "ARRAY", 4, 64, 1),
    MapInfo("perf", "PERF_EVENT_ARRAY", 4, 4, 4), MapInfo("percpu", "PERCPU_HASH", 4, 16, 4),
    MapInfo("percpu_array", "PERCPU_ARRAY", 4, 16, 4), MapInfo("stacks", "STACK_TRACE", 4, 128, 4),
    MapInfo("lru", "LRU_HASH", 4, 16, 8), MapInfo("lpm", "LPM_TRIE", 8, 8, 4, 1),
    MapInfo("queue", "QUEUE", 0, 8, 4), MapInfo("stack", "STACK", 0, 8, 4), MapInfo("devices", "DEVMAP", 4, 4, 4),
    MapInfo("cpus", "CPUMAP", 4, 4, 4), MapInfo("sockets", "SOCKMAP", 4, 4, 4),
    MapInfo("socket_hash", "SOCKHASH", 4, 4, 4), MapInfo("xsk", "XSKMAP", 4, 4, 4),
    MapInfo("cgroups", "CGROUP_ARRAY", 4, 4, 4), MapInfo("bloom", "BLOOM_FILTER", 0, 8, 4),
    MapInfo("reuseport", "REUSEPORT_SOCKARRAY", 4, 8, 4),
)  # fmt: skip
_ONE = 3  # position of the map whose value has an address
TYPES = {  # program type → expected attach type
    "CGROUP_SKB": "CGROUP_INET_INGRESS", "CGROUP_SOCK": "CGROUP_INET_SOCK_CREATE",
    "CGROUP_SOCK_ADDR": "CGROUP_INET4_CONNECT", "CGROUP_SYSCTL": "CGROUP_SYSCTL",
    "CGROUP_SOCKOPT": "CGROUP_SETSOCKOPT", "SK_LOOKUP": "SK_LOOKUP", "NETFILTER": "NETFILTER",
    **dict.fromkeys(
        ["SOCKET_FILTER", "KPROBE", "TRACEPOINT", "XDP", "SCHED_CLS", "SCHED_ACT", "RAW_TRACEPOINT", "PERF_EVENT", "LWT_IN", "LWT_XMIT", "LWT_OUT", "LWT_SEG6LOCAL", "SOCK_OPS", "SK_SKB", "SK_MSG", "CGROUP_DEVICE", "SK_REUSEPORT", "FLOW_DISSECTOR", "SYSCALL"],
        "",
    ),
}  # fmt: skip
CONFIGURED = ("override_return", "probe_write_user")  # kernels have them or not, whatever their release
_GIVEN_BACK = {
    "ringbuf_reserve": "ringbuf_discard",
    **dict.fromkeys(("sk_lookup_tcp", "sk_lookup_udp", "skc_lookup_tcp"), "sk_release"),
}


class Calls(NamedTuple):
    prog_type: str
    insns: list[Insn]
    map_of: dict[int, tuple[int, str, int]]


class _Maker:
    """r9: the context; r8: a socket of the context, if there is one; r7: what a call gave."""

    def __init__(self, rng: random.Random, prog_type: str) -> None:
        self.rng, self.prog = rng, PROG_TYPES[prog_type]
        self.out: list[Insn] = [make.mov(9, 1)]
        self.map_of: dict[int, tuple[int, str, int]] = {}
        self.depth, self.socket = 0, False

    def end(self) -> None:
        low = (self.prog.returns or (0, 0))[0]
        self.out += [make.mov_imm(0, low), EXIT]

    def unless_null(self, reg: int) -> None:
        self.out.append(make.branch("JNE", reg, None, 2))
        self.end()

    def memory(self, reg: int, size: int) -> None:
        chance = self.rng.random()
        if chance < 0.6:
            slots = (max(size, 1) + 7) // 8
            self.depth = self.depth - 8 * slots if self.depth > -300 else -8 * slots
            if self.rng.random() < 0.9:
                self.out += [make.store_imm(8, 10, self.depth + 8 * n, 1) for n in range(slots)]
            self.out += [make.mov(reg, 10), make.alu("ADD", reg, None, self.depth)]
        elif chance < 0.85:
            offset = self.rng.choice((0, 8, 16))
            self.map_of[len(self.out)] = (_ONE, "map_value", offset)
            self.out += make.wide(reg, offset << 32, "map_value")
        else:
            self.out.append(self.rng.choice((make.mov_imm(reg, 0), make.mov(reg, 9), make.mov(reg, 10))))

    def number(self, reg: int, *values: int) -> None:
        self.out.append(make.mov_imm(reg, self.rng.choice(values)))

    def arguments(self, helper: Helper) -> None:
        size, info = self.rng.choice((1, 4, 8, 8, 16, 32)), MAPS[0]
        for reg, text in enumerate(helper.args, 1):
            kind, _, parameter = text.partition(":")
            if self.rng.random() < 0.03:
                self.number(reg, 0, 1, 8)
            elif kind == "CONST_MAP_PTR":
                fit = [at for at, m in enumerate(MAPS) if helper.name in MAP_TYPES[m.map_type].helpers]
                at = self.rng.choice(fit if fit and self.rng.random() < 0.9 else range(len(MAPS)))
                info, self.map_of[len(self.out)] = MAPS[at], (at, "map_fd", 0)
                self.out += make.wide(reg, 0, "map_fd")
            elif kind.startswith(("MAP_", "UNINIT_MAP_")):
                self.memory(reg, info.key_size if "KEY" in kind else info.value_size)
            elif "MEM" in kind and "ALLOC" not in kind:
                self.memory(reg, int(parameter or size))
            elif kind.startswith("CONST_SIZE"):
                self.number(reg, size, size, size, 0, size + 1, 64)
            elif kind.startswith("CONST_ALLOC_SIZE"):
                self.number(reg, 8, 16)
            elif kind.startswith("PTR_TO_CTX"):
                self.out.append(make.mov(reg, 9))
            elif kind.startswith(("PTR_TO_STACK", "DYNPTR", "CONST_STR")):
                self.memory(reg, 16)
            elif "SOCK" in kind and self.socket:
                self.out.append(make.mov(reg, 8))
            elif kind == "ANYTHING" and self.rng.random() < 0.8:
                self.number(reg, 0, 0, 1, 2)
            else:
                self.out.append(self.rng.choice((make.mov(reg, 9), make.mov(reg, 10), make.mov_imm(reg, 0))))

    def call(self, helper: Helper) -> None:
        self.arguments(helper)
        self.out.append(make.call(helper.id))
        if "OR_NULL" not in helper.ret or self.rng.random() < 0.15:
            return
        self.out.append(make.mov(7, 0))
        self.unless_null(7)
        if helper.name in _GIVEN_BACK:
            self.out += [make.mov(1, 7), make.mov_imm(2, 0), make.call(HELPERS[_GIVEN_BACK[helper.name]].id)]
        elif self.rng.random() < 0.7:
            self.out.append(make.load(self.rng.choice((1, 4, 4, 8)), 1, 7, self.rng.choice((0, 4, 8, 16))))

    def whole(self) -> None:
        sockets = [at for at, kind in sorted(self.prog.pointers.items()) if "SOCK" in kind]
        if sockets and self.rng.random() < 0.6:
            self.socket = True
            self.out.append(make.load(8, 8, 9, self.rng.choice(sockets)))
            if self.rng.random() < 0.95:
                self.unless_null(8)
        known = sorted(self.prog.helpers) if self.rng.random() < 0.93 else sorted(HELPERS)
        known = [name for name in known if name not in CONFIGURED and name != "tail_call"]
        for _ in range(self.rng.choice((1, 1, 2, 3))):
            helper = HELPERS[self.rng.choice(known)]
            if "PTR_TO_FUNC" not in helper.args:
                self.call(helper)
        self.end()


def program(seed: int) -> Calls:
    rng = random.Random(seed)
    prog_type = rng.choice(sorted(TYPES))
    maker = _Maker(rng, prog_type)
    maker.whole()
    return Calls(prog_type, maker.out, maker.map_of)
