"""Expressions with a number for value, and conditions → IR, one case per node."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from pbt.ir.build import Label
from pbt.ir.core import Condition, Value
from pbt.lang import ast
from pbt.lang.arith import COMPARISONS, both_signed, signed
from pbt.lower import loops, maps, memory, text
from pbt.lower.memory import Loc
from pbt.source import ScriptError
from pbt.types import CHAR, Array, Bool, Int, Pointer, Str, Type, is_integral, is_signed
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.lower.body import Body

NUMBER = Int(8, True)
_OPS = {"+": "add", "-": "sub", "*": "mul", "&": "and", "|": "or", "^": "xor", "<<": "shl"}
_CONDITIONS: dict[str, tuple[Condition, Condition]] = {
    "==": ("eq", "eq"), "!=": ("ne", "ne"), "<": ("ult", "slt"), "<=": ("ule", "sle"), ">": ("ugt", "sgt"),
    ">=": ("uge", "sge"),
}  # fmt: skip


def effect(body: Body, node: ast.Expr) -> None:
    """An expression for what it does; a value, if any, is dropped."""
    found = body.call_of(node)
    if found is not None and found[0].effect is not None:
        with early(body, found[1].args):
            found[0].effect(body, found[1])
        return
    if isinstance(node, ast.BlockExpr):
        body.statements(node.body)
        if node.value is not None:
            effect(body, node.value)
        return
    if isinstance(node, ast.Inlined):
        inlined(body, node, lambda value: effect(body, value))
        return
    if isinstance(node, ast.Ternary):
        _ternary_effect(body, node)
        return
    kind = body.type(node)
    if is_integral(kind):
        value(body, node)
    else:
        text.locate(body, node)


@contextmanager
def early(body: Body, args: Sequence[ast.Expr]) -> Iterator[None]:
    """Arguments that do things are evaluated before the call, which may be filling a record by then."""
    acting = [any(_acts(body, inner) for inner in arg.walk()) or _steps(arg) for arg in args]
    last = max((n for n, acts in enumerate(acting) if acts), default=0)
    made = [arg for n, arg in enumerate(args) if acting[n] or (n < last and _may_change(body, arg))]
    for arg in made:
        kind = body.type(arg)
        if is_integral(kind):
            name = f"early.{body.b.unique()}"
            body.b.assign(name, value(body, arg))
            body.early[body.real(arg)] = name
        else:
            room = body.temp(kind.size, "argument")
            body.into(arg, room, kind)
            body.early[body.real(arg)] = room
    yield
    for arg in made:
        del body.early[body.real(arg)]


def _steps(arg: ast.Expr) -> bool:
    """Whether it counts something up or down; of a map's element the key may be wanted, which is evaluated then."""
    return not isinstance(arg, ast.Index) and any(isinstance(inner, ast.Step) for inner in arg.walk())


def _may_change(body: Body, arg: ast.Expr) -> bool:
    """Whether it is a number that a later argument's step may change."""
    return any(isinstance(inner, ast.Var) for inner in arg.walk()) and is_integral(body.type(arg))


def _acts(body: Body, node: ast.Node) -> bool:
    if isinstance(node, ast.Call):
        found = body.call_of(node)
        return found is not None and found[0].effect is not None
    return isinstance(node, (ast.Jump, ast.ForMap, ast.Inlined))


def _ternary_effect(body: Body, node: ast.Ternary) -> None:
    b = body.b
    yes, no, after = b.block("then"), b.block("else"), b.block("after")
    branch(body, node.condition, yes, no)
    for label, side in ((yes, node.then), (no, node.other)):
        b.place(label)
        effect(body, side)
        if not b.ended:
            b.jump(after)
    if after.preds:
        b.place(after)


def value(body: Body, node: ast.Expr) -> Value:
    """The number that an integral expression is, canonical for its type."""
    node = body.real(node)
    if not is_integral(body.type(node)):
        raise ScriptError(f"a number is wanted here, not '{body.type(node)}'", node.span)
    with body.b.at(node.span):
        return _value(body, node)


