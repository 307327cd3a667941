"""Names and types: what every expression of every probe is, in tables beside the tree.

A probe's body is checked once for each different context it runs in. Types of maps and variables
come from all their uses: integers and strings widen, so checking is repeated until nothing changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pbt.feature import Aggregation, Builtin, Call, Context
from pbt.lang import ast
from pbt.lang.arith import binary_type, fold, fold_unary
from pbt.lang.expand import Attached, Expanded
from pbt.lang.headers import CONSTANTS
from pbt.lang.parse import parse_expr
from pbt.lang.scope import Names, resolve
from pbt.lang.typenames import NO_BTF, TypeNames
from pbt.lang.unify import Mismatch, stored, unify
from pbt.registry import collect
from pbt.source import ScriptError, ScriptErrors, ScriptWarning, Span, nearest
from pbt.types import (
    BOOL,
    I64,
    U64,
    VOID,
    Array,
    Buffer,
    Int,
    Member,
    Opaque,
    Pointer,
    Str,
    Struct,
    Tuple,
    Type,
    Void,
    is_integral,
)

if TYPE_CHECKING:
    from pbt.host.target import Target
    from pbt.lang.preprocess import Define

MOST_ROUNDS = 12
UNKNOWN = Int(8, True)  # what a map or variable is taken for until its first assignment is seen


@dataclass
class MapType:
    """What is known of a map: None where nothing is yet."""

    name: str
    span: Span
    key: tuple[Type, ...] | None = None  # () for a map without keys
    value: Type | None = None
    aggregation: str = ""
    args: tuple[int, ...] = ()
    signed: bool = False


@dataclass(frozen=True, eq=False)
class Instance:
    """One body for one context: tables keyed by node."""

    probe: ast.Probe
    context: Context
    places: tuple[Attached, ...]
    types: Mapping[ast.Node, Type]
    kept: Mapping[ast.Node, Any]
    calls: Mapping[ast.Node, tuple[Builtin, Call]]
    replaced: Mapping[ast.Expr, ast.Expr]
    names: Mapping[ast.Var, str]
    variables: Mapping[str, Type]


@dataclass(frozen=True, eq=False)
class Typed:
    """A checked script."""

    script: ast.Script
    instances: tuple[Instance, ...]
    maps: Mapping[str, MapType]
    warnings: tuple[ScriptWarning, ...]


@dataclass
class Options:
    """What checking depends on beside the script and the machine."""

    config: Mapping[str, Any]
    params: Sequence[str] = ()
    unsafe: bool = False


def builtins() -> Mapping[str, Builtin]:
    return collect("pbt.builtins", Builtin)


def aggregations() -> Mapping[str, Aggregation]:
    return collect("pbt.builtins", Aggregation)


def check(
    script: ast.Script,
    expanded: Sequence[Expanded],
    defines: Mapping[str, Define],
    target: Target,
    options: Options,
) -> Typed:
    """Type all probes; ScriptErrors with every independent mistake (one for each statement at most)."""
    return _Check(script, expanded, defines, target, options).run()


class _Check:
    """What all instances share, over all rounds."""

    def __init__(
        self,
        script: ast.Script,
        expanded: Sequence[Expanded],
        defines: Mapping[str, Define],
        target: Target,
        options: Options,
    ) -> None:
        self.script, self.expanded, self.target, self.options = script, expanded, target, options
        self.types = TypeNames(script.types, target.types)
        self.defines = defines
        self.define_values: dict[str, ast.Expr] = {}
        self.maps: dict[str, MapType] = {}
        self.known_builtins = _with_aliases(builtins())
        self.known_aggregations = _with_aliases(aggregations())
        self.warnings: dict[tuple[int, str], ScriptWarning] = {}
        self.errors: dict[tuple[int, str], ScriptError] = {}
        self.assigned: set[str] = set()  # maps that get a value somewhere, rightly or wrongly

    def run(self) -> Typed:
        variables: dict[tuple[int, int], dict[str, Type]] = {}
        names = {}
        for expanded in self.expanded:
            names[expanded.probe] = bound = resolve(expanded.probe)
            for error in bound.errors:
                self.report(error)
        self.raise_errors()
        for _ in range(MOST_ROUNDS):
            before = {name: replace(known) for name, known in self.maps.items()}
            variables_before = {key: dict(types) for key, types in variables.items()}
            self.errors.clear()
            instances = self._round(names, variables)
            if before == self.maps and variables_before == variables:
                break
        for known in self.maps.values():
            if known.value is None and not known.aggregation and known.name not in self.assigned:
                self.report(_undefined_map(known, self.maps))
        self.raise_errors()
        return Typed(self.script, tuple(instances), self.maps, tuple(self.warnings.values()))

    def _round(
        self, names: Mapping[ast.Probe, Names], variables: dict[tuple[int, int], dict[str, Type]]
    ) -> list[Instance]:
        instances = []
        for number, expanded in enumerate(self.expanded):
            for group, places in enumerate(_by_context(expanded.places)):
                for context, members in self._split(
                    expanded.probe, names, places, variables, (number, group)
                ):
                    instances.append(
                        self._instance(expanded.probe, names, context, members, variables, (number, group))
                    )
        return instances

    def _split(
        self,
        probe: ast.Probe,
        names: Mapping[ast.Probe, Names],
        places: tuple[Attached, ...],
        variables: dict[tuple[int, int], dict[str, Type]],
        key: tuple[int, int],
    ) -> list[tuple[Context, tuple[Attached, ...]]]:
        """One program serves all places of a context, unless its body names the place it is at."""
        if len(places) == 1 or not self._names_its_place(probe):
            return [(places[0].context, places)]
        return [(place.context, (place,)) for place in places]

    def _names_its_place(self, probe: ast.Probe) -> bool:
        for node in probe.walk():
            if isinstance(node, (ast.Ident, ast.Call)):
                builtin = self.known_builtins.get(node.name)
                if builtin is not None and builtin.per_place:
                    return True
        return False

    def _instance(
        self,
        probe: ast.Probe,
        names: Mapping[ast.Probe, Names],
        context: Context,
        places: tuple[Attached, ...],
        variables: dict[tuple[int, int], dict[str, Type]],
        key: tuple[int, int],
    ) -> Instance:
        body = _Body(self, probe, context, names[probe].of, variables.setdefault(key, {}))
        body.run()
        return Instance(
            probe, context, places, body.types, body.kept, body.calls, body.replaced, names[probe].of,
            body.variables,
        )  # fmt: skip

    # --- errors

    def report(self, error: ScriptError) -> None:
        self.errors.setdefault((error.span.start, error.message), error)

    def warn(self, message: str, span: Span, hint: str = "") -> None:
        self.warnings.setdefault((span.start, message), ScriptWarning(message, span, hint))

    def raise_errors(self) -> None:
        if self.errors:
            raise ScriptErrors(list(self.errors.values()))

    # --- names

    def define(self, name: str) -> ast.Expr | None:
        if name in self.defines and name not in self.define_values:
            self.define_values[name] = parse_expr(self.defines[name])
        return self.define_values.get(name)

    def map(self, name: str, span: Span) -> MapType:
        return self.maps.setdefault(name, MapType(name, span))


def _with_aliases(records: Mapping[str, Any]) -> dict[str, Any]:
    return {name: record for record in records.values() for name in (record.name, *record.aliases)}


def _by_context(places: Sequence[Attached]) -> list[tuple[Attached, ...]]:
    """Places whose programs see the same, but for their names."""
    groups: list[tuple[Context, list[Attached]]] = []
    for place in places:
        plain = replace(place.context, label="")
        for context, members in groups:
            if context == plain:
                members.append(place)
                break
        else:
            groups.append((plain, [place]))
    return [tuple(members) for _, members in groups]


def _undefined_map(known: MapType, maps: Mapping[str, MapType]) -> ScriptError:
    close = nearest(known.name, [m.name for m in maps.values() if m.value is not None or m.aggregation], 1)
    return ScriptError(
        f"Undefined map: {known.name}",
        known.span,
        f"did you mean {close[0]}?" if close else f"assign to it somewhere: {known.name} = ...",
    )


def arity(signature: str) -> tuple[int, int]:
    """(least, most) number of arguments that a signature such as "(a, b [, c]) -> int" allows."""
    if not signature.startswith("("):
        return 0, 0
    inside = signature[1 : signature.index(") ->")]
    optional = inside.count("[") - inside.count("[]") - 0
    flat = inside.replace("[]", "").replace("[", "").replace("]", "")
    items = [item for item in flat.split(",") if item.strip()]
    if any(item.strip() == "..." for item in items):
        return len(items) - 1, 1 << 16
    return len(items) - optional, len(items)


class _Body:
    """The check of one body in one context; implements `feature.Checks`."""

    def __init__(
        self,
        shared: _Check,
        probe: ast.Probe,
        context: Context,
        names: Mapping[ast.Var, str],
        variables: dict[str, Type],
    ) -> None:
        self.shared, self.probe, self.context, self.names, self.variables = (
            shared,
            probe,
            context,
            names,
            variables,
        )
        self.target, self.config = shared.target, shared.options.config
        self.types: dict[ast.Node, Type] = {}
        self.kept: dict[ast.Node, Any] = {}
        self.calls: dict[ast.Node, tuple[Builtin, Call]] = {}
        self.replaced: dict[ast.Expr, ast.Expr] = {}
        self._arrays: dict[str, str] = {}
        self._loops = 0
        self._defining: list[str] = []
        self._spoiled: set[str] = set()

    def run(self) -> None:
        if self.probe.predicate is not None:
            self._guard(lambda: self._condition(self.probe.predicate))
        self._block(self.probe.body)

    def _guard(self, work: Any, node: ast.Node | None = None) -> None:
        """Report the mistakes of a statement, but not those that only follow from earlier ones."""
        try:
            work()
        except (ScriptError, ScriptErrors) as error:
            several = error.errors if isinstance(error, ScriptErrors) else (error,)
            if node is not None and self._spoils(node):
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

    # --- statements

    def _block(self, block: ast.Block) -> None:
        for stmt in block.body:
            self._guard(lambda stmt=stmt: self._stmt(stmt), stmt)

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
            self._guard(lambda: self._condition(stmt.condition))
            self._block(stmt.then)
            if stmt.other is not None:
                self._stmt(stmt.other)
        elif isinstance(stmt, ast.While):
            self._guard(lambda: self._condition(stmt.condition))
            self._loop(stmt.body)
        elif isinstance(stmt, ast.Unroll):
            count = self.literal_int(stmt.count, "unroll() count")
            if not 1 <= count <= 100:
                raise ScriptError(
                    f"unroll() count must be between 1 and 100 (provided {count})", stmt.count.span
                )
            self.keep(stmt, count)
            self._loop(stmt.body)
        elif isinstance(stmt, ast.ForRange):
            for end in (stmt.start, stmt.end):
                if not is_integral(self._expr(end)):
                    raise ScriptError("a range goes from one integer to another", end.span)
            self._set_variable(stmt.var, I64)
            self._loop(stmt.body)
        else:
            assert isinstance(stmt, ast.Jump)
            if stmt.kind != "return" and not self._loops:
                raise ScriptError(f"{stmt.kind} statement outside of a loop", stmt.span)

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
        self._expr(node)

    def _condition(self, node: ast.Expr) -> None:
        kind = self._expr(node)
        if not is_integral(kind) and not isinstance(kind, Str):
            raise ScriptError(f"Invalid condition: expected a number, got {kind}", node.span)

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
        kind = self._expr(stmt.value)
        if isinstance(kind, Void):
            raise ScriptError("this has no value to assign", stmt.value.span)
        if isinstance(stmt.target, ast.Var):
            known = self.variables.get(self.names[stmt.target])
            fits = isinstance(known, Int) and self._fits(stmt.value, known)
            self._set_variable(stmt.target, known if known and fits else kind, stmt.value)
        else:
            self._set_map(stmt.target, kind, stmt.value)

    def _compound(self, stmt: ast.Assign) -> None:
        left = self._expr(stmt.target)
        right = self._expr(stmt.value)
        kind = binary_type(stmt.op[:-1], left, right, False, self._flexible(stmt.value), stmt.span)
        self._no_zero_division(stmt.op[:-1], stmt.value)
        if isinstance(stmt.target, ast.Var):
            self._set_variable(stmt.target, kind if isinstance(left, Pointer) else stored(left), stmt.value)
        else:
            self._set_map(stmt.target, kind if self._is_new(stmt.target) else left, stmt.value)

    def _is_new(self, target: ast.Expr) -> bool:
        name = self._map_name(target)
        return self.shared.maps[name].value is None

    def _let(self, stmt: ast.Let) -> None:
        declared = self.shared.types.resolve(stmt.type) if stmt.type is not None else None
        if stmt.value is not None:
            kind = self._expr(stmt.value)
            if declared is not None and is_integral(declared) != is_integral(kind):
                raise ScriptError(
                    f"Type mismatch for {stmt.var.name}: trying to assign value of type '{kind}' when variable "
                    f"already has a type '{declared}'",
                    stmt.value.span,
                )
            self._set_variable(stmt.var, declared or kind, stmt.value)
        elif declared is not None:
            self._set_variable(stmt.var, declared)

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

    def _set_variable(self, var: ast.Var, kind: Type, value: ast.Expr | None = None) -> None:
        name = self.names[var]
        known = self.variables.get(name)
        kind = kind if isinstance(kind, Int) else stored(kind)  # bswap() asks how wide a variable's value is
        try:
            made = kind if known is None else unify(known, kind, value is not None and self._is_zero(value))
        except Mismatch:
            raise ScriptError(
                f"Type mismatch for {var.name}: trying to assign value of type '{kind}' when variable "
                f"already contains a value of type '{known}'",
                (value or var).span,
                "use another variable, or a cast",
            ) from None
        self.variables[name] = made
        self.types[var] = made

    # --- maps

    def _map_name(self, node: ast.Expr) -> str:
        base = node.base if isinstance(node, ast.Index) else node
        assert isinstance(base, ast.Map)
        return base.name

    def _keyed(self, node: ast.Expr) -> MapType:
        """Check the key of `@m` or `@m[k]` and merge its type into what is known."""
        base = node.base if isinstance(node, ast.Index) else node
        assert isinstance(base, ast.Map)
        keys = node.keys if isinstance(node, ast.Index) else ()
        return self._merge_key(base, self._flatten(keys), node.span)

    def _flatten(self, keys: Sequence[ast.Expr]) -> Sequence[ast.Expr]:
        """`@m[(a, b)]` is `@m[a, b]`."""
        return keys[0].items if len(keys) == 1 and isinstance(keys[0], ast.Tuple) else keys

    def _merge_key(self, base: ast.Map, keys: Sequence[ast.Expr], span: Span) -> MapType:
        known = self.shared.map(base.name, base.span)
        kinds = []
        for key in keys:
            kind = stored(self._expr(key))
            if isinstance(kind, Void) or (isinstance(kind, Pointer) and kind.space == "ctx"):
                raise ScriptError(f"{kind} cannot be used as a map key", key.span)
            kinds.append(kind)
        if known.key is None:
            known.key = tuple(kinds)
        elif bool(known.key) != bool(kinds):
            raise ScriptError(
                f"{base.name} used as a map {'without' if known.key else 'with'} an explicit key "
                f"({'keyed' if known.key else 'scalar'} map), previously used "
                f"{'with' if known.key else 'without'} one",
                span,
                f"write {base.name}[key] everywhere"
                if known.key
                else f"write {base.name} everywhere, or use another map",
            )
        else:
            known.key = self._unified_key(base, known.key, tuple(kinds), span)
        return known

    def _unified_key(
        self, base: ast.Map, known: tuple[Type, ...], kinds: tuple[Type, ...], span: Span
    ) -> tuple[Type, ...]:
        try:
            if len(known) != len(kinds):
                raise Mismatch
            return tuple(unify(a, b) for a, b in zip(known, kinds, strict=True))
        except Mismatch:
            raise ScriptError(
                f"Argument mismatch for {base.name}: trying to access with arguments: '{_types(kinds)}' "
                f"when map expects arguments: '{_types(known)}'",
                span,
            ) from None

    def _set_map(self, target: ast.Expr, kind: Type, value: ast.Expr) -> None:
        known = self._keyed(target)
        kind = stored(kind)
        if isinstance(kind, Pointer) and kind.space == "ctx":
            raise ScriptError("the context cannot be kept in a map", value.span, "keep its fields")
        if known.aggregation:
            raise ScriptError(
                f"Type mismatch for {known.name}: trying to assign value of type '{kind}' when map "
                f"already contains a value of type '{known.aggregation}_t'",
                value.span,
                "a map holds one kind of value; use another map",
            )
        try:
            known.value = kind if known.value is None else unify(known.value, kind, self._is_zero(value))
        except Mismatch:
            raise ScriptError(
                f"Type mismatch for {known.name}: trying to assign value of type '{kind}' when map "
                f"already contains a value of type '{known.value}'",
                value.span,
                "a map holds one type of value; use another map",
            ) from None
        self.types[target] = known.value

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
            if not is_integral(kind):
                raise ScriptError(
                    f"{call.name}() only supports integer arguments ({kind} provided)", call.args[0].span
                )
            signed = not isinstance(kind, Int) or kind.signed
        literals = [
            self.literal_int(node, f"{call.name}() {what}")
            for node, what in zip(call.args[first:], record.literals)  # noqa: B905
        ]
        literals += [0] * (len(record.literals) - len(literals))
        args = tuple(literals)
        record.check(self, self._call(call, [], []), args)
        if known.value is not None or known.aggregation not in ("", record.name):
            has = f"{known.aggregation}_t" if known.aggregation else str(known.value)
            raise ScriptError(
                f"Type mismatch for {known.name}: trying to assign value of type '{record.name}_t' when map "
                f"already contains a value of type '{has}'",
                call.span,
                "a map holds one kind of value; use another map",
            )
        if known.aggregation and known.args != args:
            raise ScriptError(
                f"Different {'bits' if record.name == 'hist' else 'bounds'} in a single map unsupported",
                call.span,
                f"{known.name} already has {', '.join(map(str, known.args))}",
            )
        known.aggregation, known.args, known.signed = record.name, args, known.signed or signed
        self.kept[stmt] = record

    # --- expressions

    def _expr(self, node: ast.Expr) -> Type:
        kind = self._kind(node)
        self.types[node] = kind
        return kind

    def _kind(self, node: ast.Expr) -> Type:
        if isinstance(node, ast.Int):
            return U64 if node.value >= 1 << 63 else I64
        if isinstance(node, ast.Str):
            return Str(len(node.value.encode("utf-8", "surrogateescape")) + 1)
        if isinstance(node, ast.Bool):
            return BOOL
        if isinstance(node, ast.Ident):
            return self._ident(node)
        if isinstance(node, ast.Var):
            return self.variables.get(self.names[node], UNKNOWN)
        if isinstance(node, ast.Param):
            return self._param(node)
        if isinstance(node, ast.Map):
            return self._map_value(node)
        if isinstance(node, ast.Index):
            return self._map_value(node) if isinstance(node.base, ast.Map) else self._element(node)
        if isinstance(node, ast.Member):
            return self._member(node)
        if isinstance(node, ast.Call):
            return self._call_type(node)
        if isinstance(node, ast.Unary):
            return self._unary(node)
        if isinstance(node, ast.Step):
            return self._step(node)
        if isinstance(node, ast.Binary):
            return self._binary(node)
        if isinstance(node, ast.Ternary):
            return self._ternary(node)
        if isinstance(node, ast.Cast):
            return self._cast(node)
        if isinstance(node, ast.Tuple):
            return Tuple(tuple(stored(self._expr(item)) for item in node.items))
        if isinstance(node, ast.Sizeof):
            of = (
                self.shared.types.resolve(node.of)
                if isinstance(node.of, ast.TypeName)
                else self._sizeof(node.of)
            )
            self.replaced[node] = self._literal(node, of.size)
            return U64
        assert isinstance(node, ast.Offsetof)
        return self._offsetof(node)

    def _sizeof(self, node: ast.Expr) -> Type:
        if isinstance(node, ast.Ident) and node.name not in self.shared.known_builtins:
            return self.shared.types.resolve(ast.TypeName(node.span, node.name, 0, ()))
        return self._expr(node)

    def _literal(self, node: ast.Expr, value: int, kind: Type | None = None) -> ast.Int:
        made = ast.Int(node.span, value)
        self.types[made] = kind or (U64 if value >= 1 << 63 else I64)
        return made

    def _ident(self, node: ast.Ident) -> Type:
        builtin = self.shared.known_builtins.get(node.name)
        if builtin is not None:
            if not builtin.variable:
                raise ScriptError(
                    f"{node.name}() is a function", node.span, f"{node.name}{builtin.signature}"
                )
            return self._builtin(builtin, node, ())
        if node.name in self._arrays:
            return self.variables[node.name]
        value = self.shared.define(node.name)
        if value is not None:
            if node.name in self._defining:
                raise ScriptError(f"the macro {node.name} contains itself", node.span)
            self._defining.append(node.name)
            self.replaced[node] = value
            kind = self._expr(value)
            self._defining.pop()
            return kind
        constant = self.shared.types.constant(node.name)
        if constant is not None:
            self.replaced[node] = self._literal(node, constant[1], constant[0])
            return constant[0]
        if node.name in CONSTANTS:
            self.replaced[node] = self._literal(node, CONSTANTS[node.name])
            return I64
        known = [*self.shared.known_builtins, *CONSTANTS, *self._arrays, *self.shared.defines]
        close = nearest(node.name, known, 1)
        hint = (
            f"did you mean {close[0]}?" if close else 'variables are written $name, maps @name, texts "..."'
        )
        raise ScriptError(f"Unknown identifier: '{node.name}'", node.span, hint)

    def _param(self, node: ast.Param) -> Type:
        params = self.shared.options.params
        if node.number == 0:
            self.replaced[node] = self._literal(node, len(params))
            return I64
        text = self.parameter(node)
        if node.number > len(params):
            self.shared.warn(
                f"positional parameter ${node.number} was not given", node.span, 'it counts as 0 or ""'
            )
        if text is not None and text != "":
            value = _integer(text)
            if value is None:
                made = ast.Str(node.span, text)
                self.replaced[node] = made
                return self._expr(made)
            self.replaced[node] = self._literal(node, value)
            return I64 if value < 1 << 63 else U64
        self.replaced[node] = self._literal(node, 0)
        return I64

    def _map_value(self, node: ast.Map | ast.Index) -> Type:
        known = self._keyed(node)
        if known.aggregation:
            raise ScriptError(
                f"{known.name} holds {known.aggregation}() values, which can only be printed",
                node.span,
                f"print({known.name})",
            )
        return known.value or UNKNOWN

    def _element(self, node: ast.Index) -> Type:
        base = self._expr(node.base)
        if len(node.keys) != 1:
            raise ScriptError("an array has one index", node.span)
        if not is_integral(self._expr(node.keys[0])):
            raise ScriptError("The array index must be an integer", node.keys[0].span)
        index = self.known_int(node.keys[0])
        if isinstance(base, Pointer):
            if isinstance(base.target, Void) or (isinstance(base.target, Struct) and not base.target.size):
                raise ScriptError(
                    f"cannot index a pointer to {base.target}", node.span, "cast it to another type"
                )
            return self._inherit(base.target, base)
        if isinstance(base, Array):
            if index is not None and base.count and not 0 <= index < base.count:
                raise ScriptError(
                    f"the index {index} is out of bounds for array of size {base.count}", node.span
                )
            return base.element
        if isinstance(base, Str):
            if index is None or not 0 <= index < base.size:
                raise ScriptError(f"a string is indexed by a number below {base.size}", node.span)
            return Int(1, True)
        if isinstance(base, Tuple):
            return self._tuple_item(base, str(self.literal_int(node.keys[0], "tuple index")), node.span)
        raise ScriptError(
            f"The array index operator [] can only be used on arrays and pointers, found {base}", node.span
        )

    def _tuple_item(self, base: Tuple, name: str, span: Span) -> Type:
        if not name.isdigit() or int(name) >= len(base.elements):
            raise ScriptError(
                f"Invalid tuple index: {name}",
                span,
                f"this tuple has {len(base.elements)} elements, counted from 0",
            )
        return base.elements[int(name)]

    def _inherit(self, kind: Type, base: Pointer) -> Type:
        """What is reached through a pointer lies where the pointer points, and so do its own pointers."""
        if (
            isinstance(kind, Pointer)
            and base.space in ("kernel", "user")
            and (not kind.space or base.space == "user")
        ):
            return Pointer(kind.target, base.space, False)
        return kind

    def _member(self, node: ast.Member) -> Type:
        base = self._expr(node.base)
        if isinstance(base, Tuple):
            return self._tuple_item(base, node.name, node.name_span)
        struct = base.target if isinstance(base, Pointer) else base
        if not isinstance(struct, Struct):
            raise ScriptError(
                f"Can not access field '{node.name}' on expression of type '{base}'",
                node.base.span,
                self._cast_hint(node.base) if is_integral(base) else "",
            )
        member = struct.find(node.name)
        if member is None:
            raise self._no_member(node, struct)
        self.kept[node] = member
        kind = self._inherit(member.type, base) if isinstance(base, Pointer) else member.type
        if member.data_loc and isinstance(kind, Array) and kind.element.size == 1:
            return Str(int(self.config["max_strlen"]))
        return kind

    def _cast_hint(self, base: ast.Expr) -> str:
        if isinstance(base, ast.Ident) and base.name == "curtask" and self.target.types is None:
            return NO_BTF
        return "cast it to a pointer to a struct first: ((struct x *)p)->field"

    def _no_member(self, node: ast.Member, struct: Struct) -> ScriptError:
        names = list(struct.names())
        close = nearest(node.name, names, 3)
        if isinstance(node.base, ast.Ident) and node.base.name == "args":
            hint = f"did you mean {close[0]}?" if close else "fields here: " + ", ".join(names[:12])
            return ScriptError(
                f"Can't find a field '{node.name}' in {self.context.label}", node.name_span, hint
            )
        hint = "did you mean " + " or ".join(close) + "?" if close else ""
        if not names:
            hint = "its definition is not known here"
        return ScriptError(
            f"Struct/union of type '{struct}' does not contain a field named '{node.name}'",
            node.name_span,
            hint,
        )

    def _unary(self, node: ast.Unary) -> Type:
        kind = self._expr(node.operand)
        if node.op == "*":
            if isinstance(kind, Pointer):
                if isinstance(kind.target, Void):
                    raise ScriptError(
                        "cannot dereference a void pointer", node.span, "cast it first: *(uint64 *)p"
                    )
                return self._inherit(kind.target, kind)
            if isinstance(kind, Int):
                return U64
            raise ScriptError(f"Can not dereference type '{kind}'", node.span, "it needs a pointer")
        if node.op == "&":
            raise ScriptError("the address of a variable or map cannot be taken", node.span)
        if not is_integral(kind):
            raise ScriptError(f"The {node.op} operator can not be used on type '{kind}'", node.span)
        if node.op == "!":
            return BOOL
        value = self.known_int(node.operand)
        if value is not None:
            folded = fold_unary(node.op, value)
            self.replaced[node] = self._literal(node, folded)
            return I64 if folded < 1 << 63 else U64
        return I64 if node.op == "-" else Int(8, isinstance(kind, Int) and kind.signed)

    def _step(self, node: ast.Step) -> Type:
        if not isinstance(node.operand, ast.Var):
            name = self._map_name(node.operand)
            if (
                self.shared.map(name, node.operand.span).value is None
                and not self.shared.maps[name].aggregation
            ):
                self._set_map(node.operand, I64, node.operand)
        kind = self._expr(node.operand)
        if not is_integral(kind):
            raise ScriptError(f"The {node.op} operator can not be used on type '{kind}'", node.span)
        if isinstance(node.operand, ast.Var):
            self._set_variable(node.operand, stored(kind))
        return stored(kind)

    def _binary(self, node: ast.Binary) -> Type:
        left, right = self._expr(node.left), self._expr(node.right)
        kind = binary_type(
            node.op, left, right, self._flexible(node.left), self._flexible(node.right), node.span
        )
        self._no_zero_division(node.op, node.right)
        a, b = self.known_int(node.left), self.known_int(node.right)
        if a is not None and b is not None and isinstance(kind, Int):
            value = fold(node.op, a, b, kind.signed)
            if value is not None:
                self.replaced[node] = self._literal(node, value, kind)
        return kind

    def _flexible(self, node: ast.Expr) -> bool:
        """A non-negative literal takes the sign of its partner."""
        value = self.known_int(node)
        return value is not None and 0 <= value < 1 << 63

    def _fits(self, node: ast.Expr, kind: Int) -> bool:
        """Whether a constant can be a value of an integer type."""
        value, bits = self.known_int(node), 8 * kind.size
        low, high = (-(1 << bits - 1), 1 << bits - 1) if kind.signed else (0, 1 << bits)
        return value is not None and low <= value < high

    def _is_zero(self, node: ast.Expr) -> bool:
        return self.known_int(node) == 0

    def _no_zero_division(self, op: str, right: ast.Expr) -> None:
        if op in ("/", "%") and self.known_int(right) == 0:
            raise ScriptError("division by zero", right.span)

    def _ternary(self, node: ast.Ternary) -> Type:
        self._condition(node.condition)
        then, other = stored(self._expr(node.then)), stored(self._expr(node.other))
        if isinstance(then, Void) and isinstance(other, Void):
            return VOID
        try:
            return unify(then, other, self._is_zero(node.then) or self._is_zero(node.other))
        except Mismatch:
            raise ScriptError(
                f"Ternary operator must return the same type: have '{then}' and '{other}'", node.span
            ) from None

    def _cast(self, node: ast.Cast) -> Type:
        kind = self.shared.types.resolve(node.type)
        source = self._expr(node.operand)
        if isinstance(kind, Pointer) and not kind.space:
            here = source.space if isinstance(source, Pointer) else ""
            kind = Pointer(kind.target, here or ("user" if self.context.user else "kernel"))
        if isinstance(kind, (Struct, Void)) or (isinstance(kind, Array) and not isinstance(source, (Str, Array))
                                                and not is_integral(source)):  # fmt: skip
            raise ScriptError(
                f'Cannot cast to "{kind}"',
                node.type.span,
                f"cast to a pointer: ({kind} *)" if isinstance(kind, Struct) else "",
            )
        if isinstance(kind, Array):
            return self._array_cast(node, kind, source)
        if isinstance(source, (Str, Tuple, Buffer, Opaque, Void, Struct)) or (
            isinstance(source, Array) and source.size > 8
        ):
            raise ScriptError(f'Cannot cast from "{source}" to "{kind}"', node.span)
        value = self.known_int(node.operand)
        if value is not None and isinstance(kind, Int) and kind.size <= 8:
            value &= (1 << 8 * kind.size) - 1
            if kind.signed and value >> (8 * kind.size - 1):
                value -= 1 << 8 * kind.size
            self.replaced[node] = self._literal(node, value, kind)
        return kind

    def _array_cast(self, node: ast.Cast, kind: Array, source: Type) -> Type:
        size = kind.size or source.size // kind.element.size * kind.element.size
        if size != source.size:
            raise ScriptError(f'Cannot cast from "{source}" to "{kind}"', node.span, "sizes differ")
        return Array(kind.element, size // kind.element.size)

    def _offsetof(self, node: ast.Offsetof) -> Type:
        kind, offset = self.shared.types.resolve(node.of), 0
        for name in node.path:
            member: Member | None = kind.find(name) if isinstance(kind, Struct) else None
            if member is None:
                raise ScriptError(
                    f"Struct/union of type '{kind}' does not contain a field named '{name}'", node.span
                )
            if member.bit_size:
                raise ScriptError(f"the bitfield {name} has no offset in bytes", node.span)
            offset, kind = offset + member.offset, member.type
        self.replaced[node] = self._literal(node, offset)
        return U64

    # --- builtins

    def _call_type(self, node: ast.Call) -> Type:
        builtin = self.shared.known_builtins.get(node.name)
        if builtin is not None:
            return self._builtin(builtin, node, node.args)
        if node.name in self.shared.known_aggregations:
            raise ScriptError(
                f"{node.name}() must be assigned directly to a map",
                node.span,
                f"write @name = {node.name}(...)",
            )
        close = nearest(node.name, [*self.shared.known_builtins, *self.shared.known_aggregations], 1)
        raise ScriptError(
            f"Unknown function: '{node.name}'", node.span, f"did you mean {close[0]}?" if close else ""
        )

    def _builtin(self, builtin: Builtin, node: ast.Expr, args: Sequence[ast.Expr]) -> Type:
        if builtin.removed:
            raise ScriptError(f"{builtin.name} was removed", node.span, builtin.removed)
        if builtin.unsafe and not self.shared.options.unsafe:
            raise ScriptError(
                f"{builtin.name}() is an unsafe function being used in safe mode",
                node.span,
                "allow it with --unsafe",
            )
        if isinstance(node, ast.Call):
            self._count_arguments(node, *arity(builtin.signature))
        kinds = []
        if not builtin.raw_args:
            for arg in args:
                known = isinstance(arg, ast.Ident) and arg.name in builtin.words
                kinds.append(VOID if known else self._expr(arg))
        call = self._call(node, args, kinds)
        kind = builtin.check(self, call)
        self.calls[node] = (builtin, call)
        return kind

    def _call(self, node: ast.Expr, args: Sequence[ast.Expr], kinds: Sequence[Type]) -> Call:
        name = node.name if isinstance(node, (ast.Call, ast.Ident)) else ""
        return Call(name, args, kinds, node, node.span, self.context)

    def _count_arguments(self, node: ast.Call, least: int, most: int) -> None:
        given = len(node.args)
        if least <= given <= most:
            return
        words = ("no", "one", "two", "three", "four")
        wanted = (
            least
            if least == most
            else (f"at least {words[least]}" if given < least else f"at most {words[most]}")
        )
        if isinstance(wanted, int):
            wanted = words[wanted]
        plural = "" if wanted.endswith("one") else "s"
        raise ScriptError(f"{node.name}() requires {wanted} argument{plural} ({given} provided)", node.span,
                          self._signature(node.name))  # fmt: skip

    def _signature(self, name: str) -> str:
        record = self.shared.known_builtins.get(name) or self.shared.known_aggregations.get(name)
        return f"{name}{record.signature}" if record else ""

    # --- feature.Checks

    def known_int(self, node: ast.Expr) -> int | None:
        while node in self.replaced:
            node = self.replaced[node]
        if isinstance(node, ast.Int):
            return node.value
        return int(node.value) if isinstance(node, ast.Bool) else None

    def literal_int(self, node: ast.Expr, what: str) -> int:
        self._expr(node)
        value = self.known_int(node)
        if value is None:
            raise ScriptError(
                f"{what} must be an integer literal", node.span, "its value must be known beforehand"
            )
        return value

    def literal_str(self, node: ast.Expr, what: str) -> str:
        self._expr(node)
        while node in self.replaced:
            node = self.replaced[node]
        if not isinstance(node, ast.Str):
            raise ScriptError(f"{what} must be a string literal", node.span, 'write it in "double quotes"')
        return node.value

    def identifier(self, node: ast.Expr, what: str) -> str:
        name = self.identifier_or_none(node)
        if name is None:
            raise ScriptError(f"{what} must be a name", node.span)
        return name

    def identifier_or_none(self, node: ast.Expr) -> str | None:
        return node.name if isinstance(node, ast.Ident) and node.name not in self.shared.defines else None

    def parameter(self, node: ast.Expr) -> str | None:
        params = self.shared.options.params
        if not isinstance(node, ast.Param):
            return None
        if node.number == 0:
            return str(len(params))
        return params[node.number - 1] if node.number <= len(params) else ""

    def whole_map(self, node: ast.Expr) -> str | None:
        if not isinstance(node, ast.Map):
            return None
        self.shared.map(node.name, node.span)
        return node.name

    def map_element(self, node: ast.Expr, args: Sequence[ast.Expr], keyed: bool = False) -> None:
        first = args[0]
        base = first.base if isinstance(first, ast.Index) else first
        if not isinstance(base, ast.Map):
            name = node.name if isinstance(node, ast.Call) else "this"
            raise ScriptError(
                f"{name}() expects a map to be provided", first.span, f"write {name}(@name, key)"
            )
        keys = first.keys if isinstance(first, ast.Index) else args[1:]
        if keyed and not keys:
            raise ScriptError("a key is needed", node.span, "has_key(@map, key)")
        flat = self._flatten(keys)
        known = self.shared.map(base.name, base.span)
        if not flat and known.key:
            raise ScriptError(
                f"{base.name} has keys: say which one to delete", node.span, f"clear({base.name}) deletes all"
            )
        self._merge_key(base, flat, node.span)
        self.kept[node] = (base.name, tuple(flat))

    def type_of(self, node: ast.Expr) -> Type:
        return self._expr(node)

    def span(self, node: ast.Expr) -> Span:
        return node.span

    def error(self, message: str, span: Span, hint: str = "") -> Exception:
        return ScriptError(message, span, hint)

    def keep(self, node: ast.Node, value: Any) -> None:
        self.kept[node] = value


def _types(kinds: Sequence[Type]) -> str:
    return ", ".join(map(str, kinds))


def _integer(text: str) -> int | None:
    """A positional parameter as a number, if it is one."""
    digits = text.removeprefix("-")
    try:
        value = (
            int(digits, 0)
            if digits[:2].lower() in ("0x", "0b")
            else int(digits, 8 if digits[:1] == "0" else 10)
        )
    except ValueError:
        return None
    return -value if text.startswith("-") else value
