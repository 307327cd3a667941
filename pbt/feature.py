"""The records that features fill in: builtins, aggregations, presentations, providers.

A record joins what the compiler must know (types, kernel half) and what the reader must know
(user-space half). Kernel halves see only `Gen`, which carries the IR `Builder`; user halves see
only `World` (both in views.py). Neither sees a register, a stage or another record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from pbt.data import NamedTuple, dataclass, field
from pbt.registry import collect
from pbt.source import UsageError
from pbt.types import U64
from pbt.typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pbt.bundle import Event, Program
    from pbt.host.target import Target
    from pbt.ir.core import Value
    from pbt.lang import ast
    from pbt.source import Span
    from pbt.sys.syscall import Fd
    from pbt.types import Struct, Type
    from pbt.views import AttachHost, Checks, Closeable, Gen, World


class Mem(NamedTuple):
    """A place in memory that the program may touch directly: `offset` bytes after `base`."""

    base: Value
    offset: int = 0

    def __add__(self, offset: object) -> Mem:
        assert isinstance(offset, int)
        return Mem(self.base, self.offset + offset)


# --- what a probe offers ---------------------------------------------------------------------


@dataclass(frozen=True)
class Context:
    """What programs at one attach point can see; a provider's `describe` makes it.

    `args`: fields that `args.x` reads, at their offsets in the context; `arg(gen, n)`: the n-th
    argument in 8 bytes, of the type `arg_type`; `retval`: its type, and how it is read; `func`: the address
    of the probed function; `user`: whether plain pointers point into the user process; `regs`: whether the
    context starts with a `struct pt_regs`; `result`: what the program returns; `anyone`: the probe is
    tied to no process, so `-p` does not filter it; `ctx`: the struct that the context is, where it has a
    type; `enter`: code that runs first, and the body only if its value is not 0; `detail`: what these
    functions need to know of the place, as values that compare; `lacks`: builtins that scripts expect of the
    probe type and that this place has not, each with the reason; `answers`: the
    program's result is what the script says with `return value`; `sequence`: where the program's text goes
    into a file of the kernel's that others read, its address (`struct seq_file *`): nothing is sent to us;
    `labels`: of all places that share the program, where it has to know them: its attach cookie is the position of
    the one it is at; `again`: the program may run more than once after it has called exit().
    """

    provider: str
    label: str
    prog_type: str
    expected_attach_type: str = ""
    attach_btf: tuple[str, str] | None = None
    args: Struct | None = None
    arg: Callable[[Gen, int], Value] | None = None
    arg_type: Type = U64
    retval: Type | None = None
    read_retval: Callable[[Gen], Value] | None = None
    func: Callable[[Gen], Value] | None = None
    user: bool = False
    regs: bool = False
    result: int = 0
    anyone: bool = False
    ctx: Struct | None = None
    enter: Callable[[Gen], Value] | None = None
    detail: tuple[Any, ...] = ()
    lacks: tuple[tuple[str, str], ...] = ()
    answers: bool = False
    sequence: Callable[[Gen], Value] | None = None
    labels: tuple[str, ...] = ()
    again: bool = True


Place = Mapping[str, Any]
"""A provider's own description of one attach point: plain JSON values."""


class PlaceError(UsageError):
    """Why `expand` cannot tell what an attach point means: said of the place in the script."""


class Substitute(NamedTuple):
    """A place of another provider that stands in for one that this kernel cannot attach.

    `context` offers what programs at the original place expect; `said` names the substitute for the user,
    `differs` what is not the same, if anything. Substitutes with equal `event` fire at the same moments.
    """

    provider: str
    place: Place
    context: Context
    said: str
    differs: str = ""
    event: Any = None


class Joint(NamedTuple):
    """How the program of a place can be one with that of another provider, `other`, at the same place.

    `context(places, context, used, target)`: what either half sees then, None if these places cannot have such a
    program; `used`: names of the builtins in its body. `kfunc`: the kernel's function that tells of a context
    whether it is the turn of the other provider's half.
    """

    other: str
    kfunc: str
    context: Callable[[Sequence[Place], Context, frozenset[str], Target], Context | None]


