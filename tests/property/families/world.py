"""What programs of families refer to: types, maps, functions; and their text as instructions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from pbt.isa.asm import assemble
from pbt.isa.insn import Insn
from pbt.uapi.btf import INT, PTR
from pbt.uapi.helpers import HELPERS
from pbt.verifier_sim import MapInfo, Verdict, verify
from pbt.verifier_sim.functions import Declared
from pbt.verifier_sim.progbtf import DECL_TAG, ProgramTypes, functions
from tests.unit.verifier_sim import objects

MOST_FUNCTIONS = 6  # of each kind: fn0 to fn5
GLOBALS = {  # name → parameters: name, type, tags
    "g_number": (("a", "u64"),),
    "g_memory": (("p", "*plain"),),
    "g_nonnull": (("p", "*plain", "nonnull"),),
    "g_trusted": (("p", "*task_struct", "trusted"),),
    "g_maybe": (("p", "*task_struct", "trusted", "nullable"),),
    "g_untrusted": (("p", "*task_struct", "untrusted"),),
    "g_context": (("c", "*__sk_buff", "ctx"),),
    "g_dynptr": (("d", "*bpf_dynptr"),),
    "g_arena": (("p", "*plain", "arena"),),
}


class Types(objects.Types):
    """As those of objects.py, with values that hold timers, kernel pointers and locks, and with global functions."""

    def __init__(self) -> None:
        super().__init__()
        self.struct("bpf_timer", 16, ("opaque", self.array(self.u64, 2), 0))
        for name in ("task_struct", "cgroup", "bpf_cpumask", "bpf_dynptr", "__sk_buff"):
            self.struct(name, 8, ("opaque", self.u64, 0))
        self.struct("timed", 32, ("t", self.ids["bpf_timer"], 0), ("x", self.u64, 16), ("y", self.u64, 24))
        self.struct(
            "kept", 48, ("task", self.kptr("task_struct"), 0), ("loose", self.kptr("task_struct", "kptr_untrusted"), 8),
            ("group", self.kptr("cgroup"), 16), ("mask", self.kptr("bpf_cpumask"), 24),
            ("each", self.kptr("plain", "percpu_kptr"), 32), ("x", self.u64, 40),
        )  # fmt: skip
        self.struct(
            "locked", 32, ("lock", self.ids["bpf_spin_lock"], 0), ("x", self.u64, 8), ("y", self.u64, 16)
        )
        number = self.maker.add(INT, "int", 4, 1 << 24 | 32)
        self.known = {"main": self.main}
        for name in (f"fn{n}" for n in range(MOST_FUNCTIONS)):
            self.known[name] = self.function(name, number, *((f"a{n}", self.u64) for n in range(5)))
        for name, params in GLOBALS.items():
            self.known[name] = self._global(name, number, params)
        self.data = self.maker.bytes()
        self.types = ProgramTypes.parse(self.data)

    def _global(self, name: str, result: int, params: Sequence[tuple[str, ...]]) -> int:
        pointers = [
            self.maker.add(PTR, "", self.ids[p[1][1:]]) if p[1][0] == "*" else self.u64 for p in params
        ]
        made = self.function(
            name, result, *((p[0], kind) for p, kind in zip(params, pointers, strict=True)), linkage=1
        )
        for at, param in enumerate(params):
            for tag in param[2:]:
                self.maker.add(DECL_TAG, f"arg:{tag}", made, at)
        return made


TYPES = Types()
_TYPED = (
    ("GRAPH", "ARRAY", 1, "graph"), ("BARE", "HASH", 4, "bare"), ("RES", "HASH", 4, "resilient"),
    ("WORKS", "ARRAY", 4, "works"), ("TIMED", "ARRAY", 4, "timed"), ("KEPT", "ARRAY", 4, "kept"),
    ("LOCKED", "HASH", 4, "locked"), ("LOCKONE", "ARRAY", 1, "locked"),
)  # fmt: skip
MAPS = (
    *(TYPES.map(*row) for row in _TYPED),
    MapInfo("ARENA", "ARENA", 0, 0, 10, flags=1 << 10),  # BPF_F_MMAPABLE
    MapInfo("HASH", "HASH", 4, 16, 8),
    MapInfo("ARRAY", "ARRAY", 4, 48, 4),
    MapInfo("ONE", "ARRAY", 4, 64, 1),
    MapInfo("RING", "RINGBUF", 0, 0, 4096),
    MapInfo("URING", "USER_RINGBUF", 0, 0, 4096),
    MapInfo("CELLS", "PERCPU_ARRAY", 4, 24, 2),
    MapInfo("TAILS", "PROG_ARRAY", 4, 4, 2),
)
STRUCTS = (*(row[3] for row in _TYPED), *[""] * (len(MAPS) - len(_TYPED)))  # of the values of MAPS
_VALUES = ("GRAPH", "LOCKONE", "ONE")  # in a program the addresses of their values, as are NAME@OFFSET
_PLACES = {info.name: at for at, info in enumerate(MAPS)}
_IDS = {name: helper.id for name, helper in HELPERS.items()}
_MAP = re.compile(r"(r\d) = ([A-Z]+)(?:@(\d+))?$")
_FUNCTION = re.compile(r"(r\d) = &(\w+)$")
_KIND = re.compile(r"(r\d) = TYPE (\w+)$")


class Program(NamedTuple):
    """A program as text: its functions' names and lines, the main one first."""

    prog_type: str
    functions: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def sleepable(self) -> bool:
        return self.prog_type == "SYSCALL"

    @property
    def text(self) -> str:
        return f"{self.prog_type}: " + " || ".join(
            f"{name}: {'; '.join(lines)}" for name, lines in self.functions
        )


