"""Types and constant values of operators."""

from __future__ import annotations

from pbt.source import ScriptError, Span
from pbt.types import (
    BOOL,
    I64,
    U64,
    Array,
    Bool,
    Buffer,
    Int,
    Natural,
    Opaque,
    Pointer,
    Str,
    Struct,
    Tuple,
    Type,
    is_integral,
    is_signed,
    is_text,
)

AS_NUMBER = "as a number it can: (uint64)pointer"
COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")
_M64 = (1 << 64) - 1


def _bytes(type_: Type) -> bool:
    """What may be compared with text."""
    return isinstance(type_, Str) or (isinstance(type_, Array) and type_.element.size == 1)


def signed(type_: Type) -> bool:
    """Whether an operand asks for signed arithmetic, whatever the other is."""
    return is_signed(type_) and not isinstance(type_, Natural)


def both_signed(left: Type, right: Type) -> bool:
    """Whether two operands are taken as signed."""
    naturals = isinstance(left, Natural) and isinstance(right, Natural)
    return signed(left) or signed(right) or naturals


def binary_type(op: str, left: Type, right: Type, span: Span) -> Type:
    """The type of `left op right`; ScriptError if there is none."""
    if op in ("&&", "||"):
        for side in (left, right):
            if not is_integral(side):
                hint = 'compare a text with another: text != ""' if is_text(side) else ""
                raise ScriptError(
                    f"The {op} operator can not be used on expressions of type '{side}'", span, hint
                )
        return BOOL
    if op in ("==", "!=") and not (is_integral(left) and is_integral(right)):
        if comparable(left, right):
            return BOOL
        raise ScriptError(f"Type mismatch for '{op}': comparing {left} with {right}", span)
    if not (is_integral(left) and is_integral(right)):
        bad = f"{left}, {right}" if str(left) != str(right) else str(left)
        hint = "strings can only be compared by == and !=" if is_text(left) or is_text(right) else ""
        raise ScriptError(f"The {op} operator can not be used on expressions of types {bad}", span, hint)
    if op in COMPARISONS or (op in ("&", "|", "^") and isinstance(left, Bool) and isinstance(right, Bool)):
        return BOOL
    if isinstance(left, Pointer) or isinstance(right, Pointer):
        return _pointer_type(op, left, right, span)
    if op == "-":
        return I64
    return I64 if both_signed(left, right) else U64


def comparable(left: Type, right: Type) -> bool:
    """Whether values that are no numbers may be equal."""
    if isinstance(left, Array) and isinstance(right, Array) and not (is_text(left) or is_text(right)):
        return left.size == right.size and left.element.size == right.element.size
    if (_bytes(left) and _bytes(right)) or (isinstance(left, Buffer) and isinstance(right, Buffer)):
        return True
    if isinstance(left, Struct) and isinstance(right, Struct):
        return left == right and left.size > 0
    if isinstance(left, Tuple) and isinstance(right, Tuple) and left.like(right):
        pairs = (
            (kind, right.elements[at]) for kind, at in zip(left.elements, left.places(right), strict=True)
        )
        return all(comparable(a, b) or (is_integral(a) and is_integral(b)) for a, b in pairs)
    return isinstance(left, Opaque) and isinstance(right, Opaque) and left.size == right.size


def _pointer_type(op: str, left: Type, right: Type, span: Span) -> Type:
    if op in ("+", "-") and isinstance(left, Pointer) and not isinstance(right, Pointer):
        return left
    if op == "+" and isinstance(right, Pointer) and not isinstance(left, Pointer):
        return right
    raise ScriptError(
        f"The {op} operator can not be used on expressions of types {left}, {right}", span, AS_NUMBER
    )


def fold(op: str, a: int, b: int, as_signed: bool, strict: bool = False) -> int | None:
    """The value of a constant expression in 64 bits; None where it is left to run time.

    OverflowError where a signed result (`strict`: any) does not fit; a shift counts modulo 64.
    """
    if op in "&|^":
        a, b = wrap(a, as_signed), wrap(b, as_signed)
    if op == "+":
        value = a + b
    elif op == "-":
        value = a - b
    elif op == "*":
        value = a * b
    elif op in ("/", "%"):
        if not b:
            return None
        quotient = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
        value = quotient if op == "/" else a - b * quotient
    elif op == "&":
        value = a & b
    elif op == "|":
        value = a | b
    elif op == "^":
        value = a ^ b
    elif op == "<<":
        value = a << (b & 63)
    elif op == ">>":
        value = (a if as_signed else a & _M64) >> (b & 63)
    else:
        return None
    if (as_signed or strict) and value != wrap(value, as_signed):
        raise OverflowError
    return wrap(value, as_signed)


def holds(op: str, a: int, b: int, as_signed: bool) -> bool:
    """Whether a comparison or a connective of two known numbers is true, or one of the bits of two truths."""
    if op in ("&", "|", "^"):
        return bool(fold(op, a, b, as_signed))
    if op in ("&&", "||"):
        return bool(a and b) if op == "&&" else bool(a or b)
    a, b = wrap(a, as_signed), wrap(b, as_signed)
    return {"==": a == b, "!=": a != b, "<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[op]


def fold_text(op: str, a: str, b: str) -> str | bool:
    """Two literal texts as one, or how they compare: byte by byte, up to a NUL."""
    if op == "+":
        return a + b
    x, y = (text.encode("utf-8", "surrogateescape").partition(b"\0")[0] for text in (a, b))
    return holds(op, (x > y) - (x < y), 0, True)


def fold_unary(op: str, a: int) -> int:
    return wrap(-a if op == "-" else ~a, True)


def cut(value: int, kind: Int) -> int:
    """A number as an integer type holds it."""
    value &= (1 << 8 * kind.size) - 1
    return value - (1 << 8 * kind.size) if kind.signed and value >> (8 * kind.size - 1) else value


def wrap(value: int, as_signed: bool) -> int:
    """Cut to 64 bits."""
    value &= _M64
    return value - (1 << 64) if as_signed and value >> 63 else value