@dataclass(frozen=True)
class Provider:
    """A probe type. `probe` below means the text of an attach point without its provider.

    parse(parts, span): the colon-separated parts, unquoted → a place; ScriptError if malformed.
    expand(place, target): wildcards → the places that exist, sorted; [] if none.
    label(place): the full name that the builtin `probe` prints.
    describe(place, target): what programs there can see.
    attach(host, fd, program): link the loaded program; returns what must be closed, in order.
    attach_many(host, fd, programs): the same for places that share one loaded program, with as few links
    as can be; returns them and how many places are attached. Those of a joint program have both providers' places.
    of_process(place, pid): the place as process `-p` means it: its files as it sees them.
    typed(place, context, target): the context with typed arguments, where finding them out costs too much to
    do for every place: asked for one place at a time, and only if its program uses a builtin that is `typed`.
    find_type(places, name): a type of C that the files of these places define; None if they do not.
    unsafe(place): whether the place asks for --unsafe.
    absent(place, target): of a place that is not there: the reason, and a hint; None for the usual words.
    instead(place, target): what stands in for a place where this kernel has no such probes; () for nothing.
    list(parts, target): lines for `-l`, sorted, each once, without the provider's name and colon.
    fields(place, target): lines for `-lv` ("type name"), e.g. a tracepoint's arguments.
    `feature`: what the kernel must have for such probes, if that is not sure (a name of pbt/uapi/features.py).
    `files`: which places there are depends on files beside the kernel's own.
    `joint`: the provider whose programs may be one with those of this one.
    `auto`: the program is not attached but run by the session itself (BEGIN, END, self). `mode`: the same,
    but only in sessions of this mode, where nothing is attached (test, bench).
    """

    name: str
    doc: str
    parse: Callable[[Sequence[str], Span], Place]
    expand: Callable[[Place, Target], Sequence[Place]]
    label: Callable[[Place], str]
    describe: Callable[[Place, Target], Context]
    attach: Callable[[AttachHost, int, Program], Sequence[Closeable]]
    list: Callable[[Sequence[str], Target], Sequence[str]]
    fields: Callable[[Place, Target], Iterable[str]] = lambda place, target: ()
    aliases: tuple[str, ...] = ()
    auto: bool = False
    mode: str = ""
    feature: str = ""
    files: bool = False
    reverse: bool = False  # attach the last probe first, so that same-event probes fire in source order
    listed: bool = True  # part of `-l` without a pattern
    cookies: str = ""  # the feature with which `attach` gives the program the cookie that it is to see
    attach_many: Callable[[AttachHost, int, Sequence[Program]], tuple[Sequence[Closeable], int]] | None = None
    of_process: Callable[[Place, int], Place] = lambda place, pid: place
    typed: Callable[[Place, Context, Target], Context] | None = None
    find_type: Callable[[Sequence[Place], str], Type | None] | None = None
    unsafe: Callable[[Place], bool] = lambda place: False
    absent: Callable[[Place, Target], tuple[str, str] | None] = lambda place, target: None
    instead: Callable[[Place, Target], Sequence[Substitute]] = lambda place, target: ()
    joint: Joint | None = None


def providers() -> Mapping[str, Provider]:
    """By name and alias."""
    return collect("pbt.probes", Provider, aliases=True)


def find_provider(name: str) -> Provider | None:
    """By full name in any case, or by alias as written."""
    known, lowered = providers(), name.lower()
    if name in known:
        return known[name]
    return next(
        (p for p in known.values() if lowered == p.name.lower() or (len(name) > 2 and lowered in p.aliases)),
        None,
    )


class Iteration:
    """What `attach` returns for programs that run only while they are read: the session does that."""

    def read(self) -> bool:
        """Run the program for some more objects; False when there are none left."""
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


class Lingering(NamedTuple):
    """What `attach` returns where the program is soon detached, and its event takes the kernel long to end.

    Once `link` is closed the program is not begun any more. Many events are best ended by `perf.let_go`.
    """

    link: Fd
    event: Fd

    def close(self) -> None:
        self.link.close()
        self.event.close()


# --- builtins ---------------------------------------------------------------------------------


class Call:
    """A use of a builtin, as `check` and `lower` see it."""

    __slots__ = ("args", "name", "node", "probe", "span", "types")

    def __init__(
        self,
        name: str,
        args: Sequence[ast.Expr],
        types: Sequence[Type],
        node: ast.Expr,
        span: Span,
        probe: Context,
    ) -> None:
        self.name, self.args, self.types, self.node, self.span, self.probe = (
            name,
            args,
            types,
            node,
            span,
            probe,
        )


