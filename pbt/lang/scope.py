"""Which variable each `$name` of a probe means.

A variable lives in the block that first assigns it (since bpftrace 0.22), or in the block of its
`let`. Older scripts assign in both arms of an `if` and read afterwards: where a name is unknown in
its block, never declared with `let`, but assigned somewhere in the probe, it is one variable of the
whole probe.
"""

from __future__ import annotations

from pbt.data import dataclass, field
from pbt.lang import ast
from pbt.source import ScriptError, nearest


@dataclass
class Names:
    """`of` gives each Var node the unique name of its variable: `$x`, or `$x#2` for a second one.

    `wide`: names that are one variable of the whole probe, by the rule of older releases.
    Unknown variables are in it too, so that checking can go on to further mistakes.
    """

    of: dict[ast.Var, str] = field(default_factory=dict)
    wide: set[str] = field(default_factory=set)
    errors: list[ScriptError] = field(default_factory=list)


def resolve(probe: ast.Probe) -> Names:
    """Bind all variables of a probe; unknown ones are in `errors`."""
    wide: set[str] = set()
    while True:
        walk = _Walk(wide)
        walk.probe(probe)
        fallback = walk.late - walk.declared - wide
        if not fallback:
            break
        wide |= fallback
    names = Names(walk.of, wide)
    for var in walk.unknown:
        names.of[var] = var.name
        close = nearest(var.name, (name for name in walk.assigned if "'" not in name), 1)
        names.errors.append(
            ScriptError(
                f"Undefined or undeclared variable: {shown(var)}",
                var.span,
                f"did you mean {close[0]}?" if close else f"give it a value first: {shown(var)} = ...",
            )
        )
    names.errors.extend(walk.errors)
    return names


ONCE = "$'"
"""So begin the names of variables that hold `a` of `a ?: b`: nothing else is ever assigned to them."""


def shown(var: ast.Var) -> str:
    """A variable's name as the script has it: without the number that a macro's copy adds."""
    return var.name.partition("'")[0]


class _Walk:
    def __init__(self, wide: set[str]) -> None:
        self.of: dict[ast.Var, str] = {}
        self.unknown: list[ast.Var] = []
        self.late: set[str] = set()  # unknown in their block, but assigned in an earlier one
        self.assigned: set[str] = set()
        self.declared: set[str] = set()
        self.errors: list[ScriptError] = []
        self._scopes: list[dict[str, str]] = [{name: name for name in wide}]
        self._wide = wide
        self._counts: dict[str, int] = {}

    def probe(self, probe: ast.Probe) -> None:
        if probe.predicate is not None:
            self._expr(probe.predicate)
        self._block(probe.body)

    def _block(self, block: ast.Block, *names: ast.Var) -> None:
        self._scopes.append({})
        for var in names:
            self._loop_variable(var)
        for stmt in block.body:
            self._stmt(stmt)
        self._scopes.pop()

    def _loop_variable(self, var: ast.Var) -> None:
        """Known in the loop alone."""
        if self._find(var.name) is not None and var.name not in self._wide:
            message = f"Loop declaration shadows existing variable: {shown(var)}"
            self.errors.append(ScriptError(message, var.span, "choose another name"))
        assigned = var.name in self.assigned
        self._declare(var)
        if not assigned:
            self.assigned.discard(var.name)

    def _stmt(self, stmt: ast.Stmt) -> None:
        if isinstance(stmt, ast.Assign):
            self._expr(stmt.value)
            if isinstance(stmt.target, ast.Var) and stmt.op == "=":
                self._assign(stmt.target)
            else:
                self._expr(stmt.target)
        elif isinstance(stmt, ast.Let):
            if stmt.value is not None:
                self._expr(stmt.value)
            if stmt.type is not None:
                self._expr(stmt.type)
            self.declared.add(stmt.var.name)
            if any(stmt.var.name in scope for scope in self._scopes):
                self.errors.append(
                    ScriptError(
                        f"Variable {shown(stmt.var)} was already declared",
                        stmt.var.span,
                        "choose another name",
                    )
                )
            self._declare(stmt.var)
        elif isinstance(stmt, ast.Block):
            self._block(stmt)
        elif isinstance(stmt, ast.If):
            self._expr(stmt.condition)
            self._block(stmt.then)
            if stmt.other is not None:
                self._stmt(stmt.other)
        elif isinstance(stmt, (ast.While, ast.Unroll)):
            self._expr(stmt.condition if isinstance(stmt, ast.While) else stmt.count)
            self._block(stmt.body)
        elif isinstance(stmt, ast.ForRange):
            self._expr(stmt.start)
            self._expr(stmt.end)
            self._block(stmt.body, stmt.var)
        elif isinstance(stmt, ast.ForMap):
            self._block(stmt.body, stmt.var)
        else:
            self._expr(stmt)

    def _expr(self, node: ast.Node) -> None:
        if isinstance(node, ast.BlockExpr):
            self._scopes.append({})
            for stmt in node.body:
                self._stmt(stmt)
            if node.value is not None:
                self._expr(node.value)
            self._scopes.pop()
        elif isinstance(node, ast.Inlined):
            for let in node.params:
                if let.value is not None:
                    self._expr(let.value)
            self._scopes.append({})
            for let in node.params:
                self._declare(let.var)
            for let in node.params:
                if let.type is not None:
                    self._expr(let.type)
            if node.type is not None:
                self._expr(node.type)
            self._block(node.body)
            self._scopes.pop()
        elif isinstance(node, ast.Var):
            self._use(node)
        else:
            for inner in node.children():
                self._expr(inner)

    def _find(self, name: str) -> str | None:
        return next((scope[name] for scope in reversed(self._scopes) if name in scope), None)

    def _use(self, var: ast.Var) -> None:
        found = self._find(var.name)
        if found is None:
            self.unknown.append(var)
            if var.name in self.assigned:
                self.late.add(var.name)
        else:
            self.of[var] = found

    def _assign(self, var: ast.Var) -> None:
        self.assigned.add(var.name)
        found = self._find(var.name)
        if found is None:
            self._declare(var)
        else:
            self.of[var] = found

    def _declare(self, var: ast.Var) -> None:
        self.assigned.add(var.name)
        count = self._counts[var.name] = self._counts.get(var.name, 0) + 1
        unique = var.name if count == 1 and var.name not in self._wide else f"{var.name}#{count}"
        self._scopes[-1][var.name] = unique
        self.of[var] = unique
