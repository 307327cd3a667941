"""One register (or spilled register) as the verifier sees it."""

from __future__ import annotations

from pbt.data import NamedTuple
from pbt.isa.insn import Insn
from pbt.typing import Any, Final
from pbt.verifier_sim.scalar import UNKNOWN, ZERO, Scalar, const
from pbt.verifier_sim.tnum import M32

Deps = tuple[tuple[Any, tuple[int, int]], ...]
"""Where a number came from: (checkpoint, (frame, place)); see explore.Node."""


def names(text: str) -> frozenset[str]:
    """The words of a text, as a set."""
    return frozenset(text.split())


class Field(NamedTuple):
    """A field of a map's value that the kernel keeps for itself.

    kind: "spin_lock", "timer", "wq", "kptr" (referenced), "kptr_untrusted", "kptr_percpu", "uptr",
    "list_head", "rb_root" …; off, size: bytes; struct: what a pointer points to, a list or tree holds; node: where
    in that structure the list's or tree's node lies (-1: unknown).
    """

    kind: str
    off: int
    size: int
    struct: str = ""
    node: int = -1


class MapInfo(NamedTuple):
    """What the verifier knows of a map; `map_type` as in uapi.maps.

    data: of the one element, if programs only read it and it was frozen before they load. inner:
    what the maps inside look like. fields: see `Field`.
    """

    name: str
    map_type: str
    key_size: int
    value_size: int
    max_entries: int
    flags: int = 0
    fields: tuple[Field, ...] = ()
    inner: MapInfo | None = None
    data: bytes = b""
    inner_of: str = ""  # the map of maps that this map was found in


UNSHOWN = ("packet_", "non_own_")
"""Modifiers that the kernel has no word for. packet_: memory that lies in a packet; non_own_: an object that a
list or tree holds, until the lock of that is given back."""


class Reg(NamedTuple):
    """A value: its kind, and for a pointer where it points.

    kind: "scalar", "uninit", or a kind of pointer in the kernel's words ("ctx", "fp", "map_value" …); "own": to
    an object that the program made (the kernel's "ptr_" as well).
    num: the number, or the variable part of a pointer's offset; off: the fixed part, in bytes.
    id: what else has the same unknown origin (0: nothing): linked numbers, or-null pointers, packets.
    obj: a MapInfo, the name of a BTF struct, a frame number for "fp", a slot for "func".
    size: bytes of "mem"; checked range of "pkt". ref: the reference that must be released (0: none).
    delta: distance from the other numbers of the same id, which an addition of `size` bits (64, 32) made.
    mods: "rdonly_", "ringbuf_", "untrusted_" …; those of `UNSHOWN` are ours.
    """

    kind: str
    num: Scalar = ZERO
    off: int = 0
    id: int = 0
    null: bool = False
    obj: Any = None
    size: int = 0
    ref: int = 0
    delta: int = 0
    mods: str = ""
    deps: Deps = ()

    @property
    def is_scalar(self) -> bool:
        return self.kind == "scalar"

    @property
    def type_name(self) -> str:
        """As the kernel prints it: "map_value_or_null", "ptr_or_null_task_struct"."""
        mods = self.mods
        for word in UNSHOWN:
            mods = mods.replace(word, "")
        if self.kind in ("ptr_", "own"):
            return f"{mods}ptr_{'or_null_' if self.null else ''}"
        return f"{mods}{self.kind}{'_or_null' if self.null else ''}"


UNINIT = Reg("uninit")
ANY = Reg("scalar", UNKNOWN)
NULL = Reg("scalar", ZERO)


_new: Final = tuple.__new__  # what Reg(…) does in the end, where millions are made


def number(scalar: Scalar, deps: Deps = ()) -> Reg:
    return _new(Reg, ("scalar", scalar, 0, 0, False, None, 0, 0, 0, "", deps))


def with_number(reg: Reg, num: Scalar, deps: Deps) -> Reg:
    """The register with another number of another origin."""
    return _new(Reg, (reg[0], num, *reg[2:10], deps))


