"""The types of a program's variables and parameters: DIEs → `pbt.types`, and how C spells them (DWARF 5, chapter 5).

Structs read their members when asked. Typedefs and qualifiers are left out of types; the spelling keeps them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property

from pbt.data import NamedTuple
from pbt.dwarf import consts as c
from pbt.dwarf.info import DebugInfo
from pbt.dwarf.units import Die, Unit
from pbt.types import BOOL, CHAR, VOID, Array, Enum, Function, Int, Member, Pointer, Struct, Type

_THROUGH = {
    c.TAG_TYPEDEF: "", c.TAG_CONST_TYPE: "const ", c.TAG_VOLATILE_TYPE: "volatile ", c.TAG_RESTRICT_TYPE: "",
    c.TAG_ATOMIC_TYPE: "",
}  # fmt: skip
_POINTERS = {c.TAG_POINTER_TYPE: "*", c.TAG_REFERENCE_TYPE: "&", c.TAG_RVALUE_REFERENCE_TYPE: "&&"}
_AGGREGATES = {
    c.TAG_STRUCTURE_TYPE: "struct", c.TAG_CLASS_TYPE: "struct", c.TAG_UNION_TYPE: "union"
}  # fmt: skip
_NAMED = {**_AGGREGATES, c.TAG_ENUMERATION_TYPE: "enum"}
_MOST = 64  # types within one another: pointers to pointers, typedefs of typedefs
_UNSIGNED = (c.ATE_UNSIGNED, c.ATE_UNSIGNED_CHAR, c.ATE_BOOLEAN)
_FLOATS = (c.ATE_FLOAT, c.ATE_COMPLEX_FLOAT)


class Real(Int):
    """The bits of a floating-point number, which is passed otherwise than an integer is."""

    __slots__ = ()


class Param(NamedTuple):
    """A parameter of a function: its name ("" without one), its type, and the DIE of that (None: void)."""

    name: str
    type: Type
    die: Die | None


class Types:
    """The types that one file's debugging information describes."""

    def __init__(self, info: DebugInfo) -> None:
        self.info = info
        self._known: dict[tuple[str, int], Type] = {}

    def find(self, name: str) -> Type | None:
        """A type by its name: "struct item", "enum color", or that of a typedef."""
        unit, at = self._named.get(name, (None, 0))
        return self.type(unit.die(at)) if unit is not None else None

    @cached_property
    def _named(self) -> Mapping[str, tuple[Unit, int]]:
        """Where types with a name are defined, outside of functions."""
        found: dict[str, tuple[Unit, int]] = {}
        for unit in dict.fromkeys((*self.info.type_units, *self.info.units)):
            for die in unit.root.children():
                if c.AT_DECLARATION not in die.attributes and (die.tag in _NAMED or die.tag == c.TAG_TYPEDEF):
                    name = die.text(c.AT_NAME)
                    key = f"{_NAMED[die.tag]} {name}" if die.tag in _NAMED else name
                    if name:
                        found.setdefault(key, (unit, die.offset))
        return found

    # --- functions -----------------------------------------------------------------------------

    def params(self, function: Die) -> list[Param]:
        """The parameters of a function in their order, "..." left out."""
        found = []
        for child in function.children():
            if child.tag == c.TAG_FORMAL_PARAMETER:
                kind = _type_of(child)
                found.append(Param(child.name, self.type(kind), kind))
        return found

    def result(self, function: Die) -> Param:
        """What a function returns, without a name."""
        kind = _type_of(function)
        return Param("", self.type(kind), kind)

    # --- types ---------------------------------------------------------------------------------

    def type(self, die: Die | None, depth: int = 0) -> Type:
        """The type that a DIE describes; None is void. DwarfError for one that contains itself."""
        if die is None:
            return VOID
        if depth > _MOST:
            raise die.unit.section.damaged(f"the type at byte {die.offset} is nested too deeply")
        key = die.unit.section.name, die.offset
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._decode(die, depth + 1)
        return known

    def _decode(self, die: Die, depth: int) -> Type:
        if die.tag in _THROUGH:
            return self.type(_type_of(die), depth)
        if die.tag in _POINTERS:
            return Pointer(self.type(_type_of(die), depth), "user")
        if die.tag in _AGGREGATES:
            return self._aggregate(die)
        if die.tag == c.TAG_ENUMERATION_TYPE:
            return self._enum(die)
        if die.tag == c.TAG_ARRAY_TYPE:
            return self._array(die, depth)
        if die.tag == c.TAG_SUBROUTINE_TYPE:
            return Function((), VOID)
        if die.tag == c.TAG_BASE_TYPE:
            return _base_type(die)
        return VOID

    def _aggregate(self, die: Die) -> Type:
        name = f"{_AGGREGATES[die.tag]} {die.name or '(anon)'}"
        if c.AT_DECLARATION in die.attributes:
            return self.find(name) or Struct(name, 0, 1)
        size = die.number(c.AT_BYTE_SIZE) or 0
        return Struct(name, size, (size & -size if size % 8 else 8) or 1, lambda: tuple(self._members(die)))

    def _enum(self, die: Die) -> Type:
        values = tuple(
            (child.name, child.number(c.AT_CONST_VALUE) or 0)
            for child in die.children()
            if child.tag == c.TAG_ENUMERATOR
        )
        size = die.number(c.AT_BYTE_SIZE) or 4
        return Enum(die.name or "(anon)", size, any(value < 0 for _, value in values), values)

    def _array(self, die: Die, depth: int) -> Type:
        element = self.type(_type_of(die), depth)
        counts = [_count(child) for child in die.children() if child.tag == c.TAG_SUBRANGE_TYPE]
        if len(counts) > _MOST:
            raise die.unit.section.damaged(f"the array at byte {die.offset} has {len(counts)} dimensions")
        for count in reversed(counts or [0]):
            element = Array(element, count)
        return element

    def _members(self, die: Die) -> Iterator[Member]:
        for child in die.children():
            if child.tag not in (c.TAG_MEMBER, c.TAG_INHERITANCE) or c.AT_DECLARATION in child.attributes:
                continue
            kind = _type_of(child)
            name = child.name if child.tag == c.TAG_MEMBER else ""  # a base class, whose members are ours
            offset, bit, width = _position(child, die, self.type(kind).size)
            yield Member(name, self.type(kind), offset, bit, width, ctype=spelled(kind))


