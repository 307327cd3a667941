"""Names and types: what every expression of every probe is.

A probe's body is checked once for each different context it runs in. Types of maps and variables
come from all their uses: integers and strings widen, so checking is repeated until nothing changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property

from pbt.data import NamedTuple, dataclass, replace
from pbt.feature import Builtin, Context, PlaceError
from pbt.lang import ast
from pbt.lang.expand import Attached, Expanded
from pbt.lang.parse import parse_expr
from pbt.lang.scope import Names, resolve
from pbt.lang.stmts import Body
from pbt.lang.typed import Instance, MapType, Options, Typed, aggregations, builtins, named_type
from pbt.lang.typenames import TypeNames
from pbt.lang.unify import UNKNOWN
from pbt.source import ScriptError, ScriptErrors, ScriptWarning, Span, Undefined, UsageError, nearest
from pbt.types import Buffer, Str, Type
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.host.target import Target
    from pbt.lang.headers import Headers
    from pbt.lang.preprocess import Define

MOST_ROUNDS = 12
MOST_STEPS = 8  # how often the type of one integer can widen: four sizes, natural, unsigned, signed
MOST_BYTES = 32 << 10  # PCPU_MIN_UNIT_SIZE, include/linux/percpu.h


def check(
    script: ast.Script,
    expanded: Sequence[Expanded],
    defines: Mapping[str, Define],
    target: Target,
    options: Options,
    headers: Headers | None = None,
) -> Typed:
    """Type all probes; ScriptErrors with every independent mistake (one for each statement at most)."""
    return Script(script, expanded, defines, target, options, headers).run()


@dataclass(frozen=True, eq=False)
class _Body:
    """A probe's body in one context. `key`: of the variables that it shares with others."""

    probe: ast.Probe
    context: Context
    places: tuple[Attached, ...]
    key: tuple[int, int]


class _Checked(NamedTuple):
    """An instance, and what was known before of the maps that it asks for and of its variables."""

    instance: Instance
    maps: dict[str, object]
    variables: dict[str, Type]


