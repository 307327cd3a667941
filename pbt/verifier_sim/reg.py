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
