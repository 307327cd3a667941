"""Type names → types: C's own, the script's definitions, the kernel's BTF."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from pbt.host.cint import basic
from pbt.lang import ast, constexpr, layout
from pbt.source import ScriptError, Span, did_you_mean, nearest
from pbt.types import (
    BOOL,
    CHAR,
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
    Opaque,
    Pointer,
    Str,
    Struct,
    Type,
    is_integral,
)
from pbt.typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pbt.host.btf import Btf

_BASE: dict[str, Type] = {
    "void": VOID, "bool": BOOL, "_Bool": BOOL,
    **{f"{'' if t.signed else 'u'}int{8 * t.size}{suffix}": t
       for t in (I8, I16, I32, I64, U8, U16, U32, U64) for suffix in ("", "_t")},
    **{f"{prefix}{'s' if t.signed else 'u'}{8 * t.size}": t
       for t in (I8, I16, I32, I64, U8, U16, U32, U64) for prefix in ("", "__")},
    **{f"__be{8 * t.size}": t for t in (U16, U32, U64)},
    "float": U32, "double": U64, "long double": Int(16), "__builtin_va_list": Array(U64, 3),
    "char": CHAR, "short": I16, "int": I32, "long": I64, "signed": I32, "unsigned": U32,
    **{f"{kind}_t": I64 for kind in ("sum", "min", "max", "avg")}, "count_t": U64,
    **{f"u{kind}_t": U64 for kind in ("sum", "min", "max", "avg")},
}  # fmt: skip
_USUAL: dict[str, Type] = {  # where neither headers nor the kernel say what they are
    "size_t": U64, "ssize_t": I64, "pid_t": I32, "uid_t": U32, "gid_t": U32, "dev_t": U32, "off_t": I64,
    "loff_t": I64, "mode_t": U32, "uintptr_t": U64, "intptr_t": I64, "wchar_t": I32, "sector_t": U64,
    "socklen_t": U32, "in_addr_t": U32, "in_port_t": U16, "sa_family_t": U16, "time_t": I64, "clock_t": I64,
}  # fmt: skip
_KEYWORDS = ("struct", "union", "enum")
_MAPS_ALONE = ("stats_t", "ustats_t", "hist_t", "lhist_t", "tseries_t")


def no_btf() -> str:
    """What to do about a type that only the kernel's BTF could tell of."""
    from pbt.host.target import misnamed_btf

    helps = "define the type in the script, include a header that does (-I DIR), or name a file of BTF in BPFTRACE_BTF"
    return f"{misnamed_btf() or 'the kernel offers no BTF here'}: {helps}"


class Known(Protocol):
    """What headers define (see `headers.Headers`)."""

    def definition(self, spelled: str) -> ast.Definition | None: ...

    def enumeration(self, constant: str) -> ast.EnumDef | None: ...

    def hint(self, name: str) -> str: ...


