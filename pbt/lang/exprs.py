"""Expressions: the type of each, and what constants come to."""

from __future__ import annotations

from pbt.lang import ast
from pbt.lang.arith import binary_type, fold, fold_unary, holds, signed
from pbt.lang.calls import Calls
from pbt.lang.headers import CONSTANTS
from pbt.lang.typenames import NO_BTF, shaped
from pbt.lang.unify import UNKNOWN, Mismatch, stored, unify
from pbt.source import ScriptError, Span, nearest
from pbt.types import (
    BOOL,
    I64,
    U64,
    VOID,
    Array,
    Bool,
    Buffer,
    Int,
    Member,
    Opaque,
    Pointer,
    Str,
    Struct,
    Tuple,
    Type,
    Void,
    is_integral,
)

_ORDERED = ("<", "<=", ">", ">=", "/", "%")


class Expressions(Calls):
    """Checking of everything that has a value."""

    def _condition(self, node: ast.Expr) -> None:
        kind = self._expr(node)
        if not is_integral(kind) and not isinstance(kind, Str):
            raise ScriptError(f"Invalid condition: expected a number, got {kind}", node.span)

    def _expr(self, node: ast.Expr) -> Type:
        kind = self._kind(node)
        self.types[node] = kind
        return kind

    def _kind(self, node: ast.Expr) -> Type:
        if isinstance(node, ast.Int):
            return U64 if node.value >= 1 << 63 else I64
        if isinstance(node, ast.Str):
            return Str(len(node.value.encode("utf-8", "surrogateescape")) + 1)
        if isinstance(node, ast.Bool):
            return BOOL
        if isinstance(node, ast.Ident):
            return self._ident(node)
        if isinstance(node, ast.Var):
            if node not in self.names:  # in the value of a #define
                raise ScriptError("the value of a #define cannot use variables", node.span, "a macro can")
            return self.variables.get(self.names[node], UNKNOWN)
        if isinstance(node, ast.Param):
            return self._param(node)
        if isinstance(node, ast.Map):
            return self._map_value(node)
        if isinstance(node, ast.Index):
            return self._map_value(node) if isinstance(node.base, ast.Map) else self._element(node)
        if isinstance(node, ast.Member):
            return self._member(node)
        if isinstance(node, ast.Call):
            return self._call_type(node)
        if isinstance(node, ast.Unary):
            return self._unary(node)
        if isinstance(node, ast.Step):
            return self._step(node)
        if isinstance(node, ast.Binary):
            return self._binary(node)
        if isinstance(node, ast.Ternary):
            return self._ternary(node)
        if isinstance(node, ast.Cast):
            return self._cast(node)
        if isinstance(node, ast.BlockExpr):
            self._statements(node.body)
            return VOID if node.value is None else self._expr(node.value)
        if isinstance(node, ast.Comptime):
            return self._comptime(node)
        if isinstance(node, ast.Record):
            return self._record(node)
        if isinstance(node, ast.Tuple):
            return Tuple(tuple(stored(self._expr(item)) for item in node.items))
        if isinstance(node, ast.Sizeof):
            self.replaced[node] = self._literal(node, self._of(node.of).size)
            return U64
        if isinstance(node, ast.Typeinfo):
            return self._typeinfo(node)
        if isinstance(node, ast.Inlined):
            return self._inlined(node)
        assert isinstance(node, ast.Offsetof)
        return self._offsetof(node)

    def _comptime(self, node: ast.Comptime) -> Type:
        kind = self._expr(node.value)
        value: ast.Expr = node.value
        while value in self.replaced:
            value = self.replaced[value]
        if not isinstance(value, (ast.Int, ast.Bool, ast.Str)):
            raise ScriptError("this is not known while compiling", node.value.span)
        self.replaced[node] = node.value
        return kind

    def _record(self, node: ast.Record) -> Type:
        """Fields are kept in the order of their names, so that equal records have one type."""
        kinds = {name: stored(self._expr(item)) for name, item in zip(node.names, node.items, strict=True)}
        return Tuple(tuple(kinds[name] for name in sorted(kinds)), tuple(sorted(kinds)))

    def _type(self, node: ast.TypeName | ast.TypeOf) -> Type:
        """The type that a name or `typeof` stands for."""
        if isinstance(node, ast.TypeName):
            return self.shared.types.resolve(node)
        return shaped(self._of(node.of), node.stars, node.dims)

    def _of(self, node: ast.TypeName | ast.TypeOf | ast.Expr) -> Type:
        """What sizeof, typeof and typeinfo are asked about: a type, or the type of an expression."""
        if isinstance(node, (ast.TypeName, ast.TypeOf)):
            return self._type(node)
        if isinstance(node, ast.Ident) and self._is_type(node.name):
            return self.shared.types.resolve(ast.TypeName(node.span, node.name, 0, ()))
        return self._expr(node)

    def _is_type(self, name: str) -> bool:
        known = (self.shared.known_builtins, self._arrays, self.shared.defines)
        return not any(name in names for names in known) and self.shared.types.constant(name) is None

    def _typeinfo(self, node: ast.Typeinfo) -> Type:
        """(base_type, full_type): what kind of type it is, and how it is written."""
        kind = self._of(node.of)
        words = type(kind).__name__.lower()
        parts = tuple(ast.Str(node.span, text) for text in (words, str(kind)))
        made = ast.Record(node.span, ("base_type", "full_type"), parts)
        self.replaced[node] = made
        return self._expr(made)

    def _inlined(self, node: ast.Inlined) -> Type:
        """A call of a function of the script."""
        kind = VOID if node.type is None else stored(self._type(node.type))
        self._statements(node.params)
        outer, loops = self._returns, self._loops
        self._returns, self._loops = kind, 0
        self._statements(node.body.body)
        self._returns, self._loops = outer, loops
        return kind

    def _ident(self, node: ast.Ident) -> Type:
        builtin = self.shared.known_builtins.get(node.name)
        if builtin is not None:
            if not builtin.variable:
                raise ScriptError(
                    f"{node.name}() is a function", node.span, f"{node.name}{builtin.signature}"
                )
            return self._builtin(builtin, node, ())
        if node.name in self._arrays:
            return self.variables[node.name]
        value = self.shared.define(node.name)
        if value is not None:
            if node.name in self._defining:
                raise ScriptError(f"the macro {node.name} contains itself", node.span)
            self._defining.append(node.name)
            self.replaced[node] = value
            kind = self._expr(value)
            self._defining.pop()
            return kind
        constant = self.shared.types.constant(node.name)
        if constant is not None:
            self.replaced[node] = self._literal(node, constant[1], constant[0])
            return constant[0]
        if node.name in CONSTANTS:
            self.replaced[node] = self._literal(node, CONSTANTS[node.name])
            return I64
        known = [*self.shared.known_builtins, *CONSTANTS, *self._arrays, *self.shared.defines]
        close = nearest(node.name, known, 1)
        hint = (
            f"did you mean {close[0]}?" if close else 'variables are written $name, maps @name, texts "..."'
        )
        raise ScriptError(f"Unknown identifier: '{node.name}'", node.span, hint)

    def _param(self, node: ast.Param) -> Type:
        params = self.shared.options.params
        if node.number == 0:
            self.replaced[node] = self._literal(node, len(params))
            return I64
        text = self.parameter(node)
        if node.number > len(params):
            self.shared.warn(
                f"positional parameter ${node.number} was not given", node.span, 'it counts as 0 or ""'
            )
        if text is not None and text != "":
            value = _integer(text)
            if value is None:
                made = ast.Str(node.span, text)
                self.replaced[node] = made
                return self._expr(made)
            self.replaced[node] = self._literal(node, value)
            return I64 if value < 1 << 63 else U64
        self.replaced[node] = self._literal(node, 0)
        return I64

    def _element(self, node: ast.Index) -> Type:
        base = self._expr(node.base)
        if len(node.keys) != 1:
            raise ScriptError("an array has one index", node.span)
        if not is_integral(self._expr(node.keys[0])):
            raise ScriptError("The array index must be an integer", node.keys[0].span)
        index = self.known_int(node.keys[0])
        if isinstance(base, Pointer):
            if isinstance(base.target, Void) or (isinstance(base.target, Struct) and not base.target.size):
                raise ScriptError(
                    f"cannot index a pointer to {base.target}", node.span, "cast it to another type"
                )
            return self._inherit(base.target, base)
        if isinstance(base, Array):
            if index is not None and base.count and not 0 <= index < base.count:
                raise ScriptError(
                    f"the index {index} is out of bounds for array of size {base.count}", node.span
                )
            return base.element
        if isinstance(base, Str):
            if index is not None and not 0 <= index < base.size:
                raise ScriptError(f"a string is indexed by a number below {base.size}", node.span)
            return Int(1, True)
        if isinstance(base, Tuple):
            return self._tuple_item(base, str(self.literal_int(node.keys[0], "tuple index")), node.span)
        raise ScriptError(
            f"The array index operator [] can only be used on arrays and pointers, found {base}", node.span
        )

    def _tuple_item(self, base: Tuple, name: str, span: Span) -> Type:
        if name in base.names:
            return base.elements[base.names.index(name)]
        if base.names:
            close = nearest(name, base.names, 1) or list(base.names)
            raise ScriptError(f"Record does not contain field '{name}'", span, f"did you mean {close[0]}?")
        if not name.isdigit() or int(name) >= len(base.elements):
            raise ScriptError(
                f"Invalid tuple index: {name}",
                span,
                f"this tuple has {len(base.elements)} elements, counted from 0",
            )
        return base.elements[int(name)]

    def _inherit(self, kind: Type, base: Pointer) -> Type:
        """What is reached through a pointer lies where the pointer points, and so do its own pointers."""
        if (
            isinstance(kind, Pointer)
            and base.space in ("kernel", "user")
            and (not kind.space or base.space == "user")
        ):
            return Pointer(kind.target, base.space, False)
        return kind

    def _member(self, node: ast.Member) -> Type:
        base = self._expr(node.base)
        if isinstance(base, Tuple):
            return self._tuple_item(base, node.name, node.name_span)
        struct = base.target if isinstance(base, Pointer) else base
        if not isinstance(struct, Struct):
            raise ScriptError(
                f"Can not access field '{node.name}' on expression of type '{base}'",
                node.base.span,
                self._cast_hint(node.base) if is_integral(base) else "",
            )
        member = struct.find(node.name)
        if member is None:
            raise self._no_member(node, struct)
        self.kept[node] = member
        kind = self._inherit(member.type, base) if isinstance(base, Pointer) else member.type
        if member.data_loc and isinstance(kind, Array) and kind.element.size == 1:
            return Str(int(self.config["max_strlen"]))
        return kind

    def _cast_hint(self, base: ast.Expr) -> str:
        if isinstance(base, ast.Ident) and base.name == "curtask" and self.target.types is None:
            return NO_BTF
        return "cast it to a pointer to a struct first: ((struct x *)p)->field"

    def _no_member(self, node: ast.Member, struct: Struct) -> ScriptError:
        names = list(struct.names())
        close = nearest(node.name, names, 3)
        if isinstance(node.base, ast.Ident) and node.base.name == "args":
            hint = f"did you mean {close[0]}?" if close else "fields here: " + ", ".join(names[:12])
            return ScriptError(
                f"Can't find a field '{node.name}' in {self.context.label}", node.name_span, hint
            )
        hint = "did you mean " + " or ".join(close) + "?" if close else ""
        if not names:
            hint = "its definition is not known here"
        return ScriptError(
            f"Struct/union of type '{struct}' does not contain a field named '{node.name}'",
            node.name_span,
            hint,
        )

    def _unary(self, node: ast.Unary) -> Type:
        if node.op == "&":
            return self._address_of(node)
        kind = self._expr(node.operand)
        if node.op == "*":
            if isinstance(kind, Pointer):
                if isinstance(kind.target, Void):
                    raise ScriptError(
                        "cannot dereference a void pointer", node.span, "cast it first: *(uint64 *)p"
                    )
                if kind.space == "ctx" and isinstance(node.operand, ast.Ident):
                    return self.fields_of(node, node.operand)
                return self._inherit(kind.target, kind)
            if isinstance(kind, Int):
                return U64
            raise ScriptError(f"Can not dereference type '{kind}'", node.span, "it needs a pointer")
        if not is_integral(kind):
            raise ScriptError(f"The {node.op} operator can not be used on type '{kind}'", node.span)
        value = self.known_int(node.operand)
        if node.op == "!":
            if value is not None:
                self._known_truth(node, not value)
            return BOOL
        if value is not None:
            folded = fold_unary(node.op, value)
            self.replaced[node] = self._literal(node, folded)
            return I64 if folded < 1 << 63 else U64
        return I64 if node.op == "-" else Int(8, isinstance(kind, Int) and kind.signed)

    def fields_of(self, node: ast.Expr, base: ast.Expr) -> Type:
        """Let a node stand for a record of what a probe's `args` point to; its type."""
        base = ast.Ident(base.span, base.name) if isinstance(base, ast.Ident) else base
        kind = self._expr(base)
        assert isinstance(base, ast.Ident) and isinstance(kind, Pointer) and isinstance(kind.target, Struct)
        names = tuple(dict.fromkeys(kind.target.names()))
        if not names:
            raise ScriptError(f"there are no fields in {base.name} here", node.span)
        items = (ast.Member(node.span, ast.Ident(base.span, base.name), name, node.span) for name in names)
        made = ast.Record(node.span, names, tuple(items))
        self.replaced[node] = made
        self.types[node] = self._expr(made)
        return self.types[node]

    def _address_of(self, node: ast.Unary) -> Type:
        """Variables and maps without keys lie in memory of the kernel's."""
        if isinstance(node.operand, ast.Var):
            return Pointer(self._expr(node.operand), "kernel")
        if isinstance(node.operand, ast.Map):
            known = self._keyed(node.operand)
            if not known.aggregation:
                return Pointer(self._expr(node.operand), "kernel")
        raise ScriptError(
            "the address of this cannot be taken", node.span, "& takes a variable, or a map without keys"
        )

    def _step(self, node: ast.Step) -> Type:
        if not isinstance(node.operand, ast.Var):
            name = self._map_name(node.operand)
            if (
                self.shared.map(name, node.operand.span).value is None
                and not self.shared.maps[name].aggregation
            ):
                self._set_map(node.operand, I64, node.operand)
        kind = self._expr(node.operand)
        if not is_integral(kind):
            raise ScriptError(f"The {node.op} operator can not be used on type '{kind}'", node.span)
        if isinstance(node.operand, ast.Var):
            self._set_variable(node.operand, stored(kind))
        return stored(kind)

    def _binary(self, node: ast.Binary) -> Type:
        left, right = self._expr(node.left), self._expr(node.right)
        kind = binary_type(
            node.op, left, right, self._flexible(node.left), self._flexible(node.right), node.span
        )
        self._no_zero_division(node.op, node.right)
        self._mixed_signs(node, left, right)
        a, b = self.known_int(node.left), self.known_int(node.right)
        if a is None or b is None:
            return kind
        if isinstance(kind, Int):
            value = fold(node.op, a, b, kind.signed)
            if value is not None:
                self.replaced[node] = self._literal(node, value, kind)
        elif isinstance(kind, Bool):
            flexible = self._flexible(node.left), self._flexible(node.right)
            is_signed = signed(left, flexible[0]) or signed(right, flexible[1]) or all(flexible)
            self._known_truth(node, holds(node.op, a, b, is_signed))
        return kind

    def _mixed_signs(self, node: ast.Binary, left: Type, right: Type) -> None:
        """Where one side may be negative and the other too large to be compared with it."""
        flexible = self._flexible(node.left), self._flexible(node.right)
        signs = signed(left, flexible[0]), signed(right, flexible[1])
        if node.op not in _ORDERED or signs[0] == signs[1] or any(flexible):
            return
        unsigned = right if signs[0] else left
        if unsigned == U64:
            self.warn(
                f"'{node.op}' on integers of different signs ('{left}' and '{right}'): both are taken as signed",
                node.span,
                "a cast of one side says what is meant",
            )

    def _known_truth(self, node: ast.Expr, truth: bool) -> None:
        made = ast.Bool(node.span, truth)
        self.types[made] = BOOL
        self.replaced[node] = made

    def _fits(self, node: ast.Expr, kind: Int) -> bool:
        """Whether a constant can be a value of an integer type."""
        value, bits = self.known_int(node), 8 * kind.size
        low, high = (-(1 << bits - 1), 1 << bits - 1) if kind.signed else (0, 1 << bits)
        return value is not None and low <= value < high

    def _no_zero_division(self, op: str, right: ast.Expr) -> None:
        if op in ("/", "%") and self.known_int(right) == 0:
            raise ScriptError("division by zero", right.span)

    def _ternary(self, node: ast.Ternary) -> Type:
        self._condition(node.condition)
        then, other = stored(self._expr(node.then)), stored(self._expr(node.other))
        if isinstance(then, Void) and isinstance(other, Void):
            return VOID
        try:
            return unify(then, other, self._is_zero(node.then) or self._is_zero(node.other))
        except Mismatch:
            raise ScriptError(
                f"Ternary operator must return the same type: have '{then}' and '{other}'", node.span
            ) from None

    def _cast(self, node: ast.Cast) -> Type:
        kind = self._type(node.type)
        source = self._expr(node.operand)
        if isinstance(kind, Pointer) and not kind.space:
            here = source.space if isinstance(source, Pointer) else ""
            kind = Pointer(kind.target, here or ("user" if self.context.user else "kernel"))
        if isinstance(kind, (Struct, Void)) or (isinstance(kind, Array) and not isinstance(source, (Str, Array))
                                                and not is_integral(source)):  # fmt: skip
            raise ScriptError(
                f'Cannot cast to "{kind}"',
                node.type.span,
                f"cast to a pointer: ({kind} *)" if isinstance(kind, Struct) else "",
            )
        if isinstance(kind, Array):
            return self._array_cast(node, kind, source)
        if isinstance(kind, Str) and isinstance(stored(source), Str):
            return kind
        if not is_integral(kind):
            raise ScriptError(f'Cannot cast from "{source}" to "{kind}"', node.span)
        if isinstance(source, (Str, Tuple, Buffer, Opaque, Void, Struct)) or (
            isinstance(source, Array) and source.size > 8
        ):
            raise ScriptError(f'Cannot cast from "{source}" to "{kind}"', node.span)
        value = self.known_int(node.operand)
        if value is not None and isinstance(kind, Int) and kind.size <= 8:
            value &= (1 << 8 * kind.size) - 1
            if kind.signed and value >> (8 * kind.size - 1):
                value -= 1 << 8 * kind.size
            self.replaced[node] = self._literal(node, value, kind)
        return kind

    def _array_cast(self, node: ast.Cast, kind: Array, source: Type) -> Type:
        size = kind.size or source.size // kind.element.size * kind.element.size
        if size != source.size:
            raise ScriptError(f'Cannot cast from "{source}" to "{kind}"', node.span, "sizes differ")
        return Array(kind.element, size // kind.element.size)

    def _offsetof(self, node: ast.Offsetof) -> Type:
        kind, offset = self._type(node.of), 0
        for name in node.path:
            member: Member | None = kind.find(name) if isinstance(kind, Struct) else None
            if member is None:
                raise ScriptError(
                    f"Struct/union of type '{kind}' does not contain a field named '{name}'", node.span
                )
            if member.bit_size:
                raise ScriptError(f"the bitfield {name} has no offset in bytes", node.span)
            offset, kind = offset + member.offset, member.type
        self.replaced[node] = self._literal(node, offset)
        return U64


def _integer(text: str) -> int | None:
    """A positional parameter as a number, if it is one."""
    digits = text.removeprefix("-")
    try:
        value = (
            int(digits, 0)
            if digits[:2].lower() in ("0x", "0b")
            else int(digits, 8 if digits[:1] == "0" else 10)
        )
    except ValueError:
        return None
    return -value if text.startswith("-") else value