class Script:
    """What all instances share, over all rounds."""

    def __init__(
        self,
        script: ast.Script,
        expanded: Sequence[Expanded],
        defines: Mapping[str, Define],
        target: Target,
        options: Options,
        headers: Headers | None,
    ) -> None:
        self.script, self.expanded, self.target, self.options = script, expanded, target, options
        self.headers = headers
        self.types = TypeNames(
            script.types, target.types, headers, self.define, named_type, self._constants, self._traced_type
        )
        self.defines = defines
        self.define_values: dict[str, ast.Expr] = {}
        self.maps: dict[str, MapType] = {}
        self.known_builtins = builtins()
        self.known_aggregations = aggregations()
        self.warnings: dict[tuple[int, str], ScriptWarning] = {}
        self.errors: dict[tuple[int, str], ScriptError] = {}
        for declared in script.maps:
            if declared.name in self.maps:
                self.warn(f"{declared.name} is declared twice: the first declaration counts", declared.span)
            self.maps.setdefault(declared.name, _declared(declared))
        self._typed: dict[Attached, Context] = {}  # contexts with typed arguments, as far as somebody asks
        self.asked: dict[str, str] = {}  # options of the script that it knows, and what they are for
        self.defaults: dict[str, bool | int | str] = {}  # of those options
        self.used: set[str] = set()  # maps that stand somewhere, other than in their declaration
        self._asked_maps: set[str] = set()  # by the body that is being checked
        self._checked: dict[_Body, _Checked] = {}  # what has no mistakes
        self.assigned: set[str] = set()  # maps that get a value somewhere, rightly or wrongly

    def run(self) -> Typed:
        variables: dict[tuple[int, int], dict[str, Type]] = {}
        names = {}
        for expanded in self.expanded:
            names[expanded.probe] = resolve(expanded.probe)
        bodies = list(self._bodies())
        rounds = 0
        while rounds < MOST_ROUNDS + MOST_STEPS * (len(self.maps) + sum(map(len, variables.values()))):
            rounds += 1
            before = {name: replace(known) for name, known in self.maps.items()}
            variables_before = {key: dict(types) for key, types in variables.items()}
            self.errors.clear()
            instances = self._round(bodies, names, variables)
            if before == self.maps and variables_before == variables:
                break
        for bound in names.values():
            for error in bound.errors:
                self.report(error)
        self._no_unused_maps()
        for known in self.maps.values():
            self._fits_declaration(known)
            no_value = known.value is None and known.name not in self.assigned
            if (no_value or known.value is UNKNOWN) and not known.aggregation:
                self.report(_undefined_map(known, self.maps))
        self._not_too_large(instances)
        self.raise_errors()
        self._no_needless_casts(instances)
        self._no_unknown_options()
        return Typed(self.script, tuple(instances), self.maps, tuple(self.warnings.values()), self.asked)

    def _bodies(self) -> Iterator[_Body]:
        for number, expanded in enumerate(self.expanded):
            probe = expanded.probe
            for group, places in enumerate(_by_context(expanded.places, _mentions_args(probe))):
                for context, members in self._split(probe, places):
                    yield _Body(probe, context, members, (number, group))

    def _round(
        self,
        bodies: Sequence[_Body],
        names: Mapping[ast.Probe, Names],
        variables: dict[tuple[int, int], dict[str, Type]],
    ) -> list[Instance]:
        """Check the bodies of which something is known now that was not when they were checked before."""
        instances = []
        for body in bodies:
            own = variables.setdefault(body.key, {})
            found = self._checked.get(body)
            if found is None or found.variables != own or found.maps != self._known(found.maps):
                found = self._check(body, names[body.probe].of, own)
            instances.append(found.instance)
        return instances

    def _known(self, names: Iterable[str]) -> dict[str, object]:
        """What types may follow from of maps."""
        return {name: self.maps[name].known if name in self.maps else None for name in names}

    def _check(self, body: _Body, names: Mapping[ast.Var, str], variables: dict[str, Type]) -> _Checked:
        before, own, errors = self._known(self.maps), dict(variables), len(self.errors)
        self._asked_maps = set()
        made = Body(self, body.probe, body.context, names, variables)
        made.run()
        instance = Instance(
            body.probe, body.context, body.places, made.types, made.kept, made.calls, made.replaced, names,
            variables,
        )  # fmt: skip
        found = _Checked(instance, {name: before.get(name) for name in self._asked_maps}, own)
        if len(self.errors) == errors:  # else they are reported again
            self._checked[body] = found
        return found

    def _split(
        self, probe: ast.Probe, places: tuple[Attached, ...]
    ) -> list[tuple[Context, tuple[Attached, ...]]]:
        """One program serves all places of a context, unless its body depends on the place it is at."""
        if any(place.provider.typed for place in places) and self._uses(probe, lambda builtin: builtin.typed):
            return [(self._typed_context(place), (place,)) for place in places]
        if len(places) == 1 or not self._uses(probe, lambda builtin: builtin.per_place):
            return [(places[0].context, places)]
        if self._told_by_cookie(probe, places):
            labels = tuple(place.context.label for place in places)
            return [(replace(places[0].context, labels=labels), places)]
        return [(place.context, (place,)) for place in places]

    def _told_by_cookie(self, probe: ast.Probe, places: Sequence[Attached]) -> bool:
        """Whether one program can do for places that its body tells apart."""
        if self._uses(probe, lambda builtin: builtin.per_place and not builtin.by_cookie):
            return False
        wanted = {place.provider.cookies for place in places}
        return "" not in wanted and all(map(self.target.has, wanted))

    def _uses(self, probe: ast.Probe, wanted: Callable[[Builtin], bool]) -> bool:
        """Whether a body uses a builtin of some kind."""
        names = {node.name for node in probe.walk() if isinstance(node, (ast.Ident, ast.Call))}
        return any(wanted(self.known_builtins[name]) for name in names if name in self.known_builtins)

    def _traced_type(self, name: str) -> Type | None:
        """A type of C that programs and libraries define which the script traces, if it traces nothing else."""
        places = [p for expanded in self.expanded for p in expanded.places if not p.context.anyone]
        if any(place.provider.find_type is None for place in places):
            return None
        for provider in dict.fromkeys(place.provider for place in places):
            here = [place.place for place in places if place.provider is provider]
            found = provider.find_type(here, name) if provider.find_type is not None else None
            if found is not None:
                return found
        return None

    def _typed_context(self, place: Attached) -> Context:
        """What a program at a place sees, typed arguments included."""
        known = self._typed.get(place)
        if known is None:
            known = place.context
            if place.provider.typed is not None:
                try:
                    known = place.provider.typed(place.place, place.context, self.target)
                except PlaceError as error:
                    raise ScriptError(error.message, place.point.span, error.hint) from error
            self._typed[place] = known
        return known

    def _no_unused_maps(self) -> None:
        """Maps that are declared and nothing more are warned of, and not made."""
        for known in [known for known in self.maps.values() if known.name not in self.used]:
            self.warn(f"Unused map: {known.name}", known.span)
            del self.maps[known.name]

    def _fits_declaration(self, known: MapType) -> None:
        if not known.kind or (known.value is None and not known.aggregation):
            return
        if bool(known.aggregation) != ("PERCPU" in known.kind):
            holds = f"{known.aggregation}() values" if known.aggregation else "plain values"
            fit = "percpuhash or percpulruhash" if known.aggregation else "hash or lruhash"
            self.report(ScriptError(f"{known.name} holds {holds}, which its type cannot", known.span, fit))
        elif known.key == ():  # one value: how the kernel keeps it does not matter
            known.kind, known.entries = "", 0

    def _no_unknown_options(self) -> None:
        for name in self.options.named:
            if name not in self.asked and name != "help":
                known = ", ".join(f"--{n}" for n in sorted(self.asked))
                raise UsageError(
                    f"the script has no option --{name}", f"it has {known}" if known else "it has none at all"
                )

    def _not_too_large(self, instances: Sequence[Instance]) -> None:
        """Values are made in per-CPU memory, whose pieces are limited."""
        for known in self.maps.values():
            if known.value is not None:
                self._fits(known.value, known.span)
        for instance in instances:
            first = {name: var for var, name in reversed(list(instance.names.items()))}
            for name, var in first.items():
                self._fits(instance.variables.get(name), var.span)
            for node, kind in instance.types.items():
                if isinstance(kind, (Str, Buffer)) and not isinstance(node, ast.Var):
                    self._fits(kind, node.span)

    def _no_needless_casts(self, instances: Sequence[Instance]) -> None:
        """Casts of the script's own to the type that a value has anyway are warned of."""
        for instance in instances:
            casts = (node for node in instance.types if isinstance(node, ast.Cast))
            for node in casts:
                kind = str(instance.types[node])
                if kind == str(instance.types[node.operand]) and self._is_written(node):
                    self.warn(f"Unnecessary cast: expression is already of type {kind}", node.span)

    def _is_written(self, node: ast.Cast) -> bool:
        """Whether a cast is the script's own, and not of what reading makes a number."""
        base = node.operand.base if isinstance(node.operand, ast.Index) else node.operand
        counts = isinstance(base, ast.Map) and bool(self.maps[base.name].aggregation)
        return node.span.text.startswith("(") and not counts and not isinstance(base, ast.Bool)

    def _fits(self, kind: Type | None, span: Span) -> None:
        if kind is not None and kind.size > MOST_BYTES:
            self.report(
                ScriptError(
                    f"a value of type '{kind}' is too large: {kind.size} bytes",
                    span,
                    f"a value has at most {MOST_BYTES} bytes: the kernel's limit for per-CPU memory",
                )
            )

    # --- errors

    def report(self, error: ScriptError) -> None:
        self.errors.setdefault((error.span.start, error.message), error)

    def warn(self, message: str, span: Span, hint: str = "", once: bool = False) -> None:
        self.warnings.setdefault((-1 if once else span.start, message), ScriptWarning(message, span, hint))

    def raise_errors(self) -> None:
        if self.errors:
            raise ScriptErrors(list(self.errors.values()))

    # --- names

    def define(self, name: str) -> ast.Expr | None:
        """What `#define` makes of a name, in the script or in its headers."""
        if name not in self.define_values:
            found = self.defines.get(name)
            headers = self.headers
            if found is None and headers is not None and (name not in self.constants or headers.own(name)):
                found = headers.define(name)
            if found is None:
                return None
            self.define_values[name] = parse_expr(found)
        return self.define_values[name]

    def _constants(self) -> Mapping[str, int]:
        return self.constants

    @cached_property
    def constants(self) -> Mapping[str, int]:
        """What headers are known to define that need not be there."""
        from pbt.lang.constants import constants

        return constants(self.target.arch.name)

    def map(self, name: str, span: Span) -> MapType:
        self.used.add(name)
        self._asked_maps.add(name)
        return self.maps.setdefault(name, MapType(name, span))