class TypeNames:
    """Resolves the type names and enum constants of one script: its own definitions before those of
    headers, and these before the kernel's. `define`: values of names that `#define` makes."""

    def __init__(
        self,
        definitions: Sequence[ast.Definition],
        btf: Btf | None,
        headers: Known | None = None,
        define: Callable[[str], ast.Expr | None] = lambda name: None,
        named: Callable[[str], Type | None] = lambda name: None,
        constants: Callable[[], Mapping[str, int]] = dict,
        traced: Callable[[str], Type | None] = lambda name: None,
    ) -> None:
        """`named`: types that the language has beside C's; those of the kernel come first. `constants`: those
        that headers would define. `traced`: types of the programs that are traced, if nothing else is: the
        kernel may have others of these names."""
        self._traced, self._of_traced = traced, dict[str, Type | None]()
        self._own, self._constants = named, constants
        self._btf, self._headers, self._define = btf, headers, define
        self._defined: dict[str, ast.Definition] = {}
        self._made: dict[str, Type] = {}
        self._enums: dict[str, ast.EnumDef] = {}  # by the names of their constants
        self._made_enums: dict[ast.EnumDef, Enum] = {}
        self._counted: set[ast.EnumDef] = set()  # enums whose constants are being counted
        self._under_way: set[str] = set()
        for node in definitions:
            self._no_second(node)
            self._collect(node)

    def _no_second(self, node: ast.Definition) -> None:
        """The script defines a struct, and a constant of an enum, once."""
        if isinstance(node, ast.Typedef):
            return
        if node.name and spelled(node) in self._defined:
            raise ScriptError(f"redefinition of '{spelled(node)}'", node.span)
        if isinstance(node, ast.EnumDef):
            for name, _ in node.values:
                if name in self._enums:
                    raise ScriptError(f"redefinition of enumerator '{name}'", node.span)
            _once([(name, node.span) for name, _ in node.values], "this enum has a constant")

    def _collect(self, node: ast.Definition) -> None:
        """Remember a definition and those inside it."""
        if isinstance(node, ast.Typedef):
            self._defined[node.field.name] = node
            if node.field.inline is not None:
                self._collect(node.field.inline)
            return
        if node.name:
            self._defined[spelled(node)] = node
        if isinstance(node, ast.EnumDef):
            self._enums.update({name: node for name, _ in node.values})
            return
        for member in node.members:
            if member.inline is not None:
                self._collect(member.inline)

    # --- constants

    def constant(self, name: str) -> tuple[Type, int] | None:
        """An enum constant of the script, of headers or of the kernel."""
        if name not in self._enums and self._headers is not None:
            found = self._headers.enumeration(name)
            if found is not None:
                self._collect(found)
        if name in self._enums:
            made = self._enum(self._enums[name])
            return made, dict(made.values)[name]
        return self._btf.enum_constant(name) if self._btf else None

    def evaluate(self, node: ast.Expr) -> int:
        """The value of a constant expression; ScriptError where it has none."""
        return constexpr.evaluate(node, self._named, self.resolve)

    def _named(self, node: ast.Ident) -> int:
        if node.name in self._under_way:
            raise ScriptError(f"the macro {node.name} contains itself", node.span)
        value = self._define(node.name)
        if value is not None:
            self._under_way.add(node.name)
            try:
                return self.evaluate(value)
            finally:
                self._under_way.discard(node.name)
        found = self.constant(node.name)
        if found is not None:
            return found[1]
        if node.name not in self._constants():
            raise ScriptError(f"Unknown identifier: '{node.name}'", node.span, "a constant is wanted here")
        return self._constants()[node.name]

    def _enum(self, node: ast.EnumDef) -> Enum:
        if node in self._counted:
            raise ScriptError("a constant of an enum may use only those before it", node.span)
        if node not in self._made_enums:
            self._counted.add(node)
            try:
                self._made_enums[node] = self._count(node)
            finally:
                self._counted.discard(node)
        return self._made_enums[node]

    def _count(self, node: ast.EnumDef) -> Enum:
        """Values are counted on from the one before; expressions may name those that came earlier."""
        values: dict[str, int] = {}

        def earlier(ident: ast.Ident) -> int:
            return values[ident.name] if ident.name in values else self._named(ident)

        next_ = 0
        for name, given in node.values:
            if given is not None:
                next_ = constexpr.evaluate(given, earlier, self.resolve)
            values[name] = next_
            next_ += 1
        signed = any(v < 0 for v in values.values())
        top = max(map(abs, values.values())) if signed else max(values.values(), default=0) >> 1
        fits = (size for size in ((1, 2, 4, 8) if node.packed else (4, 8)) if top < 1 << (8 * size - 1))
        return Enum(node.name or "(anon)", next(fits, 8), signed, tuple(values.items()))

    def constants(self) -> list[str]:
        """Names of the enum constants that the script and the kernel define."""
        return [*self._enums, *(self._btf.enum_constants() if self._btf else ())]

    # --- types

    def resolve(self, node: ast.TypeName) -> Type:
        """The type that a name stands for; ScriptError if nobody knows it."""
        return shaped(self._words(node), node.shape)

    def find(self, words: str) -> Type | None:
        """A type without stars and dimensions, by its words; None if nobody knows it."""
        if words in self._defined:
            return self._definition(words)
        if words in _BASE:
            return _BASE[words]
        parts = [p for p in words.split() if p not in ("const", "volatile")]
        plain = basic(" ".join(parts))
        if plain is not None and words not in _USUAL:
            return plain
        if self._headers is not None:
            found = self._headers.definition(" ".join(parts))
            if found is not None:
                self._collect(found)
                return self._definition(" ".join(parts))
        known = self._in_traced(" ".join(parts))
        if known is None and self._btf is not None:
            known = self._btf.lookup(" ".join(parts))
        return known or _USUAL.get(words) or self._own(words)

    def _in_traced(self, words: str) -> Type | None:
        if words not in self._of_traced:
            self._of_traced[words] = self._traced(words)
        return self._of_traced[words]

    def _words(self, node: ast.TypeName) -> Type:
        if node.words in ("string", "buffer"):
            sizes = [step for step in node.shape if isinstance(step, int)]
            return (Str if node.words == "string" else Buffer)(sizes[0] if sizes else 0)
        if node.words in _MAPS_ALONE:
            hint = "assign it to a map: @ = " + node.words.removeprefix("u").removesuffix("_t") + "(...)"
            raise ScriptError(f"values of type {node.words} stay in their map", node.span, hint)
        found = self.find(node.words) or self._untagged(node.words)
        if found is not None:
            return found
        raise ScriptError(f'Cannot resolve unknown type "{node.words}"', node.span, self._hint(node.words))

    def _untagged(self, name: str) -> Type | None:
        """A struct, union or enum that is named without saying which, as published scripts do; None if there
        is none."""
        tagged = (self.find(f"{keyword} {name}") for keyword in _KEYWORDS if " " not in name)
        return next((found for found in tagged if found is not None), None)

    def _hint(self, words: str) -> str:
        from_headers = self._headers.hint(words) if self._headers is not None else ""
        own = did_you_mean(words, self._defined)
        if own or self._btf is None:
            return from_headers or own or no_btf()
        kind, _, name = words.rpartition(" ")
        if kind not in _KEYWORDS:
            kind = ""
        known = [*self._btf.names(kind or "typedef"), *(() if kind else _BASE)]
        close = nearest(name, known, 1)
        similar = f"did you mean {kind} {close[0]}?".replace("  ", " ") if close else ""
        return from_headers or similar

    def _definition(self, words: str) -> Type:
        if words not in self._made:
            node = self._defined[words]
            if words in self._under_way:
                raise ScriptError(f"{words} contains itself", node.span, "a pointer to itself would do")
            self._under_way.add(words)
            try:
                self._made[words] = self._make(node, words)
            finally:
                self._under_way.discard(words)
        return self._made[words]

    def _make(self, node: ast.Definition, words: str) -> Type:
        if isinstance(node, ast.Typedef):
            field = node.field
            opaque = field.words.startswith(("struct ", "union "))
            return self._shape(self._base(field, opaque), field.shape)
        return self._enum(node) if isinstance(node, ast.EnumDef) else self._struct(node, words)

    def _struct(self, node: ast.StructDef, name: str) -> Struct:
        """What pointers point to does not matter to the layout, and may be this very struct: it is looked
        up when somebody asks for the members."""
        _once([(member.name, member.span) for member in node.members if member.name], f"{name} has a member")
        parts = [self._part(member) for member in node.members]
        own = 1 if node.aligned is None else self.evaluate(node.aligned)
        made = layout.lay_out(parts, node.kind == "union", node.packed, own)

        def members() -> tuple[Member, ...]:
            return tuple(
                Member(m.name, self._field_type(m), byte, bit, part.bits or 0)
                for m, part, (byte, bit) in zip(node.members, parts, made.places, strict=True)
                if m.name or m.bits is None
            )

        return Struct(name, made.size, made.align, members)

    def _part(self, member: ast.FieldDef) -> layout.Part:
        kind = self._field_type(member, layout=True)
        bits = None if member.bits is None else self.evaluate(member.bits)
        if bits is not None and (not is_integral(kind) or not 0 <= bits <= 8 * kind.size):
            raise ScriptError(f"{bits} bits do not fit '{kind}'", member.span)
        if bits == 0 and member.name:
            raise ScriptError("a bitfield with a name has at least one bit", member.span)
        align = kind.align
        if member.aligned is not None:
            align = max(1 if member.packed else align, self.evaluate(member.aligned))
        packed = member.packed and member.aligned is None
        return layout.Part(kind.size, align, bits, bool(member.name), packed)

    def _field_type(self, member: ast.FieldDef, layout: bool = False) -> Type:
        """`layout`: size and alignment are enough, so pointers are not followed."""
        pointed = "*" in member.shape
        base = VOID if pointed and layout else self._base(member, opaque=pointed or "()" in member.shape)
        return self._shape(base, member.shape)

    def _base(self, member: ast.FieldDef, opaque: bool) -> Type:
        """The type in front of a declarator. `opaque`: it need not be known, as only an address is kept."""
        inline = member.inline
        if inline is not None and inline.name:
            return self._definition(spelled(inline))
        if inline is not None:
            return self._make(inline, f"{spelled(inline)}(anon)")
        found = self.find(member.words)
        if found is None and opaque:
            return Struct(member.words, 0, 1)
        return found or self.resolve(ast.TypeName(member.span, member.words, ()))

    def _shape(self, kind: Type, shape: Sequence[str | ast.Expr | None]) -> Type:
        for part in shape:
            if part == "*":
                kind = Pointer(kind)
            elif part == "()":
                kind = Function((), kind)
            else:
                count = 0 if part is None else self.evaluate(part)  # type: ignore[arg-type]
                kind = Array(kind, count)
        return kind


