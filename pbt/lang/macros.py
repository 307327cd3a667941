"""Macros and functions: calls replaced by copies of their bodies.

A copy's own variables get names of their own, so a macro neither sees nor disturbs the caller's:
it changes only what it is given as `$x` or `@x`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pbt.lang import ast
from pbt.lang.returns import after_loops
from pbt.source import ScriptError, Span
from pbt.typing import Any, TypeVar

MOST_DEPTH = 64  # of calls within one another
MOST_COPIES = 10_000  # of macros and functions in one script
MOST_REPEATS = 8  # of one name: overloads may call each other
N = TypeVar("N", bound=ast.Node)


def expand_macros(script: ast.Script) -> ast.Script:
    """The script with every call of a macro or function in its probes replaced."""
    if not script.macros and not script.functions:
        return script
    known: dict[str, list[ast.Macro]] = {}
    for macro in script.macros:
        if any(_covers(earlier, macro) for earlier in known.get(macro.name, ())):
            hint = "macros of one name are told apart by their parameters: those with $x and @x come first"
            raise ScriptError(f"Redefinition of macro: {macro.name}", macro.span, hint)
        _no_jumps(macro, macro.body)
        known.setdefault(macro.name, []).append(macro)
    functions: dict[str, ast.Function] = {}
    for function in script.functions:
        if function.name in functions or function.name in known:
            raise ScriptError(f"{function.name} is defined twice", function.span)
        functions[function.name] = function
    bare = ast.Script(script.span, script.settings, script.maps, (), (), (), script.types, script.probes)
    made = _Expansion(known, functions).rewrite(bare)
    return ast.Script(
        made.span, made.settings, made.maps, script.macros, script.functions, (), made.types, made.probes
    )


def _covers(earlier: ast.Macro, later: ast.Macro) -> bool:
    """Whether every call that a macro fits is one of a macro before it: an expression may be anything."""
    if len(earlier.params) != len(later.params):
        return False
    return all(a[0] not in "$@" or a[0] == b[0] for a, b in zip(earlier.params, later.params, strict=True))


class _Expansion:
    def __init__(
        self, macros: Mapping[str, Sequence[ast.Macro]], functions: Mapping[str, ast.Function]
    ) -> None:
        self._macros, self._functions = macros, functions
        self._copies = 0
        self._names: list[str] = []  # of the macros and functions around this place

    def rewrite(self, node: N) -> N:
        """A copy of a tree without calls of macros; the tree itself where there are none."""
        if isinstance(node, (ast.Call, ast.Ident)) and node.name in self._macros:
            return self._call(node)  # type: ignore[return-value]
        if isinstance(node, ast.Call) and node.name in self._functions:
            return self._inlined(node, self._functions[node.name])  # type: ignore[return-value]
        return _map_children(node, self.rewrite)

    def _call(self, node: ast.Call | ast.Ident) -> ast.Expr:
        args = node.args if isinstance(node, ast.Call) else ()
        macro = self._pick(node, args)
        self._enter(macro.name, "Recursive macro call detected. Call chain", node)
        _no_other_maps(macro)
        self._copies += 1
        own = {p: a for p, a in zip(macro.params, (self.rewrite(arg) for arg in args), strict=True)}
        made = self.rewrite(_copy(macro.body, own, self._copies, node.span))
        self._names.pop()
        return made

    def _enter(self, name: str, recursive: str, node: ast.Expr) -> None:
        if self._names.count(name) > MOST_REPEATS:
            last = len(self._names) - self._names[::-1].index(name) - 1
            raise ScriptError(f"{recursive}: {' > '.join([*self._names[last:], name])}", node.span)
        if self._copies >= MOST_COPIES:
            raise ScriptError(f"macros and functions are put in more than {MOST_COPIES} times", node.span)
        if len(self._names) >= MOST_DEPTH:
            raise ScriptError(f"macros and functions are nested more than {MOST_DEPTH} deep", node.span)
        self._names.append(name)

    def _inlined(self, node: ast.Call, function: ast.Function) -> ast.Inlined:
        """A function's body where it is called; its own variables get names of their own."""
        if len(node.args) != len(function.params):
            raise ScriptError(
                f"Call to function '{node.name}' has wrong number arguments. Expected: {len(function.params)} "
                f"but got {len(node.args)}.",
                node.span,
            )
        self._enter(node.name, "functions cannot call themselves", node)
        args = [self.rewrite(arg) for arg in node.args]
        self._copies += 1
        own = [_copy(let, {}, self._copies) for let in function.params]
        params = tuple(ast.Let(arg.span, let.var, let.type, arg) for let, arg in zip(own, args, strict=True))
        number = self._copies
        body = after_loops(self.rewrite(_copy(function.body, {}, number)), number)
        self._names.pop()
        kind = None if function.type is None else _copy(function.type, {}, self._copies)
        return ast.Inlined(node.span, node.name, params, body, kind)

    def _pick(self, node: ast.Call | ast.Ident, args: Sequence[ast.Expr]) -> ast.Macro:
        """The macro whose parameters these arguments fit: variables and maps first, expressions else."""
        candidates = [m for m in self._macros[node.name] if len(m.params) == len(args)]
        if not candidates:
            wanted = " or ".join(sorted({str(len(m.params)) for m in self._macros[node.name]}))
            raise ScriptError(
                f"Call to macro '{node.name}' has wrong number arguments. Expected: {wanted} but got {len(args)}.",
                node.span,
            )
        fitting = [m for m in candidates if all(map(_fits, m.params, args))]
        if not fitting:
            raise _misfit(node.name, candidates[0], args)
        return max(fitting, key=lambda m: sum(p[0] in "$@" for p in m.params))


