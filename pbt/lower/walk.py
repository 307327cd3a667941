"""Loads through pointers to the kernel's structures: direct ones, where the verifier knows the type.

A pointer that the verifier knows is a value of kind "btf", and stands in `Body.known` beside the number that the
script computes with: whoever reads memory at that number may load through the pointer. A variable that is
assigned once hands the number on, and so the pointer; arithmetic, maps and paths that meet make other numbers,
behind which memory is probe-read. What may be loaded is asked of BTF as the verifier asks it, by place and size
alone (of a union's members, the first that reaches there counts): whatever type the script gives the bytes,
they are the same. Where such a load finds no memory it gives 0.
Source: btf_struct_walk() of kernel/bpf/btf.c, btf_ctx_access() there, check_ptr_to_btf_access() of verifier.c.
"""

from __future__ import annotations

from pbt.data import NamedTuple
from pbt.types import VOID, Array, Int, Pointer, Struct, Type, is_signed
from pbt.typing import TYPE_CHECKING
from pbt.uapi.trust import OR_NULL, RCU

if TYPE_CHECKING:
    from pbt.ir.core import Value
    from pbt.lower.body import Body
    from pbt.lower.memory import Loc


class Known(NamedTuple):
    """A pointer and what it points to; `null`: it must be compared with 0 before anything is loaded."""

    pointer: Value
    struct: Struct
    null: bool = False


class Found(NamedTuple):
    """What lies at a place of a structure: a number, or a pointer; to `target`, where the verifier says to what."""

    pointer: bool = False
    target: Struct | None = None
    null: bool = False


def find(struct: Struct, offset: int, size: int) -> Found | None:
    """What the verifier takes `size` bytes for; None where some kernel refuses to load them, or takes bits."""
    while offset + size <= struct.size:
        member = next(
            (m for m in struct.members if _end(m.offset, m.type, m.bit_offset, m.bit_size) > offset), None
        )
        if member is None or member.bit_size or member.offset > offset:
            return None
        element, end = member.type, member.offset + member.type.size
        while isinstance(element, Array):
            element = element.element
        if not element.size:
            return None
        start = member.offset + (offset - member.offset) // element.size * element.size
        if isinstance(element, Struct):
            struct, offset = element, offset - start
            continue
        if not isinstance(element, Pointer):
            return Found() if offset + size <= end and offset % size == 0 else None
        if (offset, size) != (start, element.size):
            return None
        return _pointer(struct, member.name, element)
    return None


def _end(offset: int, type_: Type, bit: int, bits: int) -> int:
    """The byte behind a member."""
    return offset + (-(-(bit + bits) // 8) if bits else type_.size)


def _pointer(struct: Struct, name: str, type_: Pointer) -> Found:
    field = struct.name.removeprefix("struct "), name
    null = field in OR_NULL or (type_.tag == "rcu" and field not in RCU)
    return Found(True, None if type_.tag == "percpu" else target(type_), null)


def target(type_: Type) -> Struct | None:
    """The structure of the kernel that a pointer points to, if it does and its members are known."""
    if isinstance(type_, Pointer) and type_.space == "kernel" and isinstance(type_.target, Struct):
        return type_.target if type_.target.size else None
    return None


# --- what is known ----------------------------------------------------------------------------


def wanted(body: Body) -> bool:
    """Not where failing reads are to be told (-kk), which direct loads are not; nor by the types of another kernel."""
    return body.unit.warnings < 2 and body.target.types_are_its_own


def remember(body: Body, pointer: Value, struct: Struct | None, null: bool = False) -> Value:
    """The number that a pointer of kind "btf" is, behind which memory is loaded directly from now on."""
    number = body.b.number(pointer)
    if struct is not None:
        body.known[number] = Known(pointer, struct, null)
    return number


# --- loads ------------------------------------------------------------------------------------


def load(body: Body, loc: Loc, type_: Type) -> Value | None:
    """A number from memory behind a known pointer; None where it has to be probe-read."""
    known = _known(body, loc)
    found = find(known.struct, loc.offset, type_.size) if known is not None else None
    if known is None or found is None:
        return None
    if known.null:
        return body.b.choose(
            "ne", known.pointer, 0, lambda: _load(body, known, found, loc.offset, type_), lambda: 0
        )
    return _load(body, known, found, loc.offset, type_)


def _load(body: Body, known: Known, found: Found, offset: int, type_: Type) -> Value:
    if not found.pointer:
        return body.b.load(known.pointer, offset, type_.size, is_signed(type_))
    return remember(body, body.b.load_pointer(known.pointer, offset, "btf"), found.target, found.null)


def loads(body: Body, loc: Loc, size: int) -> Known | None:
    """Through what to load `size` bytes that are to be copied, in the pieces of `Builder.copy`; None: probe-read."""
    known = _known(body, loc)
    if known is None or known.null or size > _COPIED:
        return None
    for at, width in body.b.pieces(size, loc.offset):
        found = find(known.struct, loc.offset + at, width)
        if found is None or found.pointer:
            return None
    return known


_COPIED = 32  # bytes: more are copied by one call


def _known(body: Body, loc: Loc) -> Known | None:
    return body.known.get(loc.base) if loc.space == "kernel" else None


# --- arguments --------------------------------------------------------------------------------

_NUMBERS = (
    VOID,
    *(Int(1, signed) for signed in (False, True)),
)  # what they point to has no type: texts, memory


def argument(body: Body, loc: Loc, type_: Type) -> Value | None:
    """A pointer in the context of a TRACING program, as a number; None where it has to be read as bytes.

    The verifier allows no arithmetic with a pointer whose type it knows, and no look at others.
    """
    if isinstance(type_, Pointer) and type_.target in _NUMBERS:
        return body.b.load(loc.base, loc.offset, 8)
    if loc.offset in body.there:
        return body.there[loc.offset]
    struct = target(type_)
    if struct is None or not _of_kernel(body):
        return None
    null = body.probe.expected_attach_type not in ("TRACE_FENTRY", "TRACE_FEXIT")
    return remember(body, body.b.load_pointer(loc.base, loc.offset, "btf"), struct, null)


def _of_kernel(body: Body) -> bool:
    """Whether the probe is in the kernel itself, whose types are those that structures were looked up in."""
    place = body.probe.attach_btf
    return wanted(body) and place is not None and place[0] == "func" and ":" not in place[1]
