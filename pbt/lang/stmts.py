"""Statements: what they assign, and that they stand where they may."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pbt.feature import Aggregation
from pbt.lang import ast
from pbt.lang.arith import AS_NUMBER, binary_type
from pbt.lang.exprs import Expressions
from pbt.lang.scope import shown
from pbt.lang.typenames import fills, is_open
from pbt.lang.unify import UNKNOWN, Mismatch, stored, unify
from pbt.source import ScriptError, ScriptErrors
from pbt.types import I64, VOID, Array, Bool, Enum, Int, Pointer, Str, Tuple, Type, Void, is_integral
from pbt.typing import TypeVar

N = TypeVar("N", bound=ast.Node)


class Body(Expressions):
    """The check of one body in one context."""

    def run(self) -> None:
        if self.probe.predicate is not None:
            self._guard(self._condition, self.probe.predicate)
        self._block(self.probe.body)
        self._never_assigned()

    def _never_assigned(self) -> None:
        """Warn of variables that are declared and read, but never get a value."""
        declared: dict[str, ast.Var] = {}
        assigned = set(self._given)
        for node in self.probe.body.walk():
            if isinstance(node, ast.Let) and node.value is None:
                declared[self.names[node.var]] = node.var
            elif isinstance(node, (ast.Assign, ast.Step, ast.Unary)):
                assigned.update(self.names[var] for var in node.children() if isinstance(var, ast.Var))
        for name, var in declared.items():
            if name not in assigned:
                self.warn(f"Variable {shown(var)} was never assigned to.", var.span)
                self.variables.setdefault(name, I64)

    def _guard(self, check: Callable[[N], None], node: N) -> None:
        """Report the mistakes of a node, but not those that only follow from earlier ones."""
        try:
            check(node)
        except (ScriptError, ScriptErrors) as error:
            several = error.errors if isinstance(error, ScriptErrors) else (error,)
            if self._spoils(node):
                return
            for one in several:
                self.shared.report(one)

    def _spoils(self, node: ast.Node) -> bool:
        """Whether a faulty statement reads variables whose own assignment was faulty; notes what it assigns."""
        used = {inner.name for inner in node.walk() if isinstance(inner, ast.Var)}
        if isinstance(node, (ast.Assign, ast.Let)):
            target = node.target if isinstance(node, ast.Assign) else node.var
            if isinstance(target, ast.Var) and self.names[target] not in self.variables:
                self._spoiled.add(target.name)
                used.discard(target.name)
        return bool(used & self._spoiled)

    def _block(self, block: ast.Block) -> None:
        self._statements(block.body)

    def _statements(self, body: Sequence[ast.Stmt]) -> None:
        for before, stmt in zip((None, *body), body):  # noqa: B905
            if before is not None and _ends(before):
                self.warn("Unreachable statement.", stmt.span, once=True)
            self._guard(self._stmt, stmt)

    def _stmt(self, stmt: ast.Stmt) -> None:
        if isinstance(stmt, ast.ExprStmt):
            self._expr_stmt(stmt)
        elif isinstance(stmt, ast.Assign):
            self._assign(stmt)
        elif isinstance(stmt, ast.Let):
            self._let(stmt)
        elif isinstance(stmt, ast.ArrayDecl):
            self._array(stmt)
        elif isinstance(stmt, ast.Block):
            self._block(stmt)
        elif isinstance(stmt, ast.If):
            self._if(stmt)
        elif isinstance(stmt, ast.While):
            self.warn(
                "While loops are deprecated and may go",
                stmt.span,
                "for ($i : start..end) { ... } has an end for sure",
            )
            self._guard(self._condition, stmt.condition)
            self._turns(stmt.body)
            if self.known_int(stmt.condition) and not any(map(_leaves, stmt.body.walk())):
                raise ScriptError("this loop never ends", stmt.span, "break leaves a loop")
        elif isinstance(stmt, ast.Unroll):
            count = self.literal_int(stmt.count, "unroll() count")
            if not 1 <= count <= 100:
                bound = "minimum value is 1" if count < 1 else "maximum value is 100"
                raise ScriptError(f"unroll {bound} ({count} provided)", stmt.count.span)
            self.keep(stmt, count)
            self._loop(stmt.body)
        elif isinstance(stmt, ast.ForRange):
            for end in (stmt.start, stmt.end):
                if not is_integral(self._expr(end)):
                    raise ScriptError("a range goes from one integer to another", end.span)
                self._set_variable(stmt.var, self.types[end])
            self._turns(stmt.body)
        elif isinstance(stmt, ast.ForMap):
            self._for_map(stmt)
        else:
            assert isinstance(stmt, ast.Jump)
            if stmt.kind == "return":
                self._return(stmt)
            elif not self._loops:
                raise ScriptError(f"{stmt.kind} statement outside of a loop", stmt.span)

    def _return(self, stmt: ast.Jump) -> None:
        if self._returns is None:
            kind = I64 if stmt.value is None else self._expr(stmt.value)
            if not isinstance(kind, (Int, Enum)):
                raise ScriptError(
                    f"Probe return values can only be integers. Found {kind}", (stmt.value or stmt).span
                )
            return
        kind = VOID if stmt.value is None else stored(self._expr(stmt.value))
        try:
            if is_open(self._returns) and fills(self._returns, kind):
                self._returns = kind
            elif isinstance(kind, Str):
                self._returns = unify(self._returns, kind)
            else:
                unify(self._returns, kind)
        except Mismatch:
            raise ScriptError(
                f"this function returns '{self._returns}', not '{kind}'", (stmt.value or stmt).span
            ) from None

    def _if(self, stmt: ast.If) -> None:
        """After `if comptime` only the branch that is taken must make sense; which it is, is kept."""
        self._guard(self._condition, stmt.condition)
        known = self.known_int(stmt.condition) if isinstance(stmt.condition, ast.Comptime) else None
        self.keep(stmt, known)
        if known != 0:
            self._block(stmt.then)
        if stmt.other is not None and not known:
            self._stmt(stmt.other)

    def _for_map(self, stmt: ast.ForMap) -> None:
        """The variable is a pair of key and value."""
        known = self.shared.map(stmt.map.name, stmt.map.span)
        if known.key == ():
            raise ScriptError(
                f"{known.name} has no keys to go through", stmt.map.span, "for loops need a map with keys"
            )
        value = self._read_type(known, stmt.map.span)
        keys = known.key or (UNKNOWN,)
        key = keys[0] if len(keys) == 1 else Tuple(keys)
        name = self.names[stmt.var]
        self.variables[name] = self.types[stmt.var] = Tuple((key, value))
        self._turns(stmt.body)

    def _turns(self, body: ast.Block) -> None:
        """The body of a loop that is one when it runs."""
        outer, self.looping = self.looping, True
        self._loop(body)
        self.looping = outer

    def _loop(self, body: ast.Block) -> None:
        self._loops += 1
        self._block(body)
        self._loops -= 1

    def _expr_stmt(self, stmt: ast.ExprStmt) -> None:
        node = stmt.value
        if isinstance(node, ast.Call) and node.name in self.shared.known_aggregations:
            raise ScriptError(
                f"{node.name}() must be assigned directly to a map",
                node.span,
                f"write @name = {node.name}(...)",
            )
        kind = self._effect(node)
        if not stmt.dropped and not isinstance(kind, Void) and not any(map(self._acts, node.walk())):
            self.warn(
                "Return value discarded.", stmt.span, "this does nothing; _ = ... says that it is meant"
            )

    def _acts(self, node: ast.Node) -> bool:
        """Whether an expression does something besides having a value."""
        if isinstance(node, ast.Call):
            called = self.shared.known_builtins.get(node.name)
            return called is None or called.acts or called.effect is not None
        return isinstance(node, (ast.Step, ast.Inlined, ast.BlockExpr))

    def _effect(self, node: ast.Expr) -> Type:
        """The type of an expression that stands for what it does: arms may differ, and need no value."""
        if isinstance(node, ast.BlockExpr):
            self._statements(node.body)
            kind = VOID if node.value is None else self._effect(node.value)
        elif isinstance(node, ast.Ternary):
            self._condition(node.condition)
            arms = self._effect(node.then), self._effect(node.other)
            kind = arms[0] if arms[0] == arms[1] else VOID
        else:
            return self._expr(node)
        self.types[node] = kind
        return kind

    def _assign(self, stmt: ast.Assign) -> None:
        call = stmt.value
        if isinstance(stmt.target, (ast.Map, ast.Index)):
            self.shared.assigned.add(self._map_name(stmt.target))
        if isinstance(call, ast.Call) and call.name in self.shared.known_aggregations:
            self._aggregate(stmt, call)
            return
        if stmt.op != "=":
            self._compound(stmt)
            return
        kind = self._expr(stmt.value) if isinstance(stmt.target, ast.Var) else self.whole(stmt.value)
        if isinstance(kind, Void):
            raise ScriptError("this has no value to assign", stmt.value.span)
        if isinstance(stmt.target, ast.Var):
            if self.names[stmt.target] in self._declared:
                self._holds(stmt.target, self._declared[self.names[stmt.target]], stmt.value)
            self._set_variable(stmt.target, kind, stmt.value)
        else:
            self._set_map(stmt.target, kind, stmt.value)

    def _compound(self, stmt: ast.Assign) -> None:
        left = self._expr(stmt.target)
        right = self._expr(stmt.value)
        kind = binary_type(stmt.op[:-1], left, right, stmt.span)
        self._no_zero_division(stmt.op[:-1], stmt.value)
        if isinstance(stmt.target, ast.Var):
            self._set_variable(stmt.target, kind, stmt.value)
        else:
            self._set_map(stmt.target, kind, stmt.value)

    def _let(self, stmt: ast.Let) -> None:
        declared = self._type(stmt.type) if stmt.type is not None else None
        if stmt.type is not None and isinstance(declared, Void):
            raise ScriptError(f"Invalid variable declaration type: {declared}", stmt.type.span)
        if declared is not None and is_open(declared):
            self._open[self.names[stmt.var]], declared = declared, None
        if stmt.value is not None:
            kind = self._expr(stmt.value)
            if declared is not None and not _takes(declared, kind):
                raise ScriptError(
                    f"Type mismatch for {shown(stmt.var)}: trying to assign value of type '{kind}' when variable "
                    f"already has a type '{declared}'",
                    stmt.value.span,
                )
            if declared is not None:
                self._declare(stmt.var, declared, kind)
                self._holds(stmt.var, declared, stmt.value)
            self._set_variable(stmt.var, kind, stmt.value)
        elif declared is not None:
            self._declare(stmt.var, declared, declared)
            self._set_variable(stmt.var, declared)

    def _holds(self, var: ast.Var, declared: Type, value: ast.Expr) -> None:
        """A constant must fit what it is assigned to."""
        text = value.value if isinstance(value, ast.Str) else None
        if (
            isinstance(declared, Int)
            and self.known_int(value) is not None
            and not isinstance(value, ast.Cast)
            and not self._fits(value, declared)
        ):
            hint = f"a cast cuts it: ({declared}){value.span.text}"
            raise ScriptError(
                f"{self.known_int(value)} does not fit {shown(var)}: '{declared}'", value.span, hint
            )
        if isinstance(declared, Str) and text is not None:
            size = len(text.encode("utf-8", "surrogateescape")) + 1
            if size > declared.size:
                raise ScriptError(
                    f"a text of {size} bytes does not fit {shown(var)}: '{declared}'", value.span
                )

    def _declare(self, var: ast.Var, declared: Type, kind: Type) -> None:
        """The variable keeps its declared type; where a pointer without a known address space points,
        its first value says."""
        if isinstance(declared, Pointer) and isinstance(kind, Pointer) and not declared.space:
            declared = Pointer(declared.target, kind.space)
        self._declared[self.names[var]] = declared

    def _array(self, stmt: ast.ArrayDecl) -> None:
        element = self.shared.types.resolve(stmt.type)
        if not is_integral(element):
            raise ScriptError(f"arrays hold integers ({element} provided)", stmt.type.span)
        count = stmt.size if stmt.size is not None else len(stmt.items)
        if len(stmt.items) > count:
            raise ScriptError(f"{len(stmt.items)} values for an array of {count}", stmt.span)
        if not 1 <= count <= 64:
            raise ScriptError(f"an array has 1 to 64 elements (provided {count})", stmt.span)
        for item in stmt.items:
            if not is_integral(self._expr(item)):
                raise ScriptError("array elements must be integers", item.span)
        self.variables[stmt.name] = Array(element, count)
        self._arrays[stmt.name] = stmt.name

    def _aggregate(self, stmt: ast.Assign, call: ast.Call) -> None:
        record = self.shared.known_aggregations[call.name]
        if not isinstance(stmt.target, (ast.Map, ast.Index)) or stmt.op != "=":
            raise ScriptError(
                f"{call.name}() must be assigned directly to a map",
                stmt.span,
                f"write @name = {call.name}(...)",
            )
        known = self._keyed(stmt.target)
        first = int(record.takes_value)
        most = first + len(record.literals)
        self._count_arguments(call, first + len(record.literals) - record.optional, most)
        signed = False
        if first:
            kind = self._expr(call.args[0])
            truth = isinstance(call.args[0], ast.Bool)  # a comparison may be meant as 0 or 1, as before 0.24
            if not is_integral(kind) or isinstance(kind, Pointer) or truth:
                raise ScriptError(
                    f"{call.name}() only supports integer arguments ({kind} provided)",
                    call.args[0].span,
                    AS_NUMBER if isinstance(kind, Pointer) else "",
                )
            signed = not isinstance(kind, Int) or kind.signed
        literals = [
            self._map_literal(record, node, what)
            for node, what in zip(call.args[first:], record.literals)  # noqa: B905
        ]
        literals += [0] * (len(record.literals) - len(literals))
        args = tuple(literals)
        record.check(self, self._call(call, [], []), args)
        if known.value is not None or known.aggregation not in ("", record.name):
            has = f"{known.aggregation}_t" if known.aggregation else str(known.value)
            raise ScriptError(
                f"Type mismatch for {known.name}: trying to assign value of type '{record.name}_t' when map "
                f"already has a type '{has}'",
                call.span,
                "a map holds one kind of value; use another map",
            )
        if known.aggregation and known.args != args:
            raise ScriptError(
                f"Different {'bits' if record.name == 'hist' else 'bounds'} in a single map unsupported",
                call.span,
                f"{known.name} already has {_literals(record, known.args)}",
            )
        known.aggregation, known.args, known.signed = record.name, args, known.signed or signed
        self.kept[stmt] = record

    def _map_literal(self, record: Aggregation, node: ast.Expr, what: str) -> int:
        """The number that a literal argument of a map function stands for (see feature.Aggregation)."""
        choices = record.choices.get(what)
        if choices is None:
            return self.literal_int(node, f"{record.name}() {what}")
        word = self.literal_str(node, f"{record.name}() {what}")
        if word not in choices:
            raise ScriptError(
                f'{record.name}() {what} must be one of {", ".join(choices)} ("{word}" provided)', node.span
            )
        return 1 + choices.index(word)


def _literals(record: Aggregation, args: Sequence[int]) -> str:
    """Literal arguments as the script writes them."""
    choices = [record.choices.get(what) for what in record.literals]
    shown = [
        words[arg - 1] if words else str(arg)
        for words, arg in zip(choices, args, strict=True)
        if arg or not words
    ]
    return ", ".join(shown)


def _ends(stmt: ast.Stmt) -> bool:
    """Whether what stands behind a statement never runs."""
    if isinstance(stmt, ast.ExprStmt):
        return isinstance(stmt.value, ast.Call) and stmt.value.name == "exit"
    return isinstance(stmt, ast.Jump)


def _leaves(node: ast.Node) -> bool:
    """Whether a loop may end here."""
    if isinstance(node, ast.Jump):
        return node.kind != "continue"
    return isinstance(node, ast.Call) and node.name == "exit"


def _takes(declared: Type, kind: Type) -> bool:
    """Whether a variable declared with a type can be given a value of another."""
    if isinstance(declared, Bool):
        return isinstance(kind, Bool)
    if is_integral(declared) or is_integral(kind):
        return is_integral(declared) and is_integral(kind)
    if isinstance(declared, Str):
        return isinstance(stored(kind), Str)
    try:
        return bool(unify(declared, stored(kind)) == declared)
    except Mismatch:
        return False
