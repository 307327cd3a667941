"""Expressions: the type of each, and what constants come to."""

from __future__ import annotations

from pbt.lang import ast
from pbt.lang.arith import (
    AS_NUMBER,
    COMPARISONS,
    binary_type,
    both_signed,
    comparable,
    cut,
    fold,
    fold_text,
    fold_unary,
    holds,
    signed,
)
from pbt.lang.casts import Casts
from pbt.lang.typed import numbers_of
from pbt.lang.typenames import is_open
from pbt.lang.unify import UNKNOWN, Mismatch, stored, unify
from pbt.source import ScriptError
from pbt.types import (
    BOOL,
    I64,
    U64,
    VOID,
    Bool,
    Enum,
    Int,
    Natural,
    Opaque,
    Pointer,
    Str,
    Tuple,
    Type,
    Void,
    is_integral,
    is_text,
    literal,
)

_ORDERED = ("<", "<=", ">", ">=", "/", "%")
_ONE = literal(1)


class Expressions(Casts):
    """Checking of everything that has a value."""

    def _condition(self, node: ast.Expr) -> None:
        kind = self._expr(node)
        if not is_integral(kind) and not isinstance(self.real(node), ast.Str):
            hint = 'compare it: text != ""' if is_text(kind) else ""
            raise ScriptError(f"Invalid condition: expected a number, got {kind}", node.span, hint)

    def _expr(self, node: ast.Expr) -> Type:
        kind = self._kind(node)
        self.types[node] = kind
        return kind

    def _kind(self, node: ast.Expr) -> Type:
        if isinstance(node, ast.Int):
            return literal(node.value)
        if isinstance(node, ast.Str):
            return Str(len(node.value.encode("utf-8", "surrogateescape")) + 1)
        if isinstance(node, ast.Bool):
            return BOOL
        if isinstance(node, ast.Ident):
            return self._ident(node)
        if isinstance(node, ast.Var):
            if node not in self.names:  # in the value of a #define
                raise ScriptError("the value of a #define cannot use variables", node.span, "a macro can")
            return self._variable(node)
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
            self.replaced[node] = self._literal(node, self._of(node.of).size, U64)
            return U64
        if isinstance(node, ast.Typeinfo):
            return self._typeinfo(node)
        if isinstance(node, ast.ContainerOf):
            return self._container_of(node)
        if isinstance(node, ast.Inlined):
            return self._inlined(node)
        assert isinstance(node, ast.Offsetof)
        return self._offsetof(node)

    def _variable(self, node: ast.Var) -> Type:
        name = self.names[node]
        if name not in self._constant:
            return self.variables.get(name, UNKNOWN)
        self.replaced[node] = self._constant[name]
        return self.types[self._constant[name]]

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
        return Tuple(tuple(stored(self._expr(item)) for item in node.items), tuple(node.names))

    def _inlined(self, node: ast.Inlined) -> Type:
        """A call of a function of the script."""
        kind = VOID if node.type is None else self._type(node.type)
        self._statements(node.params)
        outer, loops = self._returns, self._loops
        self._returns, self._loops = kind if is_open(kind) else stored(kind), 0
        self._statements(node.body.body)
        kind, self._returns, self._loops = self._returns, outer, loops
        return kind

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
            raise ScriptError(
                f"The * operator can not be used on expressions of type '{kind}'",
                node.span,
                "it needs a pointer",
            )
        if not is_integral(kind) or isinstance(kind, Pointer):
            hint = "compare it: pointer == 0" if node.op == "!" else AS_NUMBER
            raise ScriptError(
                f"The {node.op} operator can not be used on expressions of type '{kind}'",
                node.span,
                hint if isinstance(kind, Pointer) else "",
            )
        value = self.known_int(node.operand)
        if node.op == "!":
            if value is not None:
                self._known_truth(node, not value)
            return BOOL
        kept: Int = Int(kind.size) if isinstance(kind, Int) and not kind.signed else I64
        if isinstance(kind, Enum) and not kind.signed:
            kept = U64
        if value is None:
            return kept
        written = self._is_literal(node.operand)
        if node.op == "~" and written:
            kept = U64  # the bits of a number as the script writes it
        made = cut(fold_unary(node.op, value), kept)
        if written and (node.op == "~" or kept == I64):
            kept = literal(made)
        self.replaced[node] = self._literal(node, made, kept)
        return kept

    def _step(self, node: ast.Step) -> Type:
        kind = self._expr(node.operand)
        if not is_integral(kind):
            raise ScriptError(
                f"The {node.op} operator can not be used on expressions of type '{kind}'", node.span
            )
        signed = node.op == "--" or both_signed(kind, _ONE)  # differences are signed
        made = kind if isinstance(kind, Pointer) else I64 if signed else U64
        if isinstance(node.operand, ast.Var):
            self._set_variable(node.operand, made)
        else:
            self._set_map(node.operand, made, node.operand)
        return self.types[node.operand]

    def _binary(self, node: ast.Binary) -> Type:
        left, right = self._expr(node.left), self._expr(node.right)
        texts = self.real(node.left), self.real(node.right)
        if node.op == "+" and {type(text) for text in texts} == {ast.Str, ast.Int}:
            return self._rest_of(node, *sorted(texts, key=lambda side: isinstance(side, ast.Int)))
        if isinstance(texts[0], ast.Str) and isinstance(texts[1], ast.Str) and node.op in ("+", *COMPARISONS):
            return self.become(node, fold_text(node.op, texts[0].value, texts[1].value))
        if self._compares_names(node, left, right):
            return BOOL
        if self._never_equal(node, left, right):
            return BOOL
        kind = binary_type(node.op, left, right, node.span)
        self._no_zero_division(node.op, node.right)
        self._shift_fits(node.op, node.right)
        self._mixed_signs(node, left, right)
        a, b = self.known_int(node.left), self.known_int(node.right)
        if a is None or b is None:
            return kind
        if isinstance(kind, Int):
            kind = self._folded(node, a, b, kind)
        elif isinstance(kind, Bool):
            self._known_truth(node, holds(node.op, a, b, both_signed(left, right)))
        return kind

    def _never_equal(self, node: ast.Binary, left: Type, right: Type) -> bool:
        """Whether tuples are compared that differ by their types."""
        tuples = isinstance(left, Tuple) and isinstance(right, Tuple) and not (left.names or right.names)
        if not tuples or node.op not in ("==", "!=") or comparable(left, right):
            return False
        self.warn(f"tuples of types {left} and {right} are never equal", node.span)
        self._known_truth(node, node.op == "!=")
        return True

    def _compares_names(self, node: ast.Binary, left: Type, right: Type) -> bool:
        """Whether a number that prints as a name is compared with a literal text: with the numbers of that name."""
        named, other = (right, node.left) if isinstance(right, Opaque) else (left, node.right)
        literal_ = self.real(other)
        if not (isinstance(named, Opaque) and isinstance(literal_, ast.Str) and node.op in ("==", "!=")):
            return False
        numbers = numbers_of(named, literal_.value)
        if numbers is not None:
            self.keep(literal_, numbers)
        return numbers is not None

    def _folded(self, node: ast.Binary, a: int, b: int, kind: Int) -> Int:
        """A constant takes its place; literals that come to more than int64 holds make it unsigned."""
        literals = self._is_literal(node.left) and self._is_literal(node.right)
        try:
            value = fold(node.op, a, b, kind.signed, strict=literals and node.op in "+*")
        except OverflowError:
            if a < 0 or b < 0 or not kind.signed:
                raise self._too_large(node) from None
            kind = U64
            try:
                value = fold(node.op, a, b, False, strict=True)
            except OverflowError:
                raise self._too_large(node) from None
        if value is not None:
            if literals:
                kind = literal(value)
            self.replaced[node] = self._literal(node, value, kind)
        return kind

    def _too_large(self, node: ast.Binary) -> ScriptError:
        return ScriptError(
            "unable to fold literals due to overflow or underflow", node.span, "the result must fit 64 bits"
        )

    def _mixed_signs(self, node: ast.Binary, left: Type, right: Type) -> None:
        """Where one side may be negative and the other too large to be compared with it."""
        signs = signed(left), signed(right)
        natural = isinstance(left, Natural) or isinstance(right, Natural)
        if node.op not in _ORDERED or signs[0] == signs[1] or natural:
            return
        unsigned = right if signs[0] else left
        if unsigned == U64:
            self.warn(
                f"'{node.op}' on integers of different signs ('{left}' and '{right}'): both are taken as signed",
                node.span,
                "a cast of one side says what is meant",
            )

    def _rest_of(self, node: ast.Binary, text: ast.Expr, skip: ast.Expr) -> Type:
        """`$1 + 3`, or `3 + "text"`: what follows the first three bytes of a literal text."""
        assert isinstance(text, ast.Str) and isinstance(skip, ast.Int)
        if skip.value < 0:
            raise ScriptError(f"{node.span.text} begins before the text", node.span)
        rest = text.value[skip.value :]
        if not rest:
            hint = f"it has {len(text.value)} characters"
            self.warn(f"{node.span.text} is always empty", node.span, hint)
        return self.become(node, rest)

    def _known_truth(self, node: ast.Expr, truth: bool) -> None:
        made = ast.Bool(node.span, truth)
        self.types[made] = BOOL
        self.replaced[node] = made

    def _fits(self, node: ast.Expr, kind: Int) -> bool:
        """Whether a constant can be a value of an integer type."""
        value, bits = self.known_int(node), 8 * kind.size
        low, high = (-(1 << bits - 1), 1 << bits - 1) if kind.signed else (0, 1 << bits)
        return value is not None and low <= value < high

    def _shift_fits(self, op: str, right: ast.Expr) -> None:
        count = self.known_int(right)
        if op in ("<<", ">>") and count is not None and not 0 <= count < 64:
            self.warn(f"a shift by {count} bits: of 64-bit numbers, by {count & 63}", right.span)

    def _no_zero_division(self, op: str, right: ast.Expr) -> None:
        if op in ("/", "%") and self.known_int(right) == 0:
            raise ScriptError("division by zero", right.span)

    def _ternary(self, node: ast.Ternary) -> Type:
        self._condition(node.condition)
        then, other = stored(self._expr(node.then)), stored(self._expr(node.other))
        if isinstance(then, Void) and isinstance(other, Void):
            return VOID
        known = self.real(node.condition)
        truth = bool(known.value) if isinstance(known, ast.Str) else self.known_int(known)
        try:
            return unify(then, other, self._is_zero(node.then) or self._is_zero(node.other))
        except Mismatch:
            if truth is not None:  # nobody asks for the other one
                self.replaced[node] = node.then if truth else node.other
                return then if truth else other
            raise ScriptError(
                f"Ternary operator must return the same type: have '{then}' and '{other}'", node.span
            ) from None