def _value(body: Body, node: ast.Expr) -> Value:
    b = body.b
    known = body.early.get(node)
    if isinstance(known, str):
        return b.read(known)
    if isinstance(node, ast.Int):
        return b.const(node.value)
    if isinstance(node, ast.Bool):
        return b.const(int(node.value))
    found = body.call_of(node)
    if found is not None:
        builtin, call = found
        assert builtin.value is not None, builtin.name
        return builtin.value(body, call)
    if isinstance(node, ast.Var):
        return body.get(body.instance.names[node])
    if isinstance(node, ast.Map) or (isinstance(node, ast.Index) and isinstance(node.base, ast.Map)):
        return maps.read(body, node)
    half = loops.part(body, node)
    if half is not None:
        return loops.number(body, *half, body.type(node))
    if isinstance(node, ast.Index):
        return _element(body, node)
    if isinstance(node, ast.Member):
        return _member(body, node)
    if isinstance(node, ast.Unary):
        return _unary(body, node)
    if isinstance(node, ast.Step):
        return _step(body, node)
    if isinstance(node, ast.Binary):
        return _binary(body, node)
    if isinstance(node, ast.Ternary):
        return _choose(body, node)
    if isinstance(node, ast.BlockExpr):
        body.statements(node.body)
        assert node.value is not None
        return value(body, node.value)
    if isinstance(node, ast.Inlined):
        return _inlined_value(body, node)
    assert isinstance(node, ast.Cast), node
    return _cast(body, node)


def inlined(body: Body, node: ast.Inlined, give: Callable[[ast.Expr], None]) -> None:
    """The body of a function of the script; `give` takes what it returns, wherever it does."""
    b = body.b
    after = b.block("returned")

    def leave(jump: ast.Jump) -> None:
        if jump.value is not None:
            body.returns = outer
            give(jump.value)
            body.returns = leave
        b.jump(after)

    body.statements(node.params)
    outer, loops = body.returns, body.loops
    body.returns, body.loops = leave, []
    body.statements(node.body.body)
    body.returns, body.loops = outer, loops
    b.jump(after)
    b.place(after)


def _inlined_value(body: Body, node: ast.Inlined) -> Value:
    name, kind = f"result.{body.b.unique()}", body.type(node)
    body.b.assign(name, 0)
    inlined(body, node, lambda made: body.b.assign(name, converted(body, made, kind)))
    return body.b.read(name)


def narrowed(body: Body, number: Value, kind: Type) -> Value:
    """A 64-bit number cut to an integral type."""
    return body.b.extend(number, kind.size, is_signed(kind)) if kind.size < 8 else number


def converted(body: Body, node: ast.Expr, kind: Type) -> Value:
    """The value as another integral type."""
    return _as(body, value(body, node), body.type(node), kind)


def _as(body: Body, number: Value, source: Type, kind: Type) -> Value:
    """A number of one type, canonical for another."""
    same = source.size <= kind.size and is_signed(source) == is_signed(kind)
    return number if same else narrowed(body, number, kind)


# --- conditions -------------------------------------------------------------------------------


def branch(body: Body, node: ast.Expr, yes: Label, no: Label) -> None:
    """To `yes` if the condition holds, else to `no`; && and || evaluate what they need."""
    real = body.real(node)
    b = body.b
    with b.at(real.span):
        if isinstance(real, ast.Binary) and real.op in ("&&", "||"):
            more = b.block("and" if real.op == "&&" else "or")
            branch(body, real.left, *((more, no) if real.op == "&&" else (yes, more)))
            b.place(more)
            branch(body, real.right, yes, no)
        elif isinstance(real, ast.Unary) and real.op == "!":
            branch(body, real.operand, no, yes)
        elif isinstance(real, ast.Binary) and real.op in COMPARISONS:
            _compare(body, real, yes, no)
        elif is_integral(body.type(real)):
            b.branch("ne", value(body, real), 0, yes, no)
        else:  # a literal text
            loc = text.locate(body, real)
            b.branch("ne", memory.load(body, loc, Int(1)), 0, yes, no)


