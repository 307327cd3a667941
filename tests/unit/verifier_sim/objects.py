"""Programs with objects of their own, lists and trees: their types, their maps, the programs of objects.txt."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from pbt.isa.insn import Insn
from pbt.uapi.btf import ARRAY, DECL_TAG, FUNC, FUNC_PROTO, INT, PTR, STRUCT, TYPE_TAG
from pbt.verifier_sim import MapInfo, Verdict, verify
from pbt.verifier_sim.functions import Declared
from pbt.verifier_sim.layout import fields
from pbt.verifier_sim.progbtf import ProgramTypes, functions
from tests.unit.host.test_btf import Maker
from tests.unit.verifier_sim.test_kfuncs import build

_OPAQUE = {  # size of what the kernel keeps for itself
    "bpf_spin_lock": 4, "bpf_res_spin_lock": 4, "bpf_refcount": 4, "bpf_list_head": 16, "bpf_list_node": 24,
    "bpf_rb_root": 16, "bpf_rb_node": 32, "bpf_wq": 16, "bpf_task_work": 8,
}  # fmt: skip


class Types:
    """One BTF: kinds of objects, and of the values of the maps that hold them.

    PLAIN is numbers (16 bytes). ELEM: key, list node at 8, tree node at 32, count of references at 64; ITEM: key
    and list node at 8. HOLDER: a kernel pointer to PLAIN at 0, a number at 8. OWNER: a lock at 0, a list of ITEM
    at 8. LARGE: 600 bytes.
    """

    def __init__(self) -> None:
        m = self.maker = Maker()
        self.ids: dict[str, int] = {}
        self.u32 = m.add(INT, "unsigned int", 4, 32)
        self.u64 = m.add(INT, "unsigned long long", 8, 64)
        for name, size in _OPAQUE.items():
            unit = 8 if size % 8 == 0 else 4
            held = self.array(self.u64 if unit == 8 else self.u32, size // unit)
            self.struct(name, size, ("opaque", held, 0))
        ids = self.ids
        self.struct("plain", 16, ("a", self.u64, 0), ("b", self.u64, 8))
        self.struct("elem", 72, ("key", self.u64, 0), ("l", ids["bpf_list_node"], 8), ("r", ids["bpf_rb_node"], 32),
                    ("refs", ids["bpf_refcount"], 64))  # fmt: skip
        self.struct("item", 32, ("key", self.u64, 0), ("l", ids["bpf_list_node"], 8))
        self.struct("holder", 16, ("p", self.kptr("plain"), 0), ("x", self.u64, 8))
        self.struct("owner", 24, ("lock", ids["bpf_spin_lock"], 0), ("head", ids["bpf_list_head"], 8))
        self.contains("owner", 1, "item:l")
        self.struct("large", 600, ("a", self.array(self.u64, 75), 0))
        self.struct("graph", 40, ("lock", ids["bpf_spin_lock"], 0), ("head", ids["bpf_list_head"], 8),
                    ("tree", ids["bpf_rb_root"], 24))  # fmt: skip
        self.contains("graph", 1, "elem:l")
        self.contains("graph", 2, "elem:r")
        self.struct("bare", 56, ("lock", ids["bpf_spin_lock"], 0), ("head", ids["bpf_list_head"], 8),
                    ("elem", self.kptr("elem"), 24), ("plain", self.kptr("plain"), 32),
                    ("count", self.kptr("plain", "percpu_kptr"), 40), ("holder", self.kptr("holder"), 48))  # fmt: skip
        self.contains("bare", 1, "item:l")
        self.struct(
            "resilient", 24, ("lock", ids["bpf_res_spin_lock"], 0), ("x", self.u64, 8), ("y", self.u64, 16)
        )
        self.struct(
            "works", 32, ("wq", ids["bpf_wq"], 0), ("tw", ids["bpf_task_work"], 16), ("x", self.u64, 24)
        )
        number = m.add(INT, "int", 4, 1 << 24 | 32)
        void = m.add(PTR, "", 0)
        self.main = self.function("main", number, ("ctx", void))
        self.called = self.function("called", number, *((f"a{n}", self.u64) for n in range(5)))
        self.caught = self.function("caught", number, ("ctx", void))
        self.maker.add(DECL_TAG, "exception_callback:handler", self.caught, -1)
        self.seconds = {
            "fn": self.called,
            "handler": self.function("handler", number, ("cookie", self.u64), linkage=1),
            "given": self.function("given", number, ("a", self.u64), linkage=1),
            "many": self.function("many", number, *((f"a{n}", self.u64) for n in range(6)), linkage=1),
        }
        self.data = m.bytes()
        self.types = ProgramTypes.parse(self.data)

    def array(self, element: int, count: int) -> int:
        return self.maker.add(ARRAY, "", 0, element, self.u32, count)

    def struct(self, name: str, size: int, *members: tuple[str, int, int]) -> None:
        m = self.maker
        words = [word for label, kind, at in members for word in (m.text(label), kind, 8 * at)]
        self.ids[name] = m.add(STRUCT, name, size, *words, count=len(members))

    def kptr(self, name: str, tag: str = "kptr") -> int:
        return self.maker.add(PTR, "", self.maker.add(TYPE_TAG, tag, self.ids[name]))

    def contains(self, name: str, member: int, what: str) -> None:
        self.maker.add(DECL_TAG, f"contains:{what}", self.ids[name], member)

    def function(self, name: str, result: int, *params: tuple[str, int], linkage: int = 0) -> int:
        m = self.maker
        words = [word for label, kind in params for word in (m.text(label), kind)]
        return m.add(FUNC, name, m.add(FUNC_PROTO, "", result, *words, count=len(params)), count=linkage)

    def map(self, name: str, kind: str, entries: int, struct: str) -> MapInfo:
        id = self.ids[struct]
        size = self.types.row(id).size
        return MapInfo(name, kind, 4, size, entries, fields=tuple(fields(self.types, id)))


TYPES = Types()
STRUCTS = ("graph", "bare", "resilient", "works", "", "works")  # of the values of MAPS
MAPS = (
    TYPES.map("GRAPH", "ARRAY", 1, "graph"),
    TYPES.map("BARE", "HASH", 4, "bare"),
    TYPES.map("RES", "HASH", 4, "resilient"),
    TYPES.map("WORKS", "ARRAY", 4, "works"),
    MapInfo("ARENA", "ARENA", 0, 0, 10, flags=1 << 10),  # BPF_F_MMAPABLE
    TYPES.map("OTHER", "ARRAY", 4, "works"),
)
"""GRAPH in a program is the address of its value, the others are the maps."""
_KINDS = ("plain", "elem", "item", "holder", "owner", "large")


class Case(NamedTuple):
    """A program; `function`: where its second function begins, -1 if it has none; `second`: what its types call it."""

    reason: str  # "" if accepted
    prog_type: str
    insns: list[Insn]
    kfuncs: dict[int, str]
    map_of: dict[int, tuple[int, str, int]]
    function: int
    second: str
    text: str

    @property
    def func_info(self) -> list[tuple[int, int]]:
        main = TYPES.caught if self.second == "handler" else TYPES.main
        described = self.function > 0 and self.second in TYPES.seconds
        return [(0, main), *([(self.function, TYPES.seconds[self.second])] if described else [])]

    def judge(self, **options: Any) -> Verdict:
        known = Declared(functions(TYPES.types, self.func_info), TYPES.types, TYPES.types.struct_sizes())
        return verify(
            self.insns,
            prog_type=self.prog_type,
            maps=MAPS,
            map_of=self.map_of,
            kfuncs=self.kfuncs,
            declared=known,
            sleepable=self.prog_type == "SYSCALL",
            **options,
        )


_MACROS = {
    "NEW": "r2 = 0; kcall bpf_obj_new_impl; if r0 == 0 goto out",
    "UNLOCK": "r1 = GRAPH; call spin_unlock",
    "LOCK": "r1 = GRAPH; call spin_lock",
    "LOOK": "*(u32 *)(r10 -4) = 0; r2 = r10; r2 += -4; call map_lookup_elem",
    "END": "out: r0 = 0; exit",
    "CALLED": "fn: r0 = 0; exit",
}


def expanded(text: str) -> str:
    """A program without the macros."""
    for name, meaning in _MACROS.items():
        text = text.replace(name, meaning)
    return text


def made(reason: str, text: str) -> Case:
    """A program: [TYPE: ]instructions, separated by ";", with the macros above, names of kinds and maps.

    "fn:" begins a second function, "handler:" one that handles exceptions, "given:" a global one of a number, "many:"
    one of too many, "undescribed:" one that the types do not have.
    """
    prog_type, colon, rest = text.partition(": ")
    prog_type, body = (prog_type, rest) if colon and prog_type.isupper() else ("SCHED_CLS", text)
    body = expanded(body)
    body = re.sub(r"(r\d) = FUNC", r"\1 = func[0][0]", body)
    for name in _KINDS:
        body = body.replace(f"r1 = {name.upper()}", f"r1 = {TYPES.ids[name]}")
    for at, info in enumerate(MAPS):
        body = body.replace(f"= {info.name}", f"= {'map_value' if at == 0 else 'map_fd'}[{at}][0]")
    second = next((name for name in (*TYPES.seconds, "undescribed") if f"{name}:" in body), "fn")
    body = body.replace(f"{second}:", "fn:").replace(f"call {second}", "call fn")
    first = body.partition("fn:")[0].rstrip("; ")
    insns, kfuncs = build(body)
    first = first.replace("call fn", "call pc+0")
    function = len(build(first)[0]) if "fn:" in body else -1
    wide = {at: insn for at, insn in enumerate(insns) if insn.is_wide}
    for at, insn in wide.items():
        if insn.src_reg == 4:
            insns[at] = insn._replace(imm=function - at - 1)
    map_of = {
        at: (insn.imm, "map_fd" if insn.src_reg == 1 else "map_value", 0)
        for at, insn in wide.items()
        if insn.src_reg in (1, 2)
    }
    return Case(
        "" if reason == "accepted" else reason, prog_type, insns, kfuncs, map_of, function, second, text
    )


def cases() -> list[Case]:
    lines = Path(__file__).with_name("objects.txt").read_text().splitlines()
    rows = (line.partition(" | ") for line in lines if line and not line.startswith("#"))
    return [made(reason, text) for reason, _, text in rows]
