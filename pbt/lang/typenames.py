"""Type names → types: C's own, the script's definitions, the kernel's BTF."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pbt.lang import ast
from pbt.source import ScriptError, nearest
from pbt.types import (
    BOOL,
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
    VOID,
    Array,
    Buffer,
    Enum,
    Function,
    Int,
    Member,
    Pointer,
    Str,
    Struct,
    Type,
    is_integral,
)

if TYPE_CHECKING:
    from pbt.host.btf import Btf

_BASE: dict[str, Type] = {
    "void": VOID, "bool": BOOL, "_Bool": BOOL,
    **{f"{'' if t.signed else 'u'}int{8 * t.size}{suffix}": t
       for t in (I8, I16, I32, I64, U8, U16, U32, U64) for suffix in ("", "_t")},
    **{f"{prefix}{'s' if t.signed else 'u'}{8 * t.size}": t
       for t in (I8, I16, I32, I64, U8, U16, U32, U64) for prefix in ("", "__")},
    **{f"__be{8 * t.size}": t for t in (U16, U32, U64)},
    "char": I8, "short": I16, "int": I32, "long": I64, "signed": I32, "unsigned": U32,
    **{f"{kind}_t": I64 for kind in ("sum", "min", "max", "avg")}, "count_t": U64,
    **{f"u{kind}_t": U64 for kind in ("sum", "min", "max", "avg")},
    "size_t": U64, "ssize_t": I64, "pid_t": I32, "uid_t": U32, "gid_t": U32, "dev_t": U32, "off_t": I64,
    "loff_t": I64, "mode_t": U32, "uintptr_t": U64, "intptr_t": I64, "wchar_t": I32, "sector_t": U64,
    "socklen_t": U32, "in_addr_t": U32, "in_port_t": U16, "sa_family_t": U16, "time_t": I64, "clock_t": I64,
}  # fmt: skip
_SIZES = {"char": 1, "short": 2, "long": 8}


NO_BTF = "the kernel's own types are unknown, as it offers no BTF here: define the type in the script"


class TypeNames:
    """Resolves the type names of one script."""

    def __init__(self, definitions: Sequence[ast.StructDef | ast.EnumDef], btf: Btf | None) -> None:
        self._btf = btf
        self._defined: dict[str, ast.StructDef | ast.EnumDef] = {}
        self._made: dict[str, Type] = {}
        self._under_way: set[str] = set()
        self.constants: dict[str, tuple[Type, int]] = {}
        for node in definitions:
            kind = node.kind if isinstance(node, ast.StructDef) else "enum"
            self._collect(f"{kind} {node.name}", node)

    def _collect(self, spelled: str, node: ast.StructDef | ast.EnumDef) -> None:
        if node.name:
            self._defined[spelled] = node
        if isinstance(node, ast.EnumDef):
            self._made[spelled if node.name else f"enum {id(node)}"] = self._enum(node)
            return
        for member in node.members:
            if member.inline is not None:
                inner = member.inline
                kind = inner.kind if isinstance(inner, ast.StructDef) else "enum"
                self._collect(f"{kind} {inner.name}", inner)

    def _enum(self, node: ast.EnumDef) -> Enum:
        values, at = [], 0
        for name, number in node.values:
            at = at if number is None else number
            values.append((name, at))
            at += 1
        signed = any(v < 0 for _, v in values)
        size = 4 if all(-(1 << 31) <= v < 1 << 32 for _, v in values) else 8
        made = Enum(node.name or "(anon)", size, signed, tuple(values))
        self.constants.update({name: (made, value) for name, value in values})
        return made

    def constant(self, name: str) -> tuple[Type, int] | None:
        """An enum constant of the script or of the kernel."""
        return self.constants.get(name) or (self._btf.enum_constant(name) if self._btf else None)

    def resolve(self, node: ast.TypeName) -> Type:
        """The type that a name stands for; ScriptError if nobody knows it."""
        return shaped(self._words(node), node.stars, node.dims)

    def find(self, words: str) -> Type | None:
        """A type without stars and dimensions, by its words; None if nobody knows it."""
        if words in self._defined:
            return self._definition(words)
        if words in self._made:
            return self._made[words]
        if words in _BASE:
            return _BASE[words]
        parts = [p for p in words.split() if p not in ("const", "volatile")]
        if parts and all(p in ("unsigned", "signed", "char", "short", "int", "long") for p in parts):
            size = next((_SIZES[p] for p in parts if p in _SIZES), 4)
            return Int(size, "unsigned" not in parts)
        return self._btf.lookup(" ".join(parts)) if self._btf else None

    def _words(self, node: ast.TypeName) -> Type:
        if node.words == "string" and node.dims:
            return Str(node.dims[-1] or 1)
        if node.words == "buffer" and node.dims:
            return Buffer(node.dims[-1] or 1)
        found = self.find(node.words)
        if found is not None:
            return found
        hint = "" if self._btf else NO_BTF
        if self._btf and not node.words.startswith(("struct ", "union ", "enum ")):
            for kind in ("struct", "union", "enum"):
                if self._btf.lookup(f"{kind} {node.words}") is not None:
                    hint = f"did you mean {kind} {node.words}?"
        if self._btf and not hint:
            kind, _, name = node.words.rpartition(" ")
            kind = kind if kind in ("struct", "union", "enum") else ""
            close = nearest(name, self._btf.names(kind or "typedef"), 1)
            hint = f"did you mean {kind} {close[0]}?".replace("  ", " ") if close else ""
        raise ScriptError(f'Cannot resolve unknown type "{node.words}"', node.span, hint)

    def _definition(self, words: str) -> Type:
        if words not in self._made:
            node = self._defined[words]
            assert isinstance(node, ast.StructDef)
            if words in self._under_way:
                raise ScriptError(f"{words} contains itself", node.span, "a pointer to itself would do")
            self._under_way.add(words)
            try:
                self._made[words] = self._struct(node, words)
            finally:
                self._under_way.discard(words)
        return self._made[words]

    def _struct(self, node: ast.StructDef, name: str) -> Struct:
        """Lay members out as C does on LP64: natural alignment, bitfields packed into their type.

        What pointers point to does not matter here, and may be this very struct: it is looked up later.
        """
        at = most = 0  # bits
        align = 1
        places: list[tuple[ast.FieldDef, int, int]] = []  # member, byte, bit
        for member in node.members:
            type_ = self._member_type(member, layout=True)
            own = 1 if node.packed else type_.align
            start = 0 if node.kind == "union" else at
            if not member.name and member.inline is None and not member.bits:
                at = -(-at // (8 * type_.size)) * 8 * type_.size  # a bitfield of width 0 ends its unit
                continue
            if member.bits and (not is_integral(type_) or member.bits > 8 * type_.size):
                raise ScriptError(f"{member.bits} bits do not fit '{type_}'", member.span)
            if member.bits:
                unit = 8 * type_.size
                if start // unit != (start + member.bits - 1) // unit:
                    start = -(-start // unit) * unit
                byte, end = start // unit * type_.size, start + member.bits
            else:
                start = -(-start // (8 * own)) * 8 * own
                byte, end = start // 8, start + 8 * type_.size
            if member.name or member.inline is not None:
                align = max(align, own)
                places.append((member, byte, start - 8 * byte))
            at, most = end, max(most, end)
        size = -(-most // (8 * align)) * align

        def members() -> tuple[Member, ...]:
            return tuple(Member(m.name, self._member_type(m), byte, bit, m.bits) for m, byte, bit in places)

        return Struct(name, size, align, members)

    def _member_type(self, member: ast.FieldDef, layout: bool = False) -> Type:
        """`layout`: size and alignment are enough."""
        if member.function:
            return Pointer(Function((), VOID))
        if member.stars and layout:
            return shaped(VOID, member.stars, member.dims)
        inline = member.inline
        if inline is not None:
            if inline.name:
                kind = inline.kind if isinstance(inline, ast.StructDef) else "enum"
                base = self.find(f"{kind} {inline.name}")
            elif isinstance(inline, ast.EnumDef):
                base = self._enum(inline)
            else:
                base = self._struct(inline, f"{inline.kind} (anon)")
            assert base is not None
            return shaped(base, member.stars, member.dims)
        name = ast.TypeName(member.span, member.words, member.stars, member.dims)
        if member.stars and self.find(member.words) is None:
            return shaped(Struct(member.words, 0), member.stars, member.dims)
        return self.resolve(name)


def shaped(type_: Type, stars: int, dims: Sequence[int | None]) -> Type:
    """A type with stars and dimensions behind it; those of strings and buffers are part of the type."""
    for _ in range(stars):
        type_ = Pointer(type_)
    if isinstance(type_, (Str, Buffer)):
        return type_
    for dim in reversed(dims):
        type_ = Array(type_, dim or 0)
    return type_