def _compare(body: Body, node: ast.Binary, yes: Label, no: Label) -> None:
    left, right = body.type(node.left), body.type(node.right)
    if is_integral(left) and is_integral(right):
        a, c = value(body, node.left), value(body, node.right)
        body.b.branch(_condition(body, node), a, c, yes, no)
        return
    same = text.equal(body, node.left, node.right)
    wanted = (yes, no) if node.op == "==" else (no, yes)
    body.b.branch("ne", same, 0, *wanted)


def _condition(body: Body, node: ast.Binary) -> Condition:
    is_signed_ = _signed(body, node.left, node.right)
    return _CONDITIONS[node.op][is_signed_]


def _signed(body: Body, left: ast.Expr, right: ast.Expr) -> bool:
    return both_signed(body.type(left), body.type(right))


# --- operators --------------------------------------------------------------------------------


def _unary(body: Body, node: ast.Unary) -> Value:
    b = body.b
    if node.op == "*":
        return memory.load(body, text.locate(body, node), body.type(node))
    if node.op == "&":
        return _address_of(body, node.operand)
    if node.op == "!":
        return _as_flag(body, node)
    operand = value(body, node.operand)
    made = b.neg(operand) if node.op == "-" else b.op("xor", operand, -1)
    return narrowed(body, made, body.type(node))


def _address_of(body: Body, node: ast.Expr) -> Value:
    if isinstance(node, ast.Map):
        return body.b.map_value(node.name)
    assert isinstance(node, ast.Var)
    name, kind = body.instance.names[node], body.type(node)
    if not is_integral(kind):
        return body.address(body.variable(name))
    at = body.shared.offsets[name] + (8 - kind.size if body.arch.byteorder == "big" else 0)
    return body.b.add(body.shared_base(), at)


def _as_flag(body: Body, node: ast.Expr) -> Value:
    b = body.b
    name = f"flag.{b.unique()}"
    yes, no, after = b.block("true"), b.block("false"), b.block("flag")
    branch(body, node, yes, no)
    for label, number in ((yes, 1), (no, 0)):
        b.place(label)
        b.assign(name, number)
        b.jump(after)
    b.place(after)
    return b.read(name)


def _binary(body: Body, node: ast.Binary) -> Value:
    if node.op in ("&&", "||"):
        return _as_flag(body, node)
    if node.op in COMPARISONS:
        left, right = body.type(node.left), body.type(node.right)
        if is_integral(left) and is_integral(right):
            a = value(body, node.left)
            return body.b.compare(_condition(body, node), a, value(body, node.right))
        same = text.equal(body, node.left, node.right)
        return same if node.op == "==" else body.b.op("xor", same, 1)
    left_type, right_type = body.type(node.left), body.type(node.right)
    if node.op == "+" and isinstance(right_type, Pointer) and not isinstance(left_type, Pointer):
        return arithmetic(body, node.op, value(body, node.right), node.right, node.left)
    return arithmetic(body, node.op, value(body, node.left), node.left, node.right)


def arithmetic(body: Body, op: str, left: Value, left_node: ast.Expr, right_node: ast.Expr) -> Value:
    """`left op right`, 64-bit; pointers move by whole elements, divisions are signed if a side is."""
    b = body.b
    right = value(body, right_node)
    kind = body.type(left_node)
    if isinstance(kind, Pointer) and op in ("+", "-"):
        right = _scaled(body, right, kind)
    if op in _OPS:
        return b.op(_OPS[op], left, right)
    is_signed_ = _signed(body, left_node, right_node)
    if op == ">>":
        return b.op("ashr" if signed(kind) else "lshr", left, right)
    return b.op(("s" if is_signed_ else "u") + {"/": "div", "%": "mod"}[op], left, right)


def _scaled(body: Body, number: Value, kind: Pointer) -> Value:
    size = max(kind.target.size, 1)
    return number if size == 1 else body.b.op("mul", number, size)


