"""Types in expressions: casts, sizeof, typeof, typeinfo, offsetof."""

from __future__ import annotations

from collections.abc import Sequence

from pbt.lang import ast
from pbt.lang.access import Access
from pbt.lang.arith import cut
from pbt.lang.typenames import shaped
from pbt.source import ScriptError, Span, did_you_mean
from pbt.types import (
    U64,
    VOID,
    Array,
    Bool,
    Buffer,
    Char,
    Enum,
    Int,
    Member,
    Natural,
    Opaque,
    Pointer,
    Space,
    Str,
    Struct,
    Tuple,
    Type,
    Void,
    is_integral,
)

_BASES: dict[type[Type], str] = {
    Bool: "bool", Int: "int", Natural: "int", Char: "int", Enum: "int", Pointer: "pointer", Array: "array",
    Str: "string", Buffer: "buffer", Struct: "c_type", Void: "none",
}  # fmt: skip


def _base(kind: Type) -> str:
    """What `typeinfo(...).base_type` says."""
    if isinstance(kind, Tuple):
        return "record" if kind.names else "tuple"
    return _BASES.get(type(kind), str(kind))


class Casts(Access):
    """Checking of what turns types into values and values into types."""

    def _type(self, node: ast.TypeName | ast.TypeOf) -> Type:
        """The type that a name or `typeof` stands for."""
        if isinstance(node, ast.TypeName):
            return self.shared.types.resolve(node)
        return shaped(self._of(node.of), node.shape)

    def _of(self, node: ast.TypeName | ast.TypeOf | ast.Expr) -> Type:
        """What sizeof, typeof and typeinfo are asked about: a type, or the type of an expression."""
        if isinstance(node, (ast.TypeName, ast.TypeOf)):
            return self._type(node)
        if isinstance(node, ast.Map) and self.shared.map(node.name, node.span).key:
            keys = self.shared.map(node.name, node.span).key or ()
            return keys[0] if len(keys) == 1 else Tuple(keys)  # of a map with keys, its keys' type
        if isinstance(node, ast.Ident) and self._is_type(node.name):
            return self.shared.types.resolve(ast.TypeName(node.span, node.name, ()))
        return self._expr(node)

    def _is_type(self, name: str) -> bool:
        known = (self.shared.known_builtins, self._arrays, self.shared.defines)
        return not any(name in names for names in known) and self.shared.types.constant(name) is None

    def _typeinfo(self, node: ast.Typeinfo) -> Type:
        """(btf_id, base_type, full_type): 0 as in 0.27, what kind of type it is, and how it is written."""
        if self.config["unstable_typeinfo"] != "enable":
            report = self._refuse if self.config["unstable_typeinfo"] == "error" else self.warn
            report("typeinfo is an unstable feature", node.span, "config = { unstable_typeinfo = enable }")
        held = self.aggregation(node.of) if isinstance(node.of, ast.Expr) else ""
        kind = VOID if held else self._of(node.of)
        words = (f"{held}_t",) * 2 if held else (_base(kind), str(kind))
        parts = (ast.Int(node.span, 0), *(ast.Str(node.span, text) for text in words))
        made = ast.Record(node.span, ("btf_id", "base_type", "full_type"), parts)
        self.replaced[node] = made
        return self._expr(made)

    def _refuse(self, message: str, span: Span, hint: str) -> None:
        raise ScriptError(message, span, hint)

    def _cast(self, node: ast.Cast) -> Type:
        kind = self._type(node.type)
        source = self._expr(node.operand)
        if isinstance(kind, Pointer) and not kind.space:
            here = source.space if isinstance(source, Pointer) else ""
            kind = Pointer(kind.target, here or ("user" if self.context.user else "kernel"))
        if isinstance(kind, Pointer) and self._decays(source):
            space = self._outside(node.operand)
            if space:
                self.kept[node] = space
                return Pointer(kind.target, space)
        if isinstance(kind, (Struct, Void)) or (isinstance(kind, Array) and not isinstance(source, (Str, Array))
                                                and not is_integral(source)):  # fmt: skip
            raise ScriptError(
                f'Cannot cast from "{source}" to "{kind}"',
                node.type.span,
                f"cast to a pointer: ({kind} *)" if isinstance(kind, Struct) else "",
            )
        if kind == source and not is_integral(kind):
            self.replaced[node] = node.operand
            return kind
        if isinstance(kind, Array):
            return self._array_cast(node, kind, source)
        text = isinstance(source, Str) or (isinstance(source, Array) and source.element.size == 1)
        if isinstance(kind, Str) and not kind.size:
            size = f"string[{source.size}]" if text else "string[64]"
            raise ScriptError(
                f'Cannot cast from "{source}" to "string"', node.span, f"its size is a part: {size}"
            )
        if isinstance(kind, Str) and text:
            return kind
        if isinstance(kind, Bool) and isinstance(source, Str):
            return kind
        if isinstance(kind, Pointer) and isinstance(source, Str):
            return Pointer(kind.target, "kernel")  # of a copy of the text
        if not is_integral(kind):
            raise ScriptError(f'Cannot cast from "{source}" to "{kind}"', node.span)
        if isinstance(source, (Str, Tuple, Buffer, Opaque, Void, Struct)) or (
            isinstance(source, Array) and source.size > 8
        ):
            raise ScriptError(f'Cannot cast from "{source}" to "{kind}"', node.span)
        value = self.known_int(node.operand)
        if isinstance(kind, Enum) and kind.values and self._is_literal(node.operand):
            self._is_constant_of(kind, value, node)
        if value is not None and isinstance(kind, Int) and kind.size <= 8:
            self.replaced[node] = self._literal(node, cut(value, kind), kind)
        return kind

    def _decays(self, kind: Type) -> bool:
        """Whether a pointer made of it points to it: to text, and to what is no number for its size."""
        return isinstance(kind, Array) and (isinstance(kind.element, Char) or kind.size > 8)

    def _outside(self, node: ast.Expr) -> Space:
        """Whose memory a member or element lies in, "kernel" or "user"; "" for what a program holds itself."""
        node = self.real(node)
        if not isinstance(node, (ast.Member, ast.Index)):
            return ""
        base = self.types[node.base]
        if isinstance(base, Pointer):
            return base.space if base.space in ("kernel", "user") else ""
        return self._outside(node.base) if isinstance(base, (Struct, Array)) else ""

    def _is_constant_of(self, kind: Enum, value: int | None, node: ast.Cast) -> None:
        if value not in [number for _, number in kind.values]:
            known = ", ".join(f"{name} = {number}" for name, number in kind.values[:6])
            raise ScriptError(
                f"Enum: {kind.name} doesn't contain a variant value of {value}", node.span, f"it has {known}"
            )

    def _array_cast(self, node: ast.Cast, kind: Array, source: Type) -> Type:
        wide = isinstance(source, Natural) or self._is_literal(node.operand)
        written = self.known_int(node.operand)
        if wide and written is not None and written < 0:  # its own bytes, and zeros behind them
            number = cut(written, Int(source.size))
            self.replaced[node.operand] = self._literal(node.operand, number, Int(8))
        if wide and (kind.size in (1, 2, 4) or (kind.size == 8 and source.size < 8)):
            return kind  # a literal, and what holds only such, has the size that is wanted
        size = kind.size or source.size // kind.element.size * kind.element.size
        value = self.known_int(node.operand)
        if value is not None and size in (1, 2, 4, 8) and -(1 << 8 * size - 1) <= value < 1 << 8 * size:
            cast = self._literal(node.operand, value, Int(size, value < 0))
            self.replaced[node.operand] = cast
            self.types[node.operand] = Int(size, value < 0)
            return Array(kind.element, size // kind.element.size)
        if is_integral(source) and size > source.size and size not in (1, 2, 4, 8):
            return kind  # zeros behind the number
        if size != source.size:
            raise ScriptError(f'Cannot cast from "{source}" to "{kind}"', node.span, "sizes differ")
        return Array(kind.element, size // kind.element.size)

    def _offsetof(self, node: ast.Offsetof) -> Type:
        self.replaced[node] = self._literal(node, self._offset(self._type(node.of), node.path, node.span))
        return U64

    def _offset(self, kind: Type, path: Sequence[str], span: Span) -> int:
        """How many bytes into a struct a member of a member ... begins; of a bitfield, the byte with its first bit."""
        offset = 0
        for name in path:
            member: Member | None = kind.find(name) if isinstance(kind, Struct) else None
            if member is None:
                raise ScriptError(
                    f"Struct/union of type '{kind}' does not contain a field named '{name}'",
                    span,
                    did_you_mean(name, kind.names()) if isinstance(kind, Struct) else "",
                )
            offset, kind = offset + member.offset + member.bit_offset // 8, member.type
        return offset

    def _container_of(self, node: ast.ContainerOf) -> Type:
        """The address of the member as a number, less the member's offset."""
        source, kind = self._expr(node.member), self._type(node.of)
        if not is_integral(source):
            raise ScriptError(f"container_of() expects an address ({source} provided)", node.member.span)
        number = ast.Cast(node.span, ast.TypeName(node.span, "uint64", ()), node.member)
        offset = self._literal(node, self._offset(kind, node.path, node.span))
        self.replaced[node] = made = ast.Binary(node.span, "-", number, offset)
        self._expr(made)
        return Pointer(kind, source.space if isinstance(source, Pointer) else "")