def _type_of(die: Die) -> Die | None:
    """The type of a variable, or of what a type points to or is made of; from its own unit where it has one."""
    kind = next((kind for each in die.origins() if (kind := each.reference(c.AT_TYPE)) is not None), None)
    return (kind.reference(c.AT_SIGNATURE) or kind) if kind is not None else None


def _base_type(die: Die) -> Type:
    size, encoding = die.number(c.AT_BYTE_SIZE) or 1, die.number(c.AT_ENCODING)
    if encoding == c.ATE_BOOLEAN and size == 1:
        return BOOL
    if die.name == "char":
        return CHAR
    if encoding in _FLOATS:
        return Real(size)
    return Int(size, encoding not in _UNSIGNED) if size in (1, 2, 4, 8, 16) else Array(Int(1), size)


def _count(subrange: Die) -> int:
    """The elements of one dimension; 0 where that is not known when compiling."""
    count, upper = subrange.number(c.AT_COUNT), subrange.number(c.AT_UPPER_BOUND)
    return max(0, count if count is not None else upper + 1 if upper is not None else 0)


def _offset(member: Die) -> int:
    """Bytes from the start of the struct; version 2 wrote an expression that adds them."""
    value = member.attributes.get(c.AT_DATA_MEMBER_LOCATION, 0)
    if isinstance(value, bytes) and value[:1] == bytes([c.OP_PLUS_UCONST]):
        found = shift = 0
        for byte in value[1:10]:
            found |= (byte & 0x7F) << shift
            shift += 7
        return found
    return value if isinstance(value, int) else 0


def _position(member: Die, struct: Die, unit: int) -> tuple[int, int, int]:
    """(byte, bit that it begins at in there, bits): 0 bits for what is no bitfield; as `types.Member` has them."""
    width, start, size = member.number(c.AT_BIT_SIZE), _offset(member), max(unit, 1)
    if not width or width > 64:
        return start, 0, 0
    from_top = member.number(c.AT_BIT_OFFSET)
    if from_top is None:
        position = 8 * start + (member.number(c.AT_DATA_BIT_OFFSET) or 0)
    elif member.unit.section.order == "<":  # counted from the highest bit of the unit that holds it
        position = 8 * start + 8 * (member.number(c.AT_BYTE_SIZE) or size) - from_top - width
    else:
        position = 8 * start + from_top
    at = position // 8 // size * size
    if position + width > 8 * (at + size) or at + size > (struct.number(c.AT_BYTE_SIZE) or 0):
        at = position // 8
    return at, position - 8 * at, width


def spelled(die: Die | None, depth: int = 0) -> str:
    """How C spells a type: "struct item*", "const char*", "word", "enum color"."""
    if die is None:
        return "void"
    if depth > _MOST:
        return "..."
    target = _type_of(die)
    if die.tag in _POINTERS:
        text = spelled(target, depth + 1)
        return f"{text[:-2]}(*)()" if text.endswith("()") else text + _POINTERS[die.tag]
    if die.tag in _THROUGH and die.tag != c.TAG_TYPEDEF:
        text, word = spelled(target, depth + 1), _THROUGH[die.tag]
        return f"{text} {word.strip()}".rstrip() if text.endswith("*") else word + text
    if die.tag == c.TAG_ARRAY_TYPE:
        counts = [_count(child) for child in die.children() if child.tag == c.TAG_SUBRANGE_TYPE]
        return spelled(target, depth + 1) + "".join(f"[{count}]" for count in counts or [0])
    if die.tag == c.TAG_SUBROUTINE_TYPE:
        return f"{spelled(target, depth + 1)} ()"
    keyword = _NAMED.get(die.tag)
    return f"{keyword} {die.name or '(anon)'}" if keyword else die.name or "void"
