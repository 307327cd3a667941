"""Constant expressions of C definitions: dimensions, widths of bitfields, values of enums."""

from __future__ import annotations

from collections.abc import Callable

from pbt.lang import ast
from pbt.lang.arith import COMPARISONS, cut, fold, fold_unary, holds
from pbt.source import ScriptError
from pbt.types import Int, Type


def evaluate(node: ast.Expr, named: Callable[[ast.Ident], int], typed: Callable[[ast.TypeName], Type]) -> int:
    """The value, in 64 bits. `named`: what names stand for; `typed`: types, for sizeof and casts.

    ScriptError at the part whose value is not known while compiling.
    """

    def value(node: ast.Expr) -> int:
        if isinstance(node, (ast.Int, ast.Bool)):
            return int(node.value)
        if isinstance(node, ast.Ident):
            return named(node)
        if isinstance(node, ast.Unary) and node.op in ("-", "~", "!"):
            inner = value(node.operand)
            return int(not inner) if node.op == "!" else fold_unary(node.op, inner)
        if isinstance(node, ast.Binary):
            return binary(node, value(node.left), value(node.right))
        if isinstance(node, ast.Ternary):
            return value(node.then if value(node.condition) else node.other)
        if isinstance(node, ast.Cast) and isinstance(node.type, ast.TypeName):
            kind = typed(node.type)
            return cut(value(node.operand), kind) if isinstance(kind, Int) else value(node.operand)
        if isinstance(node, ast.Sizeof):
            return size(node)
        raise ScriptError("this is not known while compiling", node.span, "a constant is wanted here")

    def binary(node: ast.Binary, left: int, right: int) -> int:
        is_signed = max(left, right) < 1 << 63
        if node.op in ("&&", "||", *COMPARISONS):
            return int(holds(node.op, left, right, is_signed))
        try:
            result = fold(node.op, left, right, is_signed)
        except OverflowError:
            result = fold(node.op, left, right, False)
        if result is None:
            raise ScriptError("division by zero", node.right.span)
        return result

    def size(node: ast.Sizeof) -> int:
        of = node.of
        if isinstance(of, ast.Ident):
            of = ast.TypeName(of.span, of.name, ())
        if isinstance(of, ast.TypeName):
            return typed(of).size
        raise ScriptError("the size of this is not known here", node.span, "sizeof(type)")

    return value(node)
