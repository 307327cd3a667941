"""Statements → IR, one case per node."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from pbt.feature import Aggregation
from pbt.lang import ast
from pbt.lower import expr, loops, maps
from pbt.source import ScriptError
from pbt.types import Array, is_integral
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.lower.body import Body


def block(body: Body, node: ast.Block) -> None:
    statements(body, node.body)


def statements(body: Body, items: Sequence[ast.Stmt]) -> None:
    """Statements up to the first that leaves."""
    for item in items:
        if body.b.ended:
            break
        with body.b.at(item.span):
            statement(body, item)


def statement(body: Body, node: ast.Stmt) -> None:
    if isinstance(node, ast.ExprStmt):
        body.ignored = None if node.dropped else node.value
        expr.effect(body, node.value)
    elif isinstance(node, ast.Assign):
        _assign(body, node)
    elif isinstance(node, ast.Let):
        if node.value is not None:
            _set_variable(body, node.var, node.value)
        elif is_integral(body.instance.variables.get(body.instance.names[node.var], _NUMBER)):
            body.set(body.instance.names[node.var], 0)
    elif isinstance(node, ast.ArrayDecl):
        _array(body, node)
    elif isinstance(node, ast.Block):
        block(body, node)
    elif isinstance(node, ast.If):
        _if(body, node)
    elif isinstance(node, ast.While):
        _while(body, node)
    elif isinstance(node, ast.Unroll):
        _unroll(body, node)
    elif isinstance(node, ast.ForRange):
        _for_range(body, node)
    elif isinstance(node, ast.ForMap):
        _for_map(body, node)
    else:
        assert isinstance(node, ast.Jump)
        if node.kind == "return":
            _return(body, node)
        else:
            body.loops[-1][node.kind == "continue"]()


def _return(body: Body, node: ast.Jump) -> None:
    if body.returns is None:
        if node.value is not None and body.probe.answers:
            body.leave(expr.value(body, node.value))
            return
        if node.value is not None:
            expr.effect(body, node.value)
        body.leave()
    else:
        body.returns(node)


_NUMBER = expr.NUMBER


def _assign(body: Body, node: ast.Assign) -> None:
    record = body.kept(node)
    if isinstance(record, Aggregation):
        assert isinstance(node.value, ast.Call)
        maps.aggregate(body, node.target, record, node.value.args)
    elif isinstance(node.target, ast.Var):
        if node.op == "=":
            _set_variable(body, node.target, node.value)
        else:
            name = body.instance.names[node.target]
            left = expr.value(body, node.target)
            made = expr.arithmetic(body, node.op[:-1], left, node.target, node.value)
            body.set(name, expr.narrowed(body, made, body.instance.variables[name]))
    elif node.op == "=":
        maps.assign(body, node.target, node.value)
    else:
        op = node.op[:-1]
        maps.update(
            body,
            node.target,
            lambda old: expr.arithmetic(body, op, old, node.target, node.value),
            add=expr.value(body, node.value) if op == "+" and expr.plain_sum(body, node.target) else None,
        )


def _set_variable(body: Body, var: ast.Var, value: ast.Expr) -> None:
    name = body.instance.names[var]
    kind = body.instance.variables[name]
    if is_integral(kind):
        body.set(name, expr.converted(body, value, kind))
    else:
        body.into(value, body.variable(name), kind)


def _array(body: Body, node: ast.ArrayDecl) -> None:
    kind = body.instance.variables[node.name]
    assert isinstance(kind, Array)
    to = body.variable(node.name)
    for index in range(kind.count):
        item = expr.value(body, node.items[index]) if index < len(node.items) else 0
        body.b.store(to.base, to.offset + index * kind.element.size, kind.element.size, item)


def _if(body: Body, node: ast.If) -> None:
    b, known = body.b, body.kept(node)
    if known is not None:
        if known or node.other is not None:
            statement(body, node.then if known or node.other is None else node.other)
        return
    then, after = b.block("then"), b.block("after")
    other = b.block("else") if node.other is not None else after
    expr.branch(body, node.condition, then, other)
    b.place(then)
    block(body, node.then)
    leaves = b.ended
    if not b.ended:
        b.jump(after)
    if node.other is not None:
        b.place(other)
        with b.at(node.other.span):
            statement(body, node.other)
        leaves = leaves and b.ended
        if not b.ended:
            b.jump(after)
        if leaves:
            return
    b.place(after)


def _while(body: Body, node: ast.While) -> None:
    b = body.b
    head, inside, after = b.block("while"), b.block("do"), b.block("done")
    b.jump(head)
    b.place(head, sealed=False)
    expr.branch(body, node.condition, inside, after)
    body.loops.append((partial(b.jump, after), partial(b.jump, head)))
    b.place(inside)
    block(body, node.body)
    if not b.ended:
        b.jump(head)
    body.loops.pop()
    b.seal(head)
    b.place(after)


def _unroll(body: Body, node: ast.Unroll) -> None:
    b = body.b
    after = b.block("unrolled")
    for _ in range(body.kept(node)):
        following = b.block("turn")
        body.loops.append((partial(b.jump, after), partial(b.jump, following)))
        block(body, node.body)
        body.loops.pop()
        if not b.ended:
            b.jump(following)
        if not following.preds:
            break
        b.place(following)
    if not b.ended:
        b.jump(after)
    if after.preds:
        b.place(after)


def _for_range(body: Body, node: ast.ForRange) -> None:
    """Start and end are evaluated once."""
    turns = loops.known_turns(body.instance, node)
    if turns is not None and turns > MOST_TURNS:
        raise ScriptError(f"a loop runs at most {MOST_TURNS} times, not {turns}", node.span, "nest two loops")
    if node in body.shared.called:
        _called_range(body, node)
    else:
        _bounded_range(body, node, turns is not None)


MOST_TURNS = 1 << 23  # BPF_MAX_LOOPS, the limit of bpf_loop
GUARDED_TURNS = 1024  # of a bounded loop whose end is unknown: the verifier walks them all


def _called_range(body: Body, node: ast.ForRange) -> None:
    """The body is a subprogram, which the kernel calls for each number."""
    b = body.b
    assert body.has("bpf_loop")
    start, end = expr.value(body, node.start), expr.value(body, node.end)
    with b.when("slt", start, end):  # a function that is never called would be dropped, the address of it not
        turns = b.sub(end, start)
        turns = b.choose("ugt", turns, MOST_TURNS, lambda: MOST_TURNS, lambda: turns)
        b.store(body.shared_base(), body.shared.starts[body.instance.names[node.var]], 8, start)
        name, leaves = body.callback(node)
        b.call("loop", turns, b.func(name), body.shared_base(), 0)
    _leave_if_left(body, leaves)


def _bounded_range(body: Body, node: ast.ForRange, known: bool) -> None:
    """A loop that the verifier walks turn by turn; it is cut short, and that is said, if its end is unknown."""
    b = body.b
    name = body.instance.names[node.var]
    counter, limit, wanted = f"{name}.counter", f"{name}.end", f"{name}.wanted"
    b.assign(counter, expr.value(body, node.start))
    b.assign(limit, expr.value(body, node.end))
    if not known:
        b.assign(wanted, b.read(limit))
        most = b.add(b.read(counter), GUARDED_TURNS)
        b.assign(limit, b.choose("slt", most, b.read(limit), lambda: most, lambda: b.read(limit)))
    head, inside, step, after = b.block("for"), b.block("do"), b.block("next"), b.block("done")
    b.jump(head)
    b.place(head, sealed=False)
    b.branch("slt", b.read(counter), b.read(limit), inside, after)
    body.loops.append((partial(b.jump, after), partial(b.jump, step)))
    b.place(inside)
    body.set(name, b.read(counter))
    block(body, node.body)
    if not b.ended:
        b.jump(step)
    body.loops.pop()
    if step.preds:
        b.place(step)
        b.assign(counter, b.add(b.read(counter), 1))
        b.jump(head)
    b.seal(head)
    b.place(after)
    if not known:
        with (
            b.when("sge", b.read(counter), b.read(limit)),
            b.when("slt", b.read(limit), b.read(wanted)),
            body.event("warnf", (), CUT_SHORT),
        ):
            pass


CUT_SHORT = (
    f"this loop ended after {GUARDED_TURNS} turns: the kernel has no bpf_loop, which came with Linux 5.17\n"
)


def _for_map(body: Body, node: ast.ForMap) -> None:
    """The body of the loop is a subprogram, which the kernel calls for each element."""
    b = body.b
    if not body.has("for_each_map_elem"):
        raise ScriptError("this kernel cannot go through a map", node.span, "it came with Linux 5.13")
    name, leaves = body.callback(node)
    b.call("for_each_map_elem", b.map(node.map.name), b.func(name), body.shared_base(), 0)
    _leave_if_left(body, leaves)


def _leave_if_left(body: Body, leaves: bool) -> None:
    """What a loop's body began: leave the probe, or the loop around it."""
    b = body.b
    if leaves:
        with b.when("ne", b.load(body.shared_base(), loops.LEFT, 8)):
            body.leave(b.load(body.shared_base(), loops.RESULT, 8) if body.probe.answers else None)