def _no_other_maps(macro: ast.Macro) -> None:
    for node in macro.body.walk():
        if isinstance(node, ast.Map) and node.name not in macro.params:
            raise ScriptError(
                f"Unhygienic access to map: {node.name}. Maps must be passed into the macro as arguments.",
                node.span,
                f"macro {macro.name}({', '.join((*macro.params, node.name))})",
            )


def _no_jumps(macro: ast.Macro, node: ast.Node, looping: bool = False) -> None:
    """A macro has a value: it cannot leave what is around it."""
    if isinstance(node, ast.Jump) and (node.kind == "return" or not looping):
        raise ScriptError(
            f"'{node.kind}' statement is not allowed in a macro",
            node.span,
            f"fn {macro.name}(...) may return",
        )
    looping = looping or isinstance(node, (ast.While, ast.Unroll, ast.ForMap, ast.ForRange))
    for child in node.children():
        _no_jumps(macro, child, looping)


def _fits(param: str, arg: ast.Expr) -> bool:
    if param[0] == "$":
        return isinstance(arg, ast.Var)
    return isinstance(arg, ast.Map) if param[0] == "@" else True


def _misfit(name: str, macro: ast.Macro, args: Sequence[ast.Expr]) -> ScriptError:
    for param, arg in zip(macro.params, args, strict=True):
        if not _fits(param, arg):
            wanted = "variable" if param[0] == "$" else "map"
            return ScriptError(
                f"Mismatched arg to macro '{name}'. Macro expects a {wanted} for arg {param}.", arg.span
            )
    raise AssertionError(name)


def _copy(node: N, args: Mapping[str, ast.Expr], number: int, use: Span | None = None) -> N:
    """A macro's body with arguments put in and its own variables renamed; `use`: where it is called."""

    def visit(inner: Any) -> Any:
        if isinstance(inner, Span):
            return inner if use is None else inner.used(use)
        if isinstance(inner, (ast.Ident, ast.Var, ast.Map)):
            if inner.name in args:
                return args[inner.name]
            if isinstance(inner, ast.Var):
                return ast.Var(visit(inner.span), f"{inner.name}'{number}")
        return _rebuilt(inner, visit)

    made: N = visit(node)
    return made


def _map_children(node: N, change: Callable[[Any], Any]) -> N:
    """The node itself if no child changes, else a copy with the changed ones."""
    values = [_mapped(getattr(node, name), change) for name in node.fields[1:]]
    if all(new is getattr(node, name) for name, new in zip(node.fields[1:], values, strict=True)):
        return node
    return type(node)(node.span, *values)


def _rebuilt(node: N, change: Callable[[Any], Any]) -> N:
    """Always a new node: tables are keyed by identity, and each copy has its own entries."""
    return type(node)(*(_mapped(getattr(node, name), change, (ast.Node, Span)) for name in node.fields))


def _mapped(value: Any, change: Callable[[Any], Any], kinds: tuple[type, ...] = (ast.Node,)) -> Any:
    if isinstance(value, kinds):
        return change(value)
    if isinstance(value, tuple) and any(isinstance(item, ast.Node) for item in value):
        made = tuple(change(item) if isinstance(item, ast.Node) else item for item in value)
        return value if all(a is b for a, b in zip(made, value, strict=True)) else made
    return value
