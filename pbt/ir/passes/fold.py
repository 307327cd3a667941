"""Compute what is known: constants, identities, narrow values, branches on known numbers.

Arithmetic is that of RFC 9669: 64 bits, x / 0 = 0, x % 0 = x, shifts by the low six bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pbt.data import replace
from pbt.ir.core import (
    INVERSE,
    SWAPPED,
    Block,
    Branch,
    Condition,
    Function,
    Jump,
    Op,
    Terminator,
    Value,
)
from pbt.ir.flow import definitions, next_id, substitute, with_args, with_operands

_M64 = (1 << 64) - 1
_COMMUTATIVE = ("add", "mul", "and", "or", "xor")
_SHIFTS = ("shl", "lshr", "ashr")
_DEPTH = 6  # how far to look back for the width of a value


def _signed(number: int) -> int:
    number &= _M64
    return number - (1 << 64) if number >> 63 else number


def _quotient(a: int, b: int) -> int:
    """Towards zero."""
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


COMPUTE: dict[str, Callable[[int, int], int]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "udiv": lambda a, b: (a & _M64) // (b & _M64) if b else 0,
    "umod": lambda a, b: (a & _M64) % (b & _M64) if b else a,
    "sdiv": lambda a, b: _quotient(a, b) if b else 0,
    "smod": lambda a, b: a - b * _quotient(a, b) if b else a,
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
    "shl": lambda a, b: a << (b & 63),
    "lshr": lambda a, b: (a & _M64) >> (b & 63),
    "ashr": lambda a, b: a >> (b & 63),
}
"""Binary operations on signed numbers; the result is still to be cut to 64 bits."""

_COMPARE: dict[Condition, Callable[[int, int], bool]] = {
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "ult": lambda a, b: a & _M64 < b & _M64,
    "ule": lambda a, b: a & _M64 <= b & _M64,
    "ugt": lambda a, b: a & _M64 > b & _M64,
    "uge": lambda a, b: a & _M64 >= b & _M64,
    "slt": lambda a, b: a < b,
    "sle": lambda a, b: a <= b,
    "sgt": lambda a, b: a > b,
    "sge": lambda a, b: a >= b,
}


def holds(cond: Condition, left: int, right: int) -> bool:
    """Whether `left cond right`, for numbers written signed."""
    return _COMPARE[cond](_signed(left), _signed(right))


_REFLEXIVE = ("eq", "ule", "uge", "sle", "sge")

Answer = Value | int | Op | None  # another value, a number, a better operation, or nothing better


def fold(function: Function) -> Function:
    """Replace operations by constants, by values that exist, or by cheaper operations."""
    return _Folding(function).run()


class _Folding:
    def __init__(self, function: Function) -> None:
        self.function = function
        self.defs = definitions(function)
        self.to: dict[Value, Value] = {}
        self.next = next_id(function)
        self.before: list[Op] = []  # constants that the operation at hand came to need

    def run(self) -> Function:
        blocks = tuple(self.block(b) for b in self.function.blocks)
        return substitute(replace(self.function, blocks=blocks), self.to)

    def block(self, block: Block) -> Block:
        ops: list[Op] = []
        for op in block.ops:
            kept = self.op(op)
            ops += self.before
            self.before = []
            if kept is not None:
                ops.append(kept)
        end = self.end(with_operands(block.end, self.to))
        return Block(block.name, block.params, tuple(ops), end)

    def op(self, op: Op) -> Op | None:
        """The operation as good as it gets, or None if its value is another one."""
        op = with_args(op, self.to)
        result = op.result
        while result is not None and op.code in _RULES:
            answer = _RULES[op.code](self, op)
            if isinstance(answer, int):
                if result.kind != "int":
                    break
                answer = Op("const", (), result, _signed(answer), span=op.span)
            if isinstance(answer, Value):
                if answer.kind != result.kind:
                    break
                self.to[result] = answer
                return None
            if answer is None:
                break
            self.defs[result] = op = replace(answer, span=op.span)
        return op

    def end(self, end: Terminator) -> Terminator:
        if not isinstance(end, Branch):
            return end
        cond, left, right = self.condition(end.cond, end.left, end.right)
        known = self.decide(cond, left, right)
        if known is not None or end.then == end.other:
            return Jump(end.then if known is not False else end.other, end.span)
        return Branch(cond, left, right, end.then, end.other, end.span)

    # --- what is known ------------------------------------------------------------------------

    def number(self, value: Value) -> int | None:
        made = self.defs.get(value)
        return _signed(made.imm) if made is not None and made.code == "const" else None

    def constant(self, number: int) -> Value:
        """A new constant in front of the operation at hand."""
        value = Value(self.next, "int")
        self.next += 1
        self.defs[value] = made = Op("const", (), value, _signed(number))
        self.before.append(made)
        return value

    def bits(self, value: Value, depth: int = _DEPTH) -> int:
        """How many low bits of a value may be set at most; the others are 0."""
        made = self.defs.get(value)
        if made is None or not depth:
            return 64
        rule = _BITS.get(made.code)
        return 64 if rule is None else min(64, rule(self, made, depth - 1))

    def condition(self, cond: Condition, left: Value, right: Value) -> tuple[Condition, Value, Value]:
        """Look through comparisons whose result is compared with 0 or 1; numbers go right."""
        for _ in range(_DEPTH):
            made, number = self.defs.get(left), self.number(right)
            if made is None or made.code != "cmp" or cond not in ("eq", "ne") or number not in (0, 1):
                break
            inner = made.cond
            cond = inner if (cond == "ne") != bool(number) else INVERSE[inner]
            left, right = (_last(a, self.to) for a in made.args)
        if self.number(left) is not None and self.number(right) is None:
            return SWAPPED[cond], right, left
        return cond, left, right

    def decide(self, cond: Condition, left: Value, right: Value) -> bool | None:
        if left == right:
            return cond in _REFLEXIVE
        a, b = self.number(left), self.number(right)
        if b is None:
            return None
        if a is not None:
            return holds(cond, a, b)
        if b == 0 and cond in ("ult", "uge"):
            return cond == "uge"
        if left.kind == "int" and not 0 <= b < 1 << min(self.bits(left), 63) and self.bits(left) < 63:
            return _outside(cond, b)
        return None


def _outside(cond: Condition, number: int) -> bool:
    """What holds for values that are all non-negative and less than the number, if it is positive."""
    if cond in ("eq", "ne"):
        return cond == "ne"
    below = number >= 0 or cond[0] == "u"  # a negative number is a huge one when unsigned
    return cond[1:] in ("lt", "le") if below else cond[1:] in ("gt", "ge")


def _last(value: Value, to: Mapping[Value, Value]) -> Value:
    while value in to:
        value = to[value]
    return value


# --- rules: each looks at one operation ---------------------------------------------------------


def _binary(f: _Folding, op: Op) -> Answer:
    left, right = op.args
    a, b = f.number(left), f.number(right)
    if a is not None and b is not None:
        return COMPUTE[op.code](a, b)
    if a is not None and op.code in _COMMUTATIVE and right.kind == left.kind:
        return replace(op, args=(right, left))
    if left == right and left.kind == "int" and op.code in _SAME:
        same = _SAME[op.code]
        return left if same is None else same
    if b is None:
        return None
    return _with_number(f, op, left, b)


_SAME: dict[str, int | None] = {"sub": 0, "xor": 0, "and": None, "or": None}


def _with_number(f: _Folding, op: Op, left: Value, b: int) -> Answer:
    if (op.code, b) in _IDENTITIES:
        known = _IDENTITIES[op.code, b]
        return left if known is None else known
    if op.code in _SHIFTS and not 0 <= b < 64:
        return replace(op, args=(left, f.constant(b & 63)))
    if op.code == "sub":
        return replace(op, code="add", args=(left, f.constant(-b)))
    if op.code in ("sdiv", "mul") and b == -1:
        return Op("neg", (left,), op.result)
    chained = _chain(f, op, left, b)
    if chained is not None:
        return chained
    if op.code == "and":
        return _masked(f, op, left, b)
    if op.code in ("lshr", "ashr"):
        return _shifted(f, op, left, b)
    return _power(f, op, left, b)


_IDENTITIES: dict[tuple[str, int], int | None] = {
    ("add", 0): None, ("sub", 0): None, ("mul", 1): None, ("mul", 0): 0, ("udiv", 1): None,
    ("udiv", 0): 0, ("sdiv", 1): None, ("sdiv", 0): 0, ("umod", 0): None, ("umod", 1): 0,
    ("smod", 0): None, ("smod", 1): 0, ("smod", -1): 0, ("and", 0): 0, ("and", -1): None,
    ("or", 0): None, ("or", -1): -1, ("xor", 0): None, ("shl", 0): None, ("lshr", 0): None,
    ("ashr", 0): None,
}  # fmt: skip
"""(operation, right number) → the result, or None for the left side."""


def _chain(f: _Folding, op: Op, left: Value, b: int) -> Answer:
    """(x + 1) + 2 and the like."""
    made = f.defs.get(left)
    if op.code not in _COMMUTATIVE or made is None or made.code != op.code:
        return None
    inner = f.number(made.args[1])
    if inner is None:
        return None
    return replace(op, args=(_last(made.args[0], f.to), f.constant(COMPUTE[op.code](inner, b))))


def _masked(f: _Folding, op: Op, left: Value, b: int) -> Answer:
    if b > 0 and b & (b + 1) == 0:
        width = b.bit_length()
        if f.bits(left) <= width:
            return left
        if width in (8, 16, 32):
            return Op("zext", (left,), op.result, size=width // 8)
    return None


def _shifted(f: _Folding, op: Op, left: Value, b: int) -> Answer:
    """Up and down again by as much is an extension."""
    made = f.defs.get(left)
    if made is not None and made.code == "shl" and f.number(made.args[1]) == b and b in (32, 48, 56):
        source, size = _last(made.args[0], f.to), (64 - b) // 8
        return Op("zext" if op.code == "lshr" else "sext", (source,), op.result, size=size)
    if op.code == "ashr" and f.bits(left) < 64:
        return replace(op, code="lshr")
    return 0 if op.code == "lshr" and f.bits(left) <= b else None


def _power(f: _Folding, op: Op, left: Value, b: int) -> Answer:
    """Shifts and masks for unsigned arithmetic with powers of two."""
    b &= _M64
    if op.code not in ("mul", "udiv", "umod", "sdiv", "smod") or b & (b - 1):
        return None
    if op.code in ("sdiv", "smod"):
        if f.bits(left) == 64 or b >> 63:
            return None
        return replace(op, code="udiv" if op.code == "sdiv" else "umod")
    if op.code == "umod":
        return replace(op, code="and", args=(left, f.constant(b - 1)))
    shift = f.constant(b.bit_length() - 1)
    return replace(op, code="shl" if op.code == "mul" else "lshr", args=(left, shift))


def _negation(f: _Folding, op: Op) -> Answer:
    number, made = f.number(op.args[0]), f.defs.get(op.args[0])
    if number is not None:
        return -number
    return _last(made.args[0], f.to) if made is not None and made.code == "neg" else None


def _zero_extension(f: _Folding, op: Op) -> Answer:
    (value,), bits = op.args, 8 * op.size
    number, made = f.number(value), f.defs.get(value)
    if number is not None:
        return number & ((1 << bits) - 1)
    if f.bits(value) <= bits:
        return value
    if made is not None and made.code in ("zext", "sext") and made.size >= op.size:
        return replace(op, args=(_last(made.args[0], f.to),))
    return None


def _sign_extension(f: _Folding, op: Op) -> Answer:
    (value,), bits = op.args, 8 * op.size
    number, made = f.number(value), f.defs.get(value)
    if number is not None:
        low = number & ((1 << bits) - 1)
        return low - (1 << bits) if low >> (bits - 1) else low
    if op.size == 8 or f.bits(value) < bits:
        return value
    if made is not None and made.code in ("sext", "sload") and made.size <= op.size:
        return value
    if made is not None and made.code in ("zext", "sext") and made.size >= op.size:
        return replace(op, args=(_last(made.args[0], f.to),))
    return None


def _byte_swap(f: _Folding, op: Op) -> Answer:
    number = f.number(op.args[0])
    if number is None:
        return None
    low = number & ((1 << 8 * op.size) - 1)
    return int.from_bytes(low.to_bytes(op.size, "little"), "big")


def _comparison(f: _Folding, op: Op) -> Answer:
    cond, left, right = f.condition(op.cond, *op.args)
    known = f.decide(cond, left, right)
    if known is not None:
        return int(known)
    if (cond, left, right) == (op.name, *op.args):
        return None
    return replace(op, name=cond, args=(left, right))


def _selection(f: _Folding, op: Op) -> Answer:
    flag, then, other = op.args
    number = f.number(flag)
    if number is not None:
        return then if number else other
    if then == other:
        return then
    a, b = f.number(then), f.number(other)
    if a is not None and a == b:
        return then
    if (a, b) == (1, 0):
        return flag
    if (a, b) == (0, 1):
        return Op("cmp", (flag, then), op.result, name="eq")
    return None


_RULES: dict[str, Callable[[_Folding, Op], Answer]] = {
    **dict.fromkeys(COMPUTE, _binary),
    "neg": _negation,
    "zext": _zero_extension,
    "sext": _sign_extension,
    "bswap": _byte_swap,
    "cmp": _comparison,
    "select": _selection,
}


# --- how many bits a result has -----------------------------------------------------------------
#
# Only what the kernel's verifier works out as well: a bound that is cut away here because products,
# quotients or swapped bytes are known to be small would be missing there (u8 * u8 is bounded from
# v6.12 on, division from v7.3 on).


def _number_bits(f: _Folding, op: Op, depth: int) -> int:
    return (op.imm & _M64).bit_length()


def _and_bits(f: _Folding, op: Op, depth: int) -> int:
    return min(f.bits(a, depth) for a in op.args)


def _or_bits(f: _Folding, op: Op, depth: int) -> int:
    return max(f.bits(a, depth) for a in op.args)


def _shl_bits(f: _Folding, op: Op, depth: int) -> int:
    number = f.number(op.args[1])
    return 64 if number is None else f.bits(op.args[0], depth) + (number & 63)


def _lshr_bits(f: _Folding, op: Op, depth: int) -> int:
    number, bits = f.number(op.args[1]), f.bits(op.args[0], depth)
    return bits if number is None else max(0, bits - (number & 63))


_BITS: dict[str, Callable[[_Folding, Op, int], int]] = {
    "const": _number_bits,
    "load": lambda f, op, depth: 8 * op.size,
    "zext": lambda f, op, depth: min(8 * op.size, f.bits(op.args[0], depth)),
    "cmp": lambda f, op, depth: 1,
    "and": _and_bits,
    "or": _or_bits,
    "xor": _or_bits,
    "add": lambda f, op, depth: _or_bits(f, op, depth) + 1,
    "shl": _shl_bits,
    "lshr": _lshr_bits,
    "select": lambda f, op, depth: max(f.bits(a, depth) for a in op.args[1:]),
}
