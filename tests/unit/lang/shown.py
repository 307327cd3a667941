"""Syntax trees as short text, so that tests say in one line what a script is parsed as."""

from __future__ import annotations

from typing import Any

from pbt.lang import ast
from pbt.lang.parse import Parsed, parse
from pbt.source import Source


def parsed(text: str) -> Parsed:
    return parse(Source("test", text))


def statements(text: str) -> tuple[ast.Stmt, ...]:
    """The statements of `BEGIN { text }`."""
    return parsed(f"BEGIN {{ {text} }}").script.probes[0].body.body


def expression(text: str) -> str:
    """How an expression is taken apart, fully parenthesised."""
    (stmt,) = statements(f"$x = {text};")
    assert isinstance(stmt, ast.Assign)
    return shown(stmt.value)


def shown(node: Any) -> str:
    if isinstance(node, (ast.Int, ast.Bool)):
        return str(node.value)
    if isinstance(node, ast.Str):
        return repr(node.value)
    if isinstance(node, (ast.Ident, ast.Var, ast.Map)):
        return node.name
    if isinstance(node, ast.Param):
        return f"${node.number or '#'}"
    if isinstance(node, ast.Index):
        return f"{shown(node.base)}[{', '.join(map(shown, node.keys))}]"
    if isinstance(node, ast.Member):
        return f"{shown(node.base)}.{node.name}"
    if isinstance(node, ast.Call):
        return f"{node.name}({', '.join(map(shown, node.args))})"
    if isinstance(node, ast.Unary):
        return f"({node.op}{shown(node.operand)})"
    if isinstance(node, ast.Step):
        inner = shown(node.operand)
        return f"({node.op}{inner})" if node.prefix else f"({inner}{node.op})"
    if isinstance(node, ast.Binary):
        return f"({shown(node.left)} {node.op} {shown(node.right)})"
    if isinstance(node, ast.Ternary):
        return f"({shown(node.condition)} ? {shown(node.then)} : {shown(node.other)})"
    if isinstance(node, ast.Cast):
        return f"<{shown(node.type)}>{shown(node.operand)}"
    if isinstance(node, ast.TypeName):
        return node.words + "".join(s if isinstance(s, str) else f"[{s or ''}]" for s in node.shape)
    if isinstance(node, ast.Tuple):
        return f"tuple({', '.join(map(shown, node.items))})"
    if isinstance(node, ast.Sizeof):
        return f"sizeof({shown(node.of)})"
    if isinstance(node, ast.Offsetof):
        return f"offsetof({shown(node.of)}, {'.'.join(node.path)})"
    if isinstance(node, ast.ExprStmt):
        return shown(node.value)
    if isinstance(node, ast.Assign):
        return f"{shown(node.target)} {node.op} {shown(node.value)}"
    if isinstance(node, ast.Let):
        kind = f": {shown(node.type)}" if node.type else ""
        return f"let {node.var.name}{kind}" + (f" = {shown(node.value)}" if node.value else "")
    if isinstance(node, ast.ArrayDecl):
        return f"{shown(node.type)} {node.name}[{node.size}] = {{{', '.join(map(shown, node.items))}}}"
    if isinstance(node, ast.Block):
        return "{" + "; ".join(map(shown, node.body)) + "}"
    if isinstance(node, ast.If):
        other = f" else {shown(node.other)}" if node.other else ""
        return f"if {shown(node.condition)} {shown(node.then)}{other}"
    if isinstance(node, ast.While):
        return f"while {shown(node.condition)} {shown(node.body)}"
    if isinstance(node, ast.Unroll):
        return f"unroll {shown(node.count)} {shown(node.body)}"
    if isinstance(node, ast.ForRange):
        return f"for {node.var.name} in {shown(node.start)}..{shown(node.end)} {shown(node.body)}"
    assert isinstance(node, ast.Jump), node
    return node.kind