@dataclass(frozen=True)
class Builtin:
    """A builtin variable or function.

    `signature` is what help and arity errors show: "(ptr [, len]) -> string"; optional arguments in
    brackets, "..." for any number. `variable`: usable without parentheses. Exactly one kernel half:
    `value` returns a register, `into` writes memory of the type that `check` returned, `effect`
    does something and returns nothing.
    `act` is the user half of the records that the kernel half emits with `Gen.event`.
    """

    name: str
    signature: str
    doc: str
    check: Callable[[Checks, Call], Type]
    value: Callable[[Gen, Call], Value] | None = None
    into: Callable[[Gen, Call, Mem], None] | None = None
    effect: Callable[[Gen, Call], None] | None = None
    act: Callable[[World, Event, Sequence[Any]], None] | None = None
    variable: bool = False
    unsafe: bool = False
    aliases: tuple[str, ...] = ()
    final: bool = False  # a program that has called it does nothing when it runs again
    acts: bool = False  # it does something besides its value, which nobody has to take
    removed: str = ""  # what to use instead, for builtins that are gone
    raw_args: bool = False  # arguments are not expressions to be checked (map names, types): check does it
    words: tuple[str, ...] = ()  # bare names that are arguments here and mean nothing elsewhere
    per_place: bool = False  # depends on the attach point's own name: no sharing of programs
    by_cookie: bool = False  # unless the attach cookie can tell the place (see `Context.labels`)
    typed: bool = False  # needs what `Provider.typed` finds out of a place: no sharing there either
    files: bool = False  # depends on files, or on what is in the kernel now: compiled anew each time
    reads: tuple[tuple[str, str], ...] = ()  # (struct of the kernel, member) that it reads itself


class Sample(NamedTuple):
    """One call of a map function, as its kernel half sees it.

    `value`: the first argument, None for count(); `args`: the literals after it; `signed`: whether the
    values of the map are signed.
    """

    value: Value | None
    args: Sequence[int] = ()
    signed: bool = False

    @property
    def number(self) -> Value:
        assert self.value is not None
        return self.value


@dataclass(frozen=True)
class Aggregation:
    """A map function such as count(): how a cell is updated, merged and drawn.

    `cell` gives the field types of one CPU's cell. `update(gen, cell, sample)` runs in the kernel on a
    zeroed or live cell. `merge(cells, args, signed)` makes one value from all CPUs' cells.
    With `bucket`, which comes first and gives a number less than `buckets(args)`, there is a cell for
    each bucket, and the map's key gets one more part, that number; `merge` gets {bucket: what `part`
    makes of its cells of all CPUs}, where cells of one u64 are counters that add up without `part`.
    Where cells add up, `total` makes the value from the sums of their fields over all CPUs (`int`: it is the
    only one's sum). `order` gives the number that maps are printed by; `together` is applied to the values of
    a whole map.
    Literals in `choices` are words; the argument is then the number of the word, from 1 on.
    Where a map can be read in expressions, `fold(gen, sum, cell, signed)` adds one CPU's cell to a cell
    that began as zeros, and `result` is the number it comes to.
    """

    name: str
    signature: str
    doc: str
    cell: Callable[[bool], Sequence[Type]]  # signed → field types
    update: Callable[[Gen, Mem, Sample], None]
    merge: Callable[[Any, Sequence[int], bool], Any]
    order: Callable[[Any], Any]
    json: str = "map"  # the type of its maps' JSON messages
    literals: tuple[str, ...] = ()  # names of the literal arguments after the value
    optional: int = 0  # how many of the literals may be missing (then 0)
    choices: Mapping[str, Sequence[str]] = field(default_factory=dict)
    takes_value: bool = True
    bucket: Callable[[Gen, Sample], Value] | None = None
    buckets: Callable[[Sequence[int]], int] = lambda args: 0
    part: Callable[[Sequence[tuple[Any, ...]], Sequence[int]], Any] | None = None
    total: Callable[..., Any] | None = None
    together: Callable[[Sequence[Any], Sequence[int]], Sequence[Any]] | None = None
    check: Callable[[Checks, Call, Sequence[int]], None] = lambda checks, call, literals: None
    aliases: tuple[str, ...] = ()
    fold: Callable[[Gen, Mem, Mem, bool], None] | None = None
    result: Callable[[Gen, Mem, bool], Value] | None = None
    divide: Callable[[Any, int], Any] = lambda value, div: value  # print(@m, top, div)


# --- drawing ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Presentation:
    """How user space draws the values of an `Opaque` type: raw bytes → text and JSON-able data.

    `json` None: the text. `key`: as the name of a JSON member, if that is neither. `spelled`: what scripts
    call the type, "" if they cannot; `size`: of its values. `numbers`: (text, detail) → the values, which are
    int64, that are drawn so: scripts may compare them with literal texts.
    """

    name: str
    text: Callable[[World, bytes, str], bytes]  # (world, raw, detail)
    json: Callable[[World, bytes, str], Any] = field(default=lambda world, raw, detail: None)
    key: Callable[[World, bytes, str], bytes] | None = None
    spelled: str = ""
    size: int = 8
    numbers: Callable[[str, str], Sequence[int]] | None = None

    @property
    def aliases(self) -> tuple[str, ...]:
        return (self.spelled,) if self.spelled else ()
