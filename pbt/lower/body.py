"""One program of a script under construction, and what all programs of the script share.

`Body` implements `views.Gen`, the view of lowering that builtins and providers have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager

from pbt.bundle import Event, Failure, Map, Place
from pbt.data import dataclass, field
from pbt.feature import Builtin, Call, Context, Mem
from pbt.ir import core as ir
from pbt.ir.build import Builder, Number
from pbt.lang import ast
from pbt.lang.typed import Instance, MapType
from pbt.lower import event as events
from pbt.lower import expr, failures, loops, memory, stmt, text, walk
from pbt.record import Record
from pbt.source import Source, Span
from pbt.types import U64, Pointer, Struct, Tuple, Type, is_integral
from pbt.typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pbt.host.target import Target

SCRATCH = "scratch"
RARE = "rare"
START = "start"
OVER = "over"  # u64: whether exit() was called; user space takes a moment to hear of it
START_FIELDS = ("boot_ns", "tai_offset", "unix_offset", "cpid")


@dataclass
class Unit:
    """What the programs of one script share while they are made."""

    source: Source
    target: Target
    config: Mapping[str, Any]
    map_types: Mapping[str, MapType]
    pid: int | None = None
    warnings: int = 1
    failures: dict[Failure, int] = field(default_factory=dict)
    maps: dict[str, Map] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    features: set[str] = field(default_factory=set)  # asked for and there
    scratch: int = 0  # bytes of the largest program's
    rare: int = 0  # the same of the memory that is looked for where it is needed
    rare_users: dict[int, int] = field(default_factory=dict)  # number of a program → its place there

    def place_of(self, span: Span | None) -> Place:
        inside = span is not None and span.source is self.source
        return Place(span.start, span.end) if inside and span is not None else Place(-1, -1)


class Body:
    """One program under construction."""

    def __init__(self, unit: Unit, number: int, instance: Instance, limit: int, scratch: bool) -> None:
        self.unit, self.number, self.instance = unit, number, instance
        self.target, self.config, self.arch = unit.target, unit.config, unit.target.arch
        self.probe: Context = instance.context
        self.b = Builder("main")
        self.outermost: Body | None = None  # None: it is that itself
        self.scratch_size = 0
        self.functions: list[ir.Function] = []  # for the kernel to call back
        self.loops: list[tuple[Callable[[], None], Callable[[], None]]] = []  # (break, continue)
        self.returns: Callable[[ast.Jump], None] | None = None  # inside a function of the script
        self.pairs: dict[str, loops.Pair] = {}
        self.early: dict[ast.Expr, str | Mem] = {}  # evaluated already: the name of a variable, or a place
        self.known: dict[ir.Value, walk.Known] = {}  # numbers that are pointers whose type the verifier knows
        self.there: dict[int, ir.Value] = {}  # place in the context → a pointer that is not null there
        self.shared = loops.Shared.of(instance, limit, unit.target.has("bpf_loop"))
        self.ignored: ast.Expr | None = None  # the statement whose value nobody wants
        self._limit = limit
        self._with_scratch = scratch
        self._scratch: ir.Value | None = None
        self._variables: dict[str, int | Mem] = {}
        self._pad = True
        self._shared_slot = (
            self.b.reserve(self.shared.size, "shared with loops") if self.shared.size else None
        )

    @property
    def root(self) -> Body:
        """The body of the program, whose functions and scratch memory those of loops share."""
        return self.outermost or self

    def run(self) -> ir.Function:
        probe, b = self.instance.probe, self.b
        if self.unit.pid is not None and not self.probe.anyone:
            self._only(self.unit.pid)
        if self.probe.enter is not None:
            self.require(self.probe.enter(self))
        if self.probe.again and any(builtin.final for builtin, _ in self.instance.calls.values()):
            self.require(b.compare("eq", b.load(self._over(), 0, 8), 0))
        if self._with_scratch:
            self._enter_scratch()
        if self._shared_slot is not None:
            b.zero(self.shared_base(), 0, self.shared.size)
            if self.shared.called:
                b.store(self.shared_base(), loops.CONTEXT, 8, b.ctx())
        self._clear_variables()
        if probe.predicate is not None:
            with b.at(probe.predicate.span):
                inside, outside = b.block("body"), b.block("filtered")
                expr.branch(self, probe.predicate, inside, outside)
                b.place(outside)
                b.ret(self.probe.result)
                b.place(inside)
        stmt.block(self, probe.body)
        if not b.ended:
            b.ret(self.probe.result)
        return b.finish()

    def _only(self, pid: int) -> None:
        b = self.b
        self.require(b.compare("eq", b.op("lshr", b.call("get_current_pid_tgid"), 32), pid))

    def _enter_scratch(self) -> None:
        b = self.b
        key = b.slot(4, "scratch key", 4)
        b.store(key, 0, 4, self.number)
        found = b.call("map_lookup_elem", b.map(SCRATCH), key, kind="value")
        here, missing = b.block("scratch"), b.block("none")
        b.branch("ne", found, 0, here, missing)
        b.place(missing)
        b.ret(self.probe.result)
        b.place(here)
        self._scratch = found

    def _clear_variables(self) -> None:
        """Variables in memory that some path may read before it writes them."""
        for name in text.may_be_read_unset(self.instance):
            kind = self.instance.variables.get(name)
            if kind is not None and not is_integral(kind):
                self.zero(self.variable(name), kind.size)

    # --- tables

    def real(self, node: ast.Expr) -> ast.Expr:
        """What stands for a node: a constant's number, a #define's value."""
        while node in self.instance.replaced:
            node = self.instance.replaced[node]
        return node

    def type(self, node: ast.Expr) -> Type:
        return self.instance.types[node]

    def kept(self, node: ast.Node) -> Any:
        return self.instance.kept.get(node)

    def call_of(self, node: ast.Expr) -> tuple[Builtin, Call] | None:
        return self.instance.calls.get(node)

    def place_of(self, span: Span | None) -> Place:
        return self.unit.place_of(span)

    def map_type(self, name: str) -> MapType:
        return self.unit.map_types[name]

    # --- views.Gen: expressions

    def value(self, node: ast.Expr) -> ir.Value:
        return expr.value(self, node)

    def into(self, node: ast.Expr, to: Mem, type_: Type, pad: bool = True) -> None:
        with self.padding(pad):
            text.into(self, node, to, type_)

    @contextmanager
    def padding(self, pad: bool = True) -> Iterator[None]:
        """Whether strings written inside get zeros behind their ends, as what is compared or hashed needs."""
        before, self._pad = self._pad, pad
        yield
        self._pad = before

    def same_text(self, left: ast.Expr, right: ast.Expr, most: int) -> ir.Value:
        return text.same(self, left, right, most)

    # --- views.Gen: memory

    def temp(self, size: int, label: str) -> Mem:
        if size <= self._limit:
            return Mem(self.b.slot(size, label))
        return self._in_scratch(size)

    def scratch(self, size: int, label: str) -> Mem:
        return self._in_scratch(size)

    @contextmanager
    def rarely(self, size: int) -> Iterator[tuple[Mem, int]]:
        b, unit = self.b, self.unit
        unit.rare = max(unit.rare, size)
        place = unit.rare_users.setdefault(self.number, len(unit.rare_users))
        key = b.slot(4, "number of the program", 4)
        b.store(key, 0, 4, place)
        found = b.call("map_lookup_elem", b.map(RARE), key, kind="value")
        with b.when("ne", found, 0):
            yield Mem(found), place

    def locate(self, node: ast.Expr) -> tuple[str, Mem]:
        loc = text.locate(self, node)
        return loc.space, Mem(loc.base, loc.offset)

    def tracked(self, node: ast.Expr) -> Mem:
        return text.tracked(self, node)

    def _in_scratch(self, size: int) -> Mem:
        at = self.root.scratch_size
        self.root.scratch_size += -(-size // 8) * 8
        return self._scratch_at(at)

    def _scratch_at(self, at: int) -> Mem:
        if self._scratch is None:  # the first lowering only counts
            return Mem(self.b.slot(8, "scratch"))
        return Mem(self._scratch, at)

    def variable(self, name: str) -> Mem:
        """Where a variable that is no number lies."""
        kind = self.instance.variables[name]
        if name in self.shared.offsets:
            return Mem(self.shared_base(), self.shared.offsets[name])
        if name in self.shared.large:
            return self._shared_scratch(name, kind.size)
        if name not in self._variables:
            if kind.size <= self._limit:
                self._variables[name] = self.b.reserve(kind.size, name)
            else:
                self._variables[name] = self._in_scratch(kind.size)
        place = self._variables[name]
        return Mem(self.b.slot_address(place)) if isinstance(place, int) else place

    def _shared_scratch(self, name: str, size: int) -> Mem:
        """Large variables that loops share lie in scratch memory, at one offset for all functions."""
        known = self.root.shared.large
        if known[name] < 0:
            known[name] = self.root.scratch_size
            self.root.scratch_size += -(-size // 8) * 8
        return self._scratch_at(known[name])

    def shared_base(self) -> ir.Value:
        """The address of what the program shares with the bodies of its loops over maps."""
        assert self._shared_slot is not None
        return self.b.slot_address(self._shared_slot)

    def get(self, name: str) -> ir.Value:
        """The number that a variable holds."""
        at = self.shared.offsets.get(name)
        return self.b.read(name) if at is None else self.b.load(self.shared_base(), at, 8)

    def set(self, name: str, value: ir.Value | int) -> None:
        at = self.shared.offsets.get(name)
        if at is None:
            self.b.assign(name, value)
        elif self.root is not self:
            loops.forgetful(self, at, value)
        else:
            self.b.store(self.shared_base(), at, 8, value)

    def statements(self, body: Sequence[ast.Stmt]) -> None:
        """Statements inside an expression; what follows one that leaves is never reached."""
        stmt.statements(self, body)
        if self.b.ended:
            self.b.place(self.b.block("never"))

    def callback(self, node: ast.ForMap | ast.ForRange) -> tuple[str, bool]:
        """The name of a function that runs the loop's body once; whether it may leave the probe."""
        from pbt.lower.callback import MapLoop, RangeLoop  # late: they are bodies themselves

        place = len(self.root.functions)
        name = f"loop{place + 1}"
        self.root.functions.append(ir.Function(name, ()))
        inner = MapLoop(self, name, node) if isinstance(node, ast.ForMap) else RangeLoop(self, name, node)
        self.root.functions[place] = inner.run()
        return name, inner.leaves

    def address(self, place: Mem) -> ir.Value:
        return memory.address(self, place)

    def bytes(self, to: Mem, data: bytes) -> None:
        memory.write(self, to, data)

    def zero(self, to: Mem, size: int) -> None:
        memory.zero(self, to, size)

    def zero_text(self, to: Mem, size: int) -> None:
        if self._pad:
            memory.zero(self, to, size)

    @property
    def padded(self) -> bool:
        """Whether the string being written needs zeros behind its end."""
        return self._pad

    def known_pointer(self, pointer: ir.Value, struct: Struct) -> ir.Value:
        return walk.remember(self, pointer, struct if walk.wanted(self) else None)

    def argument(self, offset: int, type_: Type) -> ir.Value:
        return memory.load(self, memory.Loc("ctx", self.b.ctx(), offset), type_)

    def object(self, offset: int, type_: Type) -> None:
        number = self.argument(offset, type_)
        known = self.known.pop(number, None)
        self.require(self.b.compare("ne", number if known is None else known.pointer, 0))
        if known is not None:
            self.known[number] = known._replace(null=False)
            self.there[offset] = number

    def load(self, address: ir.Value, offset: int, type_: Type) -> ir.Value:
        return memory.load(self, memory.Loc("kernel", address, offset), type_)

    def read(self, to: Mem, size: Number, address: ir.Value, space: str) -> ir.Value:
        return memory.probe_read(self, to, size, address, space)

    def read_str(self, to: Mem, size: Number, address: ir.Value, space: str) -> ir.Value:
        return memory.probe_read_str(self, to, size, address, space)

    def space(self, type_: Type) -> str:
        if isinstance(type_, Pointer) and type_.space:
            return type_.space
        return "user" if self.probe.user else "kernel"

    def at_most(self, value: ir.Value, limit: int) -> ir.Value:
        b = self.b
        cut = b.choose("ugt", value, limit, lambda: limit, lambda: value)
        return b.choose("eq", cut, 0, lambda: 1, lambda: cut)

    # --- views.Gen: the rest of the program

    def loop(self, times: int, room: Mem, turn: Callable[[Mem], Number]) -> None:
        from pbt.lower import turns

        turns.loop(self, times, room, turn)

    def event(
        self, action: str, fields: Sequence[tuple[str, Type]], text: str = "", args: Sequence[Any] = ()
    ) -> AbstractContextManager[Sequence[Mem]]:
        return events.event(self, action, fields, text, args)

    def add_event(self, made: Event) -> int:
        self.unit.events.append(made)
        return len(self.unit.events) - 1

    def declare(self, map_: Map) -> str:
        self.unit.maps.setdefault(map_.name, map_)
        return map_.name

    def start(self, name: str) -> ir.Value:
        record = Record.of([(n, U64) for n in START_FIELDS])
        self.declare(Map(START, "ARRAY", 4, record.size, 1, key=Record((), 4)))
        return self.b.load(self.b.map_value(START), record[name].offset, 8)

    def delete(self, node: ast.Expr) -> ir.Value | None:
        from pbt.lower import presence

        name, keys = self.kept(node)
        return presence.delete(self, name, keys, node is self.ignored)

    def find(self, node: ast.Expr, variable: ast.Expr) -> ir.Value:
        from pbt.lower import presence

        assert isinstance(variable, ast.Var)
        name, keys = self.kept(node)
        return presence.find(self, name, keys, self.instance.names[variable])

    def key(self, node: ast.Expr) -> Sequence[tuple[ast.Expr, Type]]:
        name, keys = self.kept(node)
        kinds = self.map_type(name).key or ()
        if len(keys) == 1 and isinstance(self.type(keys[0]), Tuple) and len(kinds) != 1:
            return [(keys[0], Tuple(kinds))]
        return list(zip(keys, kinds, strict=True))

    def count(self, name: str) -> ir.Value:
        from pbt.lower import turns

        return turns.count(self, name)

    def has_key(self, node: ast.Expr) -> ir.Value:
        from pbt.lower import presence

        return presence.has_key(self, *self.kept(node))

    def require(self, wanted: ir.Value) -> None:
        """Return at once when the value is 0."""
        b = self.b
        ours, others = b.block("ours"), b.block("others")
        b.branch("ne", wanted, 0, ours, others)
        b.place(others)
        b.ret(self.probe.result)
        b.place(ours)

    def final(self) -> None:
        if self.probe.again:
            self.b.store(self._over(), 0, 8, 1)

    def _over(self) -> ir.Value:
        return self.b.map_value(self.declare(Map(OVER, "ARRAY", 4, 8, 1, key=Record((), 4))))

    def leave(self, value: ir.Value | None = None) -> None:
        """End the probe; its program's result is `value`, where the probe answers."""
        self.b.ret(self.probe.result if value is None else value)

    def watch(self, helper: str, result: ir.Value) -> None:
        failures.watch(self, helper, result, level=2)

    def lost(self, helper: str, result: Number, map_name: str) -> None:
        failures.count(self, helper, result, 1, map_name)

    def has(self, feature: str) -> bool:
        found = self.target.has(feature)
        if found:
            self.unit.features.add(feature)
        return found
