"""Functions that return from inside `for`: the loops are left first, then the function.

The body of such a loop may become a function that the kernel calls, which cannot return for another one.
So `for (...) { return x; }` is made `for (...) { $value = x; $left = 1; break; } if ($left) { return $value; }`.
"""

from __future__ import annotations

from collections.abc import Sequence

from pbt.lang import ast
from pbt.source import Span

_LOOPS = (ast.ForRange, ast.ForMap, ast.While, ast.Unroll)


def after_loops(body: ast.Block, number: int) -> ast.Block:
    """A function's body without returns in its `for` loops; `number` makes the new variables its own."""
    change = _Change(number)
    made = change.statements(body.body, inside=False)
    if not change.changed:
        return body
    flag = ast.Let(body.span, change.flag(body.span), None, ast.Int(body.span, 0))
    value = (ast.Let(body.span, change.value(body.span), None, None),) if change.valued else ()
    return ast.Block(body.span, (flag, *value, *made))


class _Change:
    def __init__(self, number: int) -> None:
        self._number = number
        self.changed = self.valued = False

    def flag(self, span: Span) -> ast.Var:
        return ast.Var(span, f"$left'{self._number}'")

    def value(self, span: Span) -> ast.Var:
        return ast.Var(span, f"$value'{self._number}'")

    def statements(self, body: Sequence[ast.Stmt], inside: bool) -> tuple[ast.Stmt, ...]:
        return tuple(made for stmt in body for made in self._statement(stmt, inside))

    def _block(self, block: ast.Block, inside: bool) -> ast.Block:
        return ast.Block(block.span, self.statements(block.body, inside))

    def _statement(self, stmt: ast.Stmt, inside: bool) -> Sequence[ast.Stmt]:
        if isinstance(stmt, ast.Jump):
            return self._return(stmt) if inside and stmt.kind == "return" else (stmt,)
        if isinstance(stmt, ast.Block):
            return (self._block(stmt, inside),)
        if isinstance(stmt, ast.If):
            return (self._if(stmt, inside),)
        if isinstance(stmt, _LOOPS):
            return self._loop(stmt, inside)
        return (stmt,)

    def _if(self, stmt: ast.If, inside: bool) -> ast.If:
        other = stmt.other
        if isinstance(other, ast.If):
            other = self._if(other, inside)
        elif other is not None:
            other = self._block(other, inside)
        return ast.If(stmt.span, stmt.condition, self._block(stmt.then, inside), other)

    def _return(self, jump: ast.Jump) -> Sequence[ast.Stmt]:
        self.changed, span = True, jump.span
        made: list[ast.Stmt] = [ast.Assign(span, self.flag(span), "=", ast.Int(span, 1))]
        if jump.value is not None:
            self.valued = True
            made.insert(0, ast.Assign(span, self.value(span), "=", jump.value))
        return (*made, ast.Jump(span, "break", None))

    def _loop(self, stmt: ast.Stmt, inside: bool) -> Sequence[ast.Stmt]:
        """The loop, and what leaves the one around it, or the function, where its body returns."""
        before, self.changed = self.changed, False
        values = [getattr(stmt, name) for name in stmt.fields[1:-1]]
        body: ast.Block = stmt.body  # type: ignore[attr-defined]
        deeper = inside or isinstance(stmt, (ast.ForRange, ast.ForMap))
        made: ast.Stmt = type(stmt)(stmt.span, *values, self._block(body, deeper))  # type: ignore[call-arg]
        returns, self.changed = self.changed and deeper, self.changed or before
        if not returns:
            return (made,)
        span = stmt.span
        value = self.value(span) if self.valued else None
        leave = ast.Jump(span, "break", None) if inside else ast.Jump(span, "return", value)
        return (made, ast.If(span, self.flag(span), ast.Block(span, (leave,)), None))