def _once(names: Iterable[tuple[str, Span]], what: str) -> None:
    seen = set[str]()
    for name, span in names:
        if name in seen:
            raise ScriptError(f"{what} {name} twice", span)
        seen.add(name)


def spelled(node: ast.StructDef | ast.EnumDef) -> str:
    """`struct x`, `union x`, `enum x`; with nothing behind the blank where there is no name."""
    return f"{node.kind if isinstance(node, ast.StructDef) else 'enum'} {node.name}"


def is_open(type_: Type) -> bool:
    """Whether a type as written leaves open what its first value will say: how long a string is, how a
    stack or a time is drawn."""
    return isinstance(type_, Opaque) or type_ in (Str(0), Buffer(0))


def fills(declared: Type | None, kind: Type) -> bool:
    """Whether a type says what a declared one leaves open."""
    if isinstance(declared, Opaque):
        return isinstance(kind, Opaque) and kind.name == declared.name
    return declared is not None and type(kind) is type(declared)


def shaped(type_: Type, shape: Sequence[str | int | None]) -> Type:
    """A type with stars and dimensions behind it; those of strings and buffers are part of the type."""
    for step in shape:
        if isinstance(step, str):
            type_ = Pointer(type_)
        elif not isinstance(type_, (Str, Buffer, Opaque)):
            type_ = Array(type_, step or 0)
    return type_