class Built(NamedTuple):
    """A program as instructions; `starts`: functions and their first slots; `kfuncs`, `map_of`: as `verify` takes them."""

    program: Program
    insns: list[Insn]
    starts: list[tuple[str, int]]
    kfuncs: dict[int, str]
    map_of: dict[int, tuple[int, str, int]]

    @property
    def func_info(self) -> list[tuple[int, int]]:
        return [(slot, TYPES.known[name]) for name, slot in self.starts]

    def judge(self, **options: Any) -> Verdict:
        known = Declared(functions(TYPES.types, self.func_info), TYPES.types, TYPES.types.struct_sizes())
        return verify(
            self.insns, prog_type=self.program.prog_type, maps=MAPS, map_of=self.map_of, kfuncs=self.kfuncs,
            declared=known, sleepable=self.program.sleepable, **options,
        )  # fmt: skip


def build(program: Program) -> Built:
    """Assemble; ScriptError if it is no program."""
    names: list[str] = []
    lines: list[str] = []
    for name, body in program.functions:
        lines.append(f"{name}:")
        lines += [_translated(line, names) for line in body]
    insns = assemble("\n".join(lines), _IDS)
    starts, slot, wanted = [], 0, iter(line for line in lines if line)
    passed: dict[int, str] = {}
    heads = {name for name, _ in program.functions}
    for line in wanted:
        label = line.endswith(":")
        if label and line[:-1] in heads:
            starts.append((line[:-1], slot))
        if not label:
            goal = re.search(r"= func\[0\]\[0\] # (\w+)", line)
            if goal:
                passed[slot] = goal[1]
            slot += 2 if insns[slot].is_wide else 1
    first = dict(starts)
    for at, goal_name in passed.items():
        insns[at] = insns[at]._replace(imm=first.get(goal_name, 0) - at - 1)
    kfuncs = {
        at: names[insn.imm - 1] for at, insn in enumerate(insns) if (insn.opcode, insn.src_reg) == (0x85, 2)
    }
    map_of = {
        at: (insn.imm, "map_fd" if insn.src_reg == 1 else "map_value", insns[at + 1].imm)
        for at, insn in enumerate(insns)
        if insn.is_wide and insn.src_reg in (1, 2)
    }
    return Built(program, insns, starts, kfuncs, map_of)


def _translated(line: str, names: list[str]) -> str:
    """A line in the assembler's spelling; `names` grows by the kernel function that it calls."""
    if line.startswith("kcall "):
        names.append(line[6:])
        return f".insn 0x85 0 2 0 {len(names)}"
    if found := _MAP.match(line):
        way = "map_value" if found[3] or found[2] in _VALUES else "map_fd"
        return f"{found[1]} = {way}[{_PLACES[found[2]]}][{found[3] or 0}]"
    if found := _FUNCTION.match(line):
        return f"{found[1]} = func[0][0] # {found[2]}"
    if found := _KIND.match(line):
        return f"{found[1]} = {TYPES.ids[found[2]]}"
    return line
