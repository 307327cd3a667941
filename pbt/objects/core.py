"""What an object leaves open until its kernel is known: layouts of structs (CO-RE), externs.

Source: Documentation/bpf/llvm_reloc.rst, "CO-RE Relocations"; enum bpf_core_relo_kind of <linux/bpf.h>.
"""

from __future__ import annotations

from collections.abc import Mapping

from pbt.data import NamedTuple
from pbt.isa import opcodes as op
from pbt.isa.insn import Insn
from pbt.objects.extension import CoreRelocation
from pbt.source import UsageError
from pbt.types import Array, Bool, Enum, Int, Pointer, Struct, Type
from pbt.typing import TYPE_CHECKING, Final
from pbt.uapi.btf import ARRAY, DATASEC, ENUM, ENUM64, FUNC, INT, PTR, STRUCT, UNION, VAR
from pbt.verifier_sim.progbtf import BadTypes, ProgramTypes, Row
from pbt.verifier_sim.reg import MapInfo

if TYPE_CHECKING:
    from pbt.host.btf import Btf

(
    _OFFSET, _SIZE, _EXISTS, _SIGNED, _LSHIFT, _RSHIFT, _ID_LOCAL, _ID_TARGET, _TYPE_EXISTS, _TYPE_SIZE,
    _VALUE_EXISTS, _VALUE, _TYPE_MATCHES,
) = range(13)  # fmt: skip
_TESTS: Final = (_EXISTS, _TYPE_EXISTS, _VALUE_EXISTS, _TYPE_MATCHES)
_POISON = 195896080  # the "helper" that libbpf puts where a kernel lacks something: 0xbad2310
_KIND = {STRUCT: "struct", UNION: "union", ENUM: "enum", ENUM64: "enum", INT: "int"}
_RDONLY_PROG = 1 << 7


# --- externs ----------------------------------------------------------------------------------


class Extern(NamedTuple):
    """A name of the kernel's: section ".kconfig" or ".ksyms"; of options, place and size in bytes."""

    section: str
    offset: int = 0
    size: int = 0


def externs(types: ProgramTypes) -> dict[str, Extern]:
    """All names that the object expects the kernel to have."""
    out = {}
    for row in types.rows:
        if row.kind == DATASEC and row.name in (".kconfig", ".ksyms"):
            at = 0
            for id in row.words[::3]:
                name, size = types.row(id), 0
                if row.name == ".kconfig" and name.kind == VAR:
                    size = types.size_of(name.size) or 0
                out[name.name] = Extern(row.name, at, size)
                at += (size + 7) & ~7
    return out


def configuration(known: Mapping[str, Extern], release: str) -> MapInfo:
    """The map of the kernel's options; its content is known if they are all of the release."""
    options = {name: found for name, found in known.items() if found.section == ".kconfig"}
    size = max((e.offset + (e.size + 7 & ~7) for e in options.values()), default=8)
    data = b""
    if set(options) == {"LINUX_KERNEL_VERSION"} and release:
        from pbt.verifier_sim.kernels import release as numbers

        major, minor, patch = (*numbers(release), 0, 0, 0)[:3]
        data = (major << 16 | minor << 8 | min(patch, 255)).to_bytes(8, "little")
    return MapInfo(".kconfig", "ARRAY", 4, size, 1, _RDONLY_PROG, (), None, data)


def kernel_id(types: Btf | None, kind: str, name: str) -> int:
    """The number of a function or variable in the kernel's types; 0 if it is not there."""
    return (types.find(kind, name) or 0) if types else 0


# --- CO-RE ------------------------------------------------------------------------------------


class _Found(NamedTuple):
    """A field: its place in bits, its width in bits if it is a bitfield, its type (local: a row)."""

    bits: int
    width: int
    size: int
    signed: bool
    pointer: bool


class Untyped(Exception):
    """What an instruction is to be depends on types of the kernel that are not given."""


class _Lacking(Exception):
    """The kernel has no such thing: the message says what."""


