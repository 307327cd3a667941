"""Loops whose bodies are functions: which they are, what they share with the program, and a map's pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pbt.data import NamedTuple, dataclass, field
from pbt.feature import Mem
from pbt.ir.core import Value
from pbt.lang import ast
from pbt.lang.typed import Instance
from pbt.lower import maps, memory
from pbt.lower.memory import Loc
from pbt.types import Tuple, Type, is_integral
from pbt.typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from pbt.lower.body import Body


LEFT, RESULT, CONTEXT, HEADER = 0, 8, 16, 24
SHORT = 32  # turns; a range that is known to be no longer is walked in place


class Pair(NamedTuple):
    """What `$kv` stands for: a map, and the places of one key and its value."""

    map: str
    key: Value
    value: Value


@dataclass
class Shared:
    """Variables used inside and outside of loop bodies lie in memory that both reach, as do those whose
    address is taken.

    `offsets` into a stack slot of the program, which starts with three u64: at `LEFT` whether a body left
    the probe, at `RESULT` what the program then returns, at `CONTEXT` its context; `starts`: where in it the
    first number of a range is, by the name of the loop's variable, and `pairs` where the two addresses of a
    map's element are that inner loops may use; `large`: variables in scratch memory,
    with their offset there once it is known, else -1; `called`: loops whose bodies are functions.
    """

    size: int = 0
    offsets: dict[str, int] = field(default_factory=dict)
    starts: dict[str, int] = field(default_factory=dict)
    pairs: dict[str, int] = field(default_factory=dict)
    large: dict[str, int] = field(default_factory=dict)
    called: frozenset[ast.Node] = frozenset()

    @staticmethod
    def of(instance: Instance, limit: int, bpf_loop: bool) -> Shared:
        every: list[Called] = [n for n in _nodes(instance) if isinstance(n, (ast.ForMap, ast.ForRange))]
        found = [node for node in every if is_called(instance, node, bpf_loop)]
        addressed = list(dict.fromkeys(_addressed(instance)))
        made = Shared(HEADER if found or addressed else 0, called=frozenset(found))
        for name in (*addressed, *(n for n in _common(instance, found) if n not in addressed)):
            kind = instance.variables.get(name)
            size = 8 if kind is None or is_integral(kind) else -(-kind.size // 8) * 8
            if size > limit:
                made.large[name] = -1
            else:
                made.offsets[name] = made.size
                made.size += size
        for node in found:
            if isinstance(node, ast.ForRange):
                made.starts[instance.names[node.var]] = made.size
                made.size += 8
            elif any(inner in found for inner in node.body.walk()):
                made.pairs[instance.names[node.var]] = made.size
                made.size += 16
        return made


Called: TypeAlias = "ast.ForMap | ast.ForRange"


def is_called(instance: Instance, node: Called, bpf_loop: bool) -> bool:
    """Whether the body of a loop is a function: always that of a loop over a map, and that of a long range,
    or one of unknown length, where the kernel has bpf_loop."""
    if isinstance(node, ast.ForRange) and bpf_loop:
        turns = known_turns(instance, node)
        return turns is None or turns > SHORT
    return isinstance(node, ast.ForMap)


def keep_pair(body: Body, name: str) -> None:
    """Let the loops inside this one find the pair that is at hand."""
    at = body.shared.pairs.get(name)
    if at is not None:
        body.b.store(body.shared_base(), at, 8, body.pairs[name].key)
        body.b.store(body.shared_base(), at + 8, 8, body.pairs[name].value)


def kept_pair(body: Body, name: str, map_: str) -> Pair:
    """The pair of a loop around this one."""
    b, at = body.b, body.shared.pairs[name]
    key, value = (b.load_pointer(body.shared_base(), at + n, "value") for n in (0, 8))
    return Pair(map_, key, value)


def known_turns(instance: Instance, node: ast.ForRange) -> int | None:
    """How often the body of a loop runs at most; None if only running tells."""
    ends = []
    for end in (node.start, node.end):
        while end in instance.replaced:
            end = instance.replaced[end]
        if not isinstance(end, ast.Int):
            return None
        ends.append(end.value)
    return max(ends[1] - ends[0], 0)


def forgetful(body: Body, at: int, value: Value | int) -> None:
    """Store a number so that the verifier does not remember it: it would follow a variable that counts through
    every turn of the loop, as soon as its number decides a branch behind the loop."""
    b = body.b
    number = b.const(value) if isinstance(value, int) else value
    halves = [number, b.op("lshr", number, 32)]
    for half, offset in zip(halves if body.arch.byteorder == "little" else halves[::-1], (0, 4), strict=True):
        b.store(body.shared_base(), at + offset, 4, half)


def _nodes(instance: Instance) -> Iterator[ast.Node]:
    """Everything that the program runs."""
    return instance.probe.walk()


def _addressed(instance: Instance) -> Iterator[str]:
    """Variables whose address is taken: they need memory too."""
    for node in _nodes(instance):
        if isinstance(node, ast.Unary) and node.op == "&" and isinstance(node.operand, ast.Var):
            yield instance.names[node.operand]


def _common(instance: Instance, found: Sequence[Called]) -> Iterator[str]:
    """Names used in the body of some loop and outside of that body."""
    if not found:
        return
    every = [(node, instance.names[node]) for node in _nodes(instance) if isinstance(node, ast.Var)]
    seen: set[str] = set()
    for loop in found:
        inside = {id(node) for node in loop.body.walk()} | {id(loop.var)}
        within = {name for node, name in every if id(node) in inside}
        outside = {name for node, name in every if id(node) not in inside}
        pair = instance.names[loop.var]
        for name in sorted(within & outside - seen - {pair}):
            seen.add(name)
            yield name


def used_whole(node: ast.ForMap) -> bool:
    """Whether the pair is used other than by `.0` and `.1`."""
    name = node.var.name
    direct = {id(m.base) for m in node.body.walk() if isinstance(m, (ast.Member, ast.Index))}
    return any(isinstance(v, ast.Var) and v.name == name and id(v) not in direct for v in node.body.walk())


def part(body: Body, node: ast.Expr) -> tuple[Pair, int] | None:
    """The pair and the number of its half, if the node is `$kv.0` or `$kv[1]` of a loop."""
    if isinstance(node, ast.Member):
        index = int(node.name) if node.name.isdigit() else -1
    elif isinstance(node, ast.Index):
        key = body.real(node.keys[0])
        index = key.value if isinstance(key, ast.Int) else -1
    else:
        return None
    if not isinstance(node.base, ast.Var):
        return None
    pair = body.pairs.get(body.instance.names[node.base])
    return None if pair is None or index not in (0, 1) else (pair, index)


def locate(body: Body, pair: Pair, index: int) -> Loc | None:
    """Where half of a pair lies; None for a value that is summed up over CPUs."""
    if index and body.map_type(pair.map).aggregation:
        return None
    return Loc("bpf", pair.value if index else pair.key)


def number(body: Body, pair: Pair, index: int, kind: Type) -> Value:
    """Half of a pair that is a number."""
    loc = locate(body, pair, index)
    return maps.merged(body, pair.map, Mem(pair.key)) if loc is None else memory.load(body, loc, kind)


def write_pair(body: Body, name: str, to: Mem) -> None:
    """The whole pair as a tuple."""
    kind = body.instance.variables[name]
    assert isinstance(kind, Tuple)
    body.zero(to, kind.size)
    for index, (element, at) in enumerate(zip(kind.elements, kind.offsets, strict=True)):
        pair = body.pairs[name]
        if is_integral(element):
            body.b.store(to.base, to.offset + at, element.size, number(body, pair, index, element))
        else:
            loc = locate(body, pair, index)
            assert loc is not None
            memory.copy(body, to + at, loc, element.size)