def plain_sum(body: Body, target: ast.Expr) -> bool:
    """Whether `target += n` may be one atomic addition."""
    return not isinstance(body.type(target), Pointer)


def _step(body: Body, node: ast.Step) -> Value:
    b = body.b
    kind = body.type(node.operand)
    by = max(kind.target.size, 1) if isinstance(kind, Pointer) else 1
    by = by if node.op == "++" else -by
    if isinstance(node.operand, ast.Var):
        name = body.instance.names[node.operand]
        old = body.get(name)
        new = narrowed(body, b.add(old, by), kind)
        body.set(name, new)
        return new if node.prefix else old
    return maps.step(body, node.operand, by, node.prefix)


def _choose(body: Body, node: ast.Ternary) -> Value:
    b = body.b
    name = f"ternary.{b.unique()}"
    yes, no, after = b.block("then"), b.block("else"), b.block("after")
    branch(body, node.condition, yes, no)
    for label, side in ((yes, node.then), (no, node.other)):
        b.place(label)
        b.assign(name, value(body, side))
        b.jump(after)
    b.place(after)
    return b.read(name)


def _cast(body: Body, node: ast.Cast) -> Value:
    kind, source = body.type(node), body.type(node.operand)
    if body.kept(node):  # an array's address
        loc = text.locate(body, node.operand)
        return body.b.add(loc.base, loc.offset) if loc.offset else loc.base
    if isinstance(source, Str):
        return (
            _text_address(body, node.operand) if isinstance(kind, Pointer) else _as_flag(body, node.operand)
        )
    if not is_integral(source):
        assert isinstance(source, Array)
        return memory.load(body, text.locate(body, node.operand), Int(source.size))
    made = value(body, node.operand)
    if isinstance(kind, Bool):
        return body.b.compare("ne", made, 0)
    return _as(body, made, source, kind)


def _text_address(body: Body, node: ast.Expr) -> Value:
    """Where a copy of a text lies while the program runs."""
    kind = body.type(node)
    place = body.scratch(kind.size, "text")
    body.into(node, place, kind)
    return body.address(place)


# --- parts of things --------------------------------------------------------------------------


def _member(body: Body, node: ast.Member) -> Value:
    member = body.kept(node)
    loc = text.locate(body, node)
    if member is not None and member.bit_size:
        return memory.load_bits(body, loc, member)
    return memory.load(body, loc, body.type(node))


def _element(body: Body, node: ast.Index) -> Value:
    base, index = body.type(node.base), body.real(node.keys[0])
    if isinstance(base, (Array, Str)) and not isinstance(index, ast.Int):
        loc = text.locate(body, node.base)
        kind = Array(CHAR, base.size) if isinstance(base, Str) else base
        if loc.space in ("bpf", "ctx") and kind.count <= _PICKED:
            return _picked(body, loc, kind, value(body, index))
        if loc.space == "bpf":
            return _read_element(body, loc, kind, value(body, index))
    return memory.load(body, text.locate(body, node), body.type(node))


_PICKED = 16  # elements: of longer arrays, one is read by a helper


def _read_element(body: Body, loc: Loc, kind: Array, index: Value) -> Value:
    """The same by a helper, which takes any address; 0 beyond the end."""
    b, size = body.b, kind.element.size

    def read() -> Value:
        at = b.op("mul", index, size) if size > 1 else index
        return memory.load(body, Loc("kernel", b.add(loc.base, at), loc.offset), kind.element)

    return b.choose("ult", index, kind.count, read, lambda: 0)


def _picked(body: Body, loc: Loc, kind: Array, index: Value) -> Value:
    """One of the elements by a number known only when it runs; 0 beyond the end."""
    b = body.b
    made = b.const(0)
    for i in range(kind.count):
        item = memory.load(body, loc.plus(i * kind.element.size), kind.element)
        made = b.select(b.compare("eq", index, i), item, made)
    return made
