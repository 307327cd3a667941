"""Rules of statements: tree → nodes."""

from __future__ import annotations

from pbt.lang import ast
from pbt.lang.literals import number
from pbt.lang.rules import Rules
from pbt.source import ScriptError, Span
from pbt.typing import Any


class StmtRules(Rules):
    """What stands in the bodies of probes, macros and functions."""

    def _body(self, tree: Any, span: Span) -> ast.Block:
        return ast.Block(span, self.all(tree.children))

    _block = _body

    def _last(self, tree: Any, span: Span) -> Any:
        return self.make(tree.children[0])

    def _inner_import(self, tree: Any, span: Span) -> ast.Stmt:
        raise ScriptError(
            "an import stands at the top of the file, not in a block", span, "move it before the first probe"
        )

    def _block_value(self, tree: Any, span: Span) -> ast.BlockExpr:
        """A block's value is that of the expression, block or `if` at its end, without a semicolon."""
        if not self._ends_in_value(tree):
            return ast.BlockExpr(span, self.all(tree.children), None)
        *items, last = tree.children
        return ast.BlockExpr(span, self.all(items), self._value_of(last))

    def _ends_in_value(self, tree: Any) -> bool:
        """Whether a block, or an `if` with its arms, comes to a value."""
        if tree.data == "if":
            return len(tree.children) > 2 and all(map(self._ends_in_value, tree.children[1:]))
        if not tree.children:
            return False
        last = tree.children[-1]
        if ";" in self.source.text[last.outer[1] : tree.end_pos - 1]:
            return False
        if last.data == "last":
            return bool(last.children[0].data == "expr_stmt")
        return last.data in ("block", "if") and self._ends_in_value(last)

    def _value_of(self, tree: Any) -> ast.Expr:
        """What a statement at the end of a block comes to, if it ends in a value."""
        if tree.data == "last":
            made: ast.Expr = self.make(tree.children[0].children[0])
            return made
        if tree.data == "block":
            return self._block_value(tree, self.span(tree))
        condition, then, other = tree.children
        return ast.Ternary(self.span(tree), self.make(condition), self._value_of(then), self._value_of(other))

    def _if_value(self, tree: Any, span: Span) -> ast.Ternary:
        return ast.Ternary(span, *self.all(tree.children))

    def _expr_stmt(self, tree: Any, span: Span) -> ast.ExprStmt:
        return ast.ExprStmt(span, self.make(tree.children[0]), False)

    def _assign(self, tree: Any, span: Span) -> ast.Stmt:
        target, *op, value = tree.children
        made = self.make(target)
        if not isinstance(made, (ast.Var, ast.Map, ast.Ident)) and not (
            isinstance(made, ast.Index) and isinstance(made.base, ast.Map)
        ):
            raise ScriptError(
                "this cannot be assigned to", self.span(target), "assign to $variable, @map or @map[key]"
            )
        if isinstance(made, ast.Ident):
            if made.name == "_" and not op:
                return ast.ExprStmt(span, self.make(value), True)
            raise ScriptError(
                f"'{made.name}' cannot be assigned to",
                self.span(target),
                f"variables are written ${made.name}",
            )
        return ast.Assign(span, made, str(op[0]) if op else "=", self.make(value))

    def _let(self, tree: Any, span: Span) -> ast.Let:
        var, *rest = tree.children
        type_ = self.make(rest.pop(0)) if rest and rest[0].data == "type" else None
        return ast.Let(span, ast.Var(self.at(var), str(var)), type_, self.make(rest[0]) if rest else None)

    def _array(self, tree: Any, span: Span) -> ast.ArrayDecl:
        words, name, dim, *items = tree.children
        size = number(dim.children[0], self.at(dim.children[0])) if dim.children else None
        type_ = ast.TypeName(self.at(words), str(words), ())
        return ast.ArrayDecl(span, type_, str(name), size, self.all(items))

    def _jump(self, tree: Any, span: Span) -> ast.Jump:
        word, *value = tree.children
        return ast.Jump(span, str(word), self.make(value[0]) if value else None)

    def _if(self, tree: Any, span: Span) -> ast.If:
        condition, then, *other = self.all(tree.children)
        return ast.If(span, condition, then, other[0] if other else None)

    def _while(self, tree: Any, span: Span) -> ast.While:
        return ast.While(span, *self.all(tree.children))

    def _unroll(self, tree: Any, span: Span) -> ast.Unroll:
        return ast.Unroll(span, *self.all(tree.children))

    def _for_range(self, tree: Any, span: Span) -> ast.ForRange:
        var, *rest = tree.children
        return ast.ForRange(span, ast.Var(self.at(var), str(var)), *self.all(rest))

    def _for_map(self, tree: Any, span: Span) -> ast.ForMap:
        var, map_, body = tree.children
        made = ast.Map(self.at(map_), str(map_))
        return ast.ForMap(span, ast.Var(self.at(var), str(var)), made, self.make(body))