def with_origin(reg: Reg, deps: Deps) -> Reg:
    return _new(Reg, (*reg[:10], deps))


def moved(reg: Reg, off: int) -> Reg:
    """The pointer with another fixed offset."""
    return _new(Reg, (reg[0], reg[1], off, *reg[3:]))


_exact: dict[int, Reg] = {}


def exact(value: int) -> Reg:
    """A known number; small tables of them are shared."""
    found = _exact.get(value)
    if found is None:
        found = Reg("scalar", const(value))
        if len(_exact) < 4096:
            _exact[value] = found
    return found


def immediate(insn: Insn, wide: bool) -> int:
    """The operand in an instruction, sign extended or (32 bits) not."""
    return insn.imm if wide else insn.imm & M32


def merge_deps(a: Deps, b: Deps) -> Deps:
    """The union of two sets of origins."""
    if not b or a is b or a == b:
        return a
    if not a:
        return b
    return a + tuple(dep for dep in b if dep not in a)


def tnum_text(num: Scalar) -> str:
    """Known bits as the kernel prints them."""
    if not num.mask:
        return f"{num.value:#x}" if num.value else "0"
    return f"({num.value:#x}; {num.mask:#x})"


def _number(value: int) -> str:
    """A bound as the kernel prints it: small ones decimal, others as 64 bits in hexadecimal."""
    return str(value) if -(1 << 15) <= value < 1 << 16 else f"{value & (1 << 64) - 1:#x}"


def _bounds(s: Scalar) -> str:
    """As print_scalar_ranges() of the kernel: equal bounds share one number."""
    rows = [
        (name, value)
        for name, value, default in (
            ("smin", s.smin, UNKNOWN.smin), ("smax", s.smax, UNKNOWN.smax),
            ("umin", s.umin, 0), ("umax", s.umax, UNKNOWN.umax),
            ("smin32", s.s32min, UNKNOWN.s32min), ("smax32", s.s32max, UNKNOWN.s32max),
            ("umin32", s.u32min, 0), ("umax32", s.u32max, M32),
        )
        if value != default
    ]  # fmt: skip
    parts = []
    while rows:
        _, value = rows[0]
        same = [name for name, other in rows if other == value]
        rows = [row for row in rows if row[1] != value]
        parts.append(f"{'='.join(same)}={_number(value)}")
    if s.mask != UNKNOWN.mask or s.value:
        parts.append(f"var_off=({s.value:#x}; {s.mask:#x})")
    return ",".join(parts)


def draw(reg: Reg) -> str:
    """The value in the style of the kernel's log: "map_value(map=@,ks=4,vs=8)", "fp-8", "scalar()"."""
    if reg.kind == "scalar":
        value = reg.num.const
        if value is not None:
            return str(reg.num.smin)
        linked = f"id={reg.id}" + (f"{reg.delta:+d}" if reg.delta else "") if reg.id else ""
        return f"scalar({','.join(filter(None, (linked, _bounds(reg.num))))})"
    if reg.kind == "fp":
        var = "" if reg.num is ZERO else f"({_bounds(reg.num)})"
        return f"fp{reg.off}{var}"
    if reg.kind == "uninit":
        return "?"
    parts = []
    if reg.id:
        parts.append(f"id={reg.id}")
    if reg.ref:
        parts.append(f"ref_obj_id={reg.ref}")
    if isinstance(reg.obj, MapInfo):
        parts.append(f"map={reg.obj.name},ks={reg.obj.key_size},vs={reg.obj.value_size}")
    elif reg.kind == "mem":
        parts.append(f"sz={reg.size}")
    elif reg.kind == "pkt":
        parts.append(f"r={reg.size}")
    if reg.off:
        parts.append(f"off={reg.off}")
    if reg.num.const != 0:
        parts.append(_bounds(reg.num))
    name = reg.type_name + (str(reg.obj) if reg.kind in ("ptr_", "own") and reg.obj else "")
    return f"{name}({','.join(parts)})"
