"""What random programs are made for: types of programs, maps with all that values may hold, the finished program."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from pbt.isa import opcodes as op
from pbt.isa.insn import Insn
from pbt.runtime.funcinfo import describe
from pbt.verifier_sim import MapInfo
from pbt.verifier_sim.functions import Declared, declared
from pbt.verifier_sim.reg import Field

HASH, RING, ARRAY, ONE, LOCKED, TIMED, OUTER, TAILS, PERCPU = range(9)
INNER = MapInfo("inner", "ARRAY", 4, 16, 2)
MAPS = (
    MapInfo("hash", "HASH", 4, 16, 8),
    MapInfo("ring", "RINGBUF", 0, 0, 4096),
    MapInfo("array", "ARRAY", 4, 48, 4),
    MapInfo("one", "ARRAY", 4, 64, 1),
    MapInfo("locked", "ARRAY", 4, 32, 2, fields=(Field("spin_lock", 0, 4),)),
    MapInfo("timed", "HASH", 4, 32, 4, fields=(Field("timer", 0, 16),)),
    MapInfo("outer", "ARRAY_OF_MAPS", 4, 4, 2, inner=INNER),
    MapInfo("tails", "PROG_ARRAY", 4, 4, 2),
    MapInfo("percpu", "PERCPU_ARRAY", 4, 24, 2),
)
TRACING = ("KPROBE", "TRACEPOINT", "RAW_TRACEPOINT", "PERF_EVENT")
NETWORK = ("XDP", "SCHED_CLS", "CGROUP_SKB")
TYPES = ("SOCKET_FILTER", *TRACING, *NETWORK, "XDP", "SCHED_CLS")
CONTEXT = {  # offsets that are numbers, and the size to read them with
    "SOCKET_FILTER": ((0, 4), (4, 4), (8, 4), (16, 4)),
    "XDP": ((12, 4), (16, 4)),
    "SCHED_CLS": ((0, 4), (8, 4), (16, 4)),
    "CGROUP_SKB": ((0, 4), (4, 4), (8, 4)),
    "KPROBE": ((0, 8), (8, 8), (104, 8), (112, 4), (16, 2)),
    "TRACEPOINT": ((8, 8), (16, 8), (24, 4), (32, 1)),
    "RAW_TRACEPOINT": ((0, 8), (8, 8), (16, 8)),
    "PERF_EVENT": ((0, 8), (168, 8), (8, 8)),
}
PACKET = {"XDP": (0, 4), "SCHED_CLS": (76, 80), "CGROUP_SKB": (76, 80)}
"""Where the context has the packet's data and its end."""


class Program(NamedTuple):
    """A random program; `starts`: the first slots of its functions, the main program's first."""

    prog_type: str
    insns: list[Insn]
    map_of: Mapping[int, tuple[int, str, int]]
    starts: tuple[int, ...] = (0,)
    plain: bool = False  # comes without types if it can

    @property
    def described(self) -> tuple[bytes, bytes]:
        """BTF and the records of functions, which the kernel wants where functions are passed, and takes else."""
        passed = any(insn.is_wide and insn.src_reg == op.PSEUDO.index("func") for insn in self.insns)
        if len(self.starts) == 1 or (self.plain and not passed):
            return b"", b""
        types, records = describe([("main", [(f"f{at}", at) for at in self.starts])])
        return types, records[0]

    @property
    def declared(self) -> Declared | None:
        """The same for the simulator."""
        types, records = self.described
        if not types:
            return None
        ids = [int.from_bytes(records[at + 4 : at + 8], "little") for at in range(0, len(records), 8)]
        return declared({"raw": types.hex()}, list(zip(self.starts, ids, strict=True)))