def relocate(
    insns: list[Insn], slot: int, row: CoreRelocation, types: ProgramTypes, kernel: Btf | None
) -> str:
    """Fill in one instruction; "" or what the kernel lacks, and then the instruction may not be reached."""
    if row.kind not in range(13):
        raise UsageError(f"instruction {slot} has a relocation of kind {row.kind}, which does not exist")
    insn = insns[slot]
    try:
        if row.kind == _ID_LOCAL:
            value, size = row.type, None
        elif kernel is None:
            raise Untyped
        else:
            value, size = _value(row, types, kernel, insn)
    except _Lacking as lacking:
        if row.kind not in _TESTS:
            insns[slot] = Insn(op.JMP | op.CALL, 0, 0, 0, _POISON)
            if insn.is_wide and slot + 1 < len(insns):
                insns[slot + 1] = insns[slot]
            return str(lacking)
        value, size = 0, None
    insns[slot : slot + 2] = _patched(insns[slot : slot + 2], value, size)
    return ""


def _patched(insns: list[Insn], value: int, size: int | None) -> list[Insn]:
    insn = insns[0]
    if insn.is_wide and len(insns) == 2:
        low, high = value & 0xFFFFFFFF, value >> 32 & 0xFFFFFFFF
        return [insn._replace(imm=_signed(low)), insns[1]._replace(imm=_signed(high))]
    if insn.opcode & 7 in (op.LDX, op.ST, op.STX):
        code = insn.opcode if size is None else insn.opcode & ~0x18 | _CODES[size]
        return [insn._replace(offset=value & 0x7FFF, opcode=code), *insns[1:]]
    return [insn._replace(imm=_signed(value & 0xFFFFFFFF)), *insns[1:]]


_CODES = {4: op.W, 2: op.H, 1: op.B, 8: op.DW}


def _signed(value: int) -> int:
    return (value ^ 1 << 31) - (1 << 31)


def _value(row: CoreRelocation, types: ProgramTypes, kernel: Btf, insn: Insn) -> tuple[int, int | None]:
    """The number for an instruction, and the size that its access is to have now (None: as it was)."""
    id, local = types.plain(row.type)
    name = local.name.partition("___")[0]
    keyword = _KIND.get(local.kind)
    path = [int(part) if part.isdigit() else 0 for part in row.access.split(":")] or [0]
    if row.kind in (_VALUE, _VALUE_EXISTS):
        if path[0] >= local.vlen or local.kind not in (ENUM, ENUM64):
            raise BadTypes(f"{name} has no value number {path[0]}")
        wanted = types.text(local.words[(3 if local.kind == ENUM64 else 2) * path[0]])
        return _enumerator(kernel, name, wanted.partition("___")[0]), None
    found = kernel.find(keyword, name) if keyword and name else None
    named = types.row(row.type)
    if found is None and keyword is None:
        found = kernel.find("typedef", named.name.partition("___")[0])
    if found is None:
        raise _Lacking(f"this kernel has no {keyword or 'type'} {name or named.name}")
    target = kernel.type(found)
    if row.kind == _ID_TARGET:
        return found, None
    if row.kind == _TYPE_SIZE:
        return target.size, None
    if row.kind == _TYPE_EXISTS:
        return 1, None
    if row.kind == _TYPE_MATCHES:
        return _matches(local, types, target), None
    before, after, text = _walk(path, id, types, target)
    return _field(row.kind, before, after, text, insn)


def _enumerator(kernel: Btf, name: str, wanted: str) -> int:
    found = kernel.find("enum", name)
    target = kernel.type(found) if found is not None else None
    for value, number in target.values if isinstance(target, Enum) else ():
        if value == wanted:
            return number
    raise _Lacking(f"this kernel has no {wanted} of enum {name}")


