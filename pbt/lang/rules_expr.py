"""Rules of expressions: tree → nodes."""

from __future__ import annotations

from collections.abc import Callable

from pbt.lang import ast
from pbt.lang.literals import number, unquote
from pbt.lang.rules_c import CRules
from pbt.lang.scope import ONCE
from pbt.source import ScriptError, Span
from pbt.typing import Any


class ExprRules(CRules):
    """Everything that has a value."""

    def _binary(self, tree: Any, span: Span) -> ast.Binary:
        left, op, right = tree.children
        return ast.Binary(span, str(op), self.make(left), self.make(right))

    def _fixed(op: str) -> Callable[[ExprRules, Any, Span], ast.Binary]:  # type: ignore[misc]
        """A binary operation whose operator the grammar leaves out of the tree."""
        return lambda self, tree, span: ast.Binary(span, op, *self.all(tree.children))

    _bitor, _bitxor, _bitand = _fixed("|"), _fixed("^"), _fixed("&")
    _add, _div, _mod = _fixed("+"), _fixed("/"), _fixed("%")

    def _ternary(self, tree: Any, span: Span) -> ast.Ternary:
        return ast.Ternary(span, *self.all(tree.children))

    def _elvis(self, tree: Any, span: Span) -> ast.BlockExpr:
        """`a ?: b` computes `a` once."""
        made, other = self.all(tree.children)
        name = f"{ONCE}{tree.start_pos}"
        let = ast.Let(span, ast.Var(made.span, name), None, made)
        condition, then = ast.Var(made.span, name), ast.Var(made.span, name)
        return ast.BlockExpr(span, (let,), ast.Ternary(span, condition, then, other))

    def _unary(self, tree: Any, span: Span) -> ast.Expr:
        op, operand = tree.children
        made = self.make(operand)
        if op == "-" and operand.data == "int":
            if made.value > 1 << 63:
                raise ScriptError(f"-{made.value} does not fit 64 bits", span)
            return ast.Int(span, -made.value)
        return ast.Unary(span, str(op), made)

    def _address_of(self, tree: Any, span: Span) -> ast.Unary:
        return ast.Unary(span, "&", self.make(tree.children[0]))

    def _pre_step(self, tree: Any, span: Span) -> ast.Step:
        return self._stepped(span, str(tree.children[0]), True, tree.children[1])

    def _post_step(self, tree: Any, span: Span) -> ast.Step:
        return self._stepped(span, str(tree.children[1]), False, tree.children[0])

    def _stepped(self, span: Span, op: str, prefix: bool, tree: Any) -> ast.Step:
        made = self.make(tree)
        if not isinstance(made, (ast.Var, ast.Map)) and not (
            isinstance(made, ast.Index) and isinstance(made.base, ast.Map)
        ):
            raise ScriptError(f"{op} needs a variable or a map", made.span)
        return ast.Step(span, op, prefix, made)

    def _cast(self, tree: Any, span: Span) -> ast.Cast:
        kind, operand = tree.children
        return ast.Cast(span, self._of(kind), self.make(operand))

    def _index(self, tree: Any, span: Span) -> ast.Index:
        base, *keys = self.all(tree.children)
        return ast.Index(span, base, tuple(keys))

    def _member(self, tree: Any, span: Span) -> ast.Member:
        base, _, name = tree.children
        return ast.Member(span, self.make(base), str(name), self.at(name))

    def _int(self, tree: Any, span: Span) -> ast.Int:
        return ast.Int(span, number(str(tree.children[0]), span))

    def _string(self, tree: Any, span: Span) -> ast.Str:
        return ast.Str(span, unquote(str(tree.children[0]), span))

    def _bool(self, tree: Any, span: Span) -> ast.Bool:
        return ast.Bool(span, str(tree.children[0]) == "true")

    def _ident(self, tree: Any, span: Span) -> ast.Ident:
        return ast.Ident(span, str(tree.children[0]))

    def _var(self, tree: Any, span: Span) -> ast.Var:
        return ast.Var(span, str(tree.children[0]))

    def _param(self, tree: Any, span: Span) -> ast.Param:
        digits = str(tree.children[0])[1:]
        if digits.strip("0") == "":
            raise ScriptError(
                "there is no parameter $0", span, "the first one is $1; $# is how many there are"
            )
        return ast.Param(span, 0 if digits == "#" else int(digits))

    def _map(self, tree: Any, span: Span) -> ast.Map:
        return ast.Map(span, str(tree.children[0]))

    def _call(self, tree: Any, span: Span) -> ast.Call:
        name, *args = tree.children
        return ast.Call(span, str(name), self.all(args))

    def _group(self, tree: Any, span: Span) -> Any:
        return self.make(tree.children[0])

    def _tuple(self, tree: Any, span: Span) -> ast.Tuple:
        return ast.Tuple(span, self.all(tree.children))

    def _record(self, tree: Any, span: Span) -> ast.Record:
        names = tuple(str(item.children[0]) for item in tree.children)
        if len(set(names)) != len(names):
            raise ScriptError("two fields of this record have one name", span)
        return ast.Record(span, names, tuple(self.make(item.children[1]) for item in tree.children))

    def _comptime(self, tree: Any, span: Span) -> ast.Comptime:
        return ast.Comptime(span, self.make(tree.children[0]))

    def _sizeof(self, tree: Any, span: Span) -> ast.Sizeof:
        return ast.Sizeof(span, self._of(tree.children[0]))

    def _offsetof(self, tree: Any, span: Span) -> ast.Offsetof:
        of, *path = tree.children
        return ast.Offsetof(span, self.make(of), tuple(str(t) for t in path if t.type == "NAME"))

    def _container_of(self, tree: Any, span: Span) -> ast.ContainerOf:
        member, of, *path = tree.children
        names = tuple(str(t) for t in path if t.type == "NAME")
        return ast.ContainerOf(span, self.make(member), self.make(of), names)

    def _typeinfo(self, tree: Any, span: Span) -> ast.Typeinfo:
        return ast.Typeinfo(span, self._of(tree.children[0]))