_KINDS = {
    "hash": "HASH",
    "lruhash": "LRU_HASH",
    "percpuhash": "PERCPU_HASH",
    "percpulruhash": "LRU_PERCPU_HASH",
}
"""What `let @map = kind(entries)` may say, and the BPF map type it means."""


def _declared(node: ast.MapDecl) -> MapType:
    if node.kind not in _KINDS:
        raise ScriptError(f"Invalid bpf map type: {node.kind}", node.span, "one of " + ", ".join(_KINDS))
    if not 1 <= node.entries < 1 << 31:
        raise ScriptError(f"{node.name} cannot have {node.entries} entries", node.span)
    return MapType(node.name, node.span, kind=_KINDS[node.kind], entries=node.entries)


def _mentions_args(probe: ast.Probe) -> bool:
    return any(isinstance(node, ast.Ident) and node.name == "args" for node in probe.walk())


def _by_context(places: Sequence[Attached], args: bool) -> list[tuple[Attached, ...]]:
    """Places whose programs see the same, but for their names; `args`: fields count only where the body has them."""
    groups: dict[Context, list[Attached]] = {}
    for place in places:
        plain = replace(place.context, label="", args=place.context.args if args else None)
        groups.setdefault(plain, []).append(place)
    return [tuple(members) for members in groups.values()]


def _undefined_map(known: MapType, maps: Mapping[str, MapType]) -> Undefined:
    close = nearest(known.name, [m.name for m in maps.values() if m.value is not None or m.aggregation], 1)
    return Undefined(
        f"Undefined map: {known.name}",
        known.span,
        f"did you mean {close[0]}?" if close else f"assign to it somewhere: {known.name} = ...",
    )