def _matches(local: Row, types: ProgramTypes, target: Type) -> int:
    """Whether the kernel's type has all that the local one has."""
    if isinstance(target, Struct) and local.kind in (STRUCT, UNION):
        return int(all(not name or target.find(name) for name, *_ in types.members(local)))
    if isinstance(target, Enum):
        step = 3 if local.kind == ENUM64 else 2
        names = {name for name, _ in target.values}
        return int(all(types.text(at).partition("___")[0] in names for at in local.words[::step]))
    return 1


def _walk(path: list[int], id: int, types: ProgramTypes, target: Type) -> tuple[_Found, _Found, str]:
    """Follow a path through the local type and, by names, through the kernel's: both fields, and the words."""
    _, row = types.plain(id)
    text, bits, there, width, twidth = row.name, 0, 8 * target.size * path[0], 0, 0
    bits = 8 * (types.size_of(id) or 0) * path[0]
    for index in path[1:]:
        if row.kind in (STRUCT, UNION):
            if index >= row.vlen:
                raise BadTypes(f"{text} has no member {index}")
            name, id, place, width = list(types.members(row))[index]
            bits += place
            if name:
                text += f".{name}"
                member = target.find(name.partition("___")[0]) if isinstance(target, Struct) else None
                if member is None:
                    raise _Lacking(f"this kernel has no {text}")
                there += 8 * member.offset + member.bit_offset
                target, twidth = member.type, member.bit_size
        elif row.kind == ARRAY:
            id = row.words[0]
            bits += 8 * (types.size_of(id) or 0) * index
            text += f"[{index}]"
            if not isinstance(target, Array) or (target.count and index >= target.count):
                raise _Lacking(f"this kernel has no {text}")
            target = target.element
            there += 8 * target.size * index
        else:
            raise BadTypes(f"{text} has no parts")
        id, row = types.plain(id)
    if _sort(row) != _sort_of(target):
        raise _Lacking(f"this kernel has another kind of {text}")
    signed = bool(row.words[0] >> 24 & 1) if row.kind == INT else row.flag
    local = _Found(bits, width, types.size_of(id) or 0, signed, row.kind == PTR)
    pointer = isinstance(target, Pointer)
    return local, _Found(there, twidth, target.size, bool(getattr(target, "signed", False)), pointer), text


def _sort(row: Row) -> str:
    names = {PTR: "pointer", ARRAY: "array", STRUCT: "struct", UNION: "struct", FUNC: "function"}
    return names.get(row.kind, "number")


def _sort_of(type_: Type) -> str:
    if isinstance(type_, Int | Bool | Enum):
        return "number"
    for sort, kind in (("pointer", Pointer), ("array", Array), ("struct", Struct)):
        if isinstance(type_, kind):
            return sort
    return "function"


def _unit(field: _Found) -> tuple[int, int]:
    """Byte and size of the load that gets a field: of a bitfield, the aligned unit that holds it."""
    if not field.width:
        return field.bits // 8, field.size
    size = field.size or 1
    start = field.bits // 8 // size * size
    while field.bits + field.width - 8 * start > 8 * size and size < 8:
        size *= 2
        start = field.bits // 8 // size * size
    return start, size


def _field(kind: int, local: _Found, found: _Found, text: str, insn: Insn) -> tuple[int, int | None]:
    start, size = _unit(found)
    if kind == _EXISTS:
        return 1, None
    if kind == _SIZE:
        return size, None
    if kind == _SIGNED:
        return int(found.signed), None
    width = found.width or 8 * size
    if kind == _LSHIFT:
        return 64 - (found.bits + width - 8 * start), None
    if kind == _RSHIFT:
        return 64 - width, None
    before = _unit(local)[1]
    loads = insn.opcode & 7 in (op.LDX, op.ST, op.STX)
    if not loads or size == before or size not in _CODES or found.width or local.width:
        return start, None
    if (local.pointer and found.pointer) or not (local.signed or found.signed):
        return start, size
    raise _Lacking(f"{text} has {size} bytes in this kernel and {before} in the object, and it is signed")


__all__ = ["Extern", "Untyped", "configuration", "externs", "kernel_id", "relocate"]
