"""What the halves of features see of pbt: the checker, the lowering, the session. For annotations alone: not imported
when pbt runs.
"""

from __future__ import annotations

from pbt.typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from pbt.arch import Arch
    from pbt.bundle import Event, Map, Program
    from pbt.feature import Context, Mem
    from pbt.host.target import Target
    from pbt.ir.build import Builder, Number
    from pbt.ir.core import Value
    from pbt.lang import ast
    from pbt.source import Span
    from pbt.types import Struct, Type
    from pbt.typing import Any

# --- the compiler ---


class Checks(Protocol):
    """What `check` may ask of the checker."""

    target: Target
    config: Mapping[str, Any]
    looping: bool  # whether this stands in a loop that is not unrolled

    def known_int(self, node: ast.Expr) -> int | None:
        """The number that the node is while compiling, or None."""

    def literal_int(self, node: ast.Expr, what: str, truths: bool = False) -> int:
        """The same, or a ScriptError that names `what`; true and false only where `truths` are allowed."""

    def literal_str(self, node: ast.Expr, what: str) -> str: ...

    def identifier(self, node: ast.Expr, what: str) -> str: ...

    def identifier_or_none(self, node: ast.Expr) -> str | None: ...

    def whole_map(self, node: ast.Expr) -> str | None:
        """The name of the map that a node names without a key, else None."""

    def has_keys(self, node: ast.Expr) -> bool:
        """Whether the map that `@m` names may have keys: it is not known as a scalar."""

    def map_element(self, node: ast.Expr, args: Sequence[ast.Expr], keyed: bool = False) -> None:
        """Check `@m`, `@m[k]` or `@m, k` and keep it at `node` for `Gen.delete` and `Gen.has_key`."""

    def loses_keys(self, node: ast.Expr) -> None:
        """Note that `@m` or `@m[k]`, which has been checked, makes keys of its map go."""

    def aggregation(self, node: ast.Expr) -> str:
        """What `@m` or `@m[k]` holds if it is an aggregation, by name; "" otherwise."""

    def map_value(self, node: ast.Expr) -> Type:
        """What reading an element of the map that `@m` names gives."""

    def set_variable(self, node: ast.Expr, kind: Type) -> None:
        """Note that a `$variable` gets a value of this type; ScriptError for other nodes."""

    def warn(self, message: str, span: Span, hint: str = "", once: bool = False) -> None:
        """`once`: for the first place alone that gets this message."""

    def type_of(self, node: ast.Expr) -> Type:
        """Check an argument of a `raw_args` builtin like any expression."""

    def whole(self, node: ast.Expr) -> Type:
        """The same for what is printed or kept in a map: `args` stands for a record of all its fields."""

    def span(self, node: ast.Expr) -> Span: ...

    def error(self, message: str, span: Span, hint: str = "") -> Exception:
        """A ScriptError to raise."""

    def option(self, name: str, about: str = "") -> str | None:
        """The text of the script's option `--name`, "" if it stands alone, None if it was not given.

        `about`: what it is for, as the script's own help says it.
        """

    def default(self, name: str, value: bool | int | str) -> bool | int | str:
        """What an option is where it is not given: `value`, if no call said otherwise before."""

    def without_value(self, name: str) -> str | None:
        """The word after an option `--name` that stands alone, "" if none follows; None if no such option does."""

    def become(self, node: ast.Expr, value: bool | int | str | Mapping[str, bool | int | str]) -> Type:
        """Let a node stand for a value known now, or a record of such values; the value's type."""

    def is_known(self, node: ast.Expr) -> bool:
        """Whether a checked node is a number, a truth value or a text that is known while compiling."""

    def parameter(self, node: ast.Expr) -> str | None:
        """The text of a positional parameter ("" if it was not given), None for other nodes."""

    def keep(self, node: ast.Expr, value: Any) -> None:
        """Remember something about a node for `lower`, which finds it with `gen.kept`."""

    def call_of(self, node: ast.Expr) -> tuple[str, Any]:
        """The name of the builtin that a checked node uses, and what it kept; ("", None) for other nodes."""


class Gen(Protocol):
    """What kernel halves may ask of the lowering of one program."""

    b: Builder
    arch: Arch
    target: Target
    probe: Context
    config: Mapping[str, Any]

    # expressions

    def value(self, node: ast.Expr) -> Value:
        """A number-like expression in a register, canonical for its type."""

    def into(self, node: ast.Expr, to: Mem, type_: Type, pad: bool = True) -> None:
        """Evaluate any expression into memory laid out as `type_`; `pad`: zero a string's tail."""

    def type(self, node: ast.Expr) -> Type: ...

    def kept(self, node: ast.Expr) -> Any:
        """What `check` kept for this node, or None."""

    def same_text(self, left: ast.Expr, right: ast.Expr, most: int) -> Value:
        """1 if two strings agree in the first `most` bytes, or up to a NUL in both, else 0."""

    # memory

    def temp(self, size: int, label: str) -> Mem:
        """Uninitialised room: on the stack, or in per-CPU memory when large."""

    def address(self, place: Mem) -> Value:
        """The pointer to a place, for helpers."""

    def rarely(self, size: int) -> AbstractContextManager[tuple[Mem, int]]:
        """For what hardly ever runs: per-CPU memory that belongs to this program alone and keeps its bytes from run
        to run, found only here, and the number of the program among those with such memory. All users of it in a
        program get the same bytes. What is built inside `with` is left out where it cannot be had."""

    def locate(self, node: ast.Expr) -> tuple[str, Mem]:
        """Where the value of an expression that is no number lies: whose memory, and the place there."""

    def tracked(self, node: ast.Expr) -> Mem:
        """A kernel object by an address that the verifier knows by type; its base may be null."""

    def scratch(self, size: int, label: str) -> Mem:
        """Per-CPU memory, whatever the size: places in it may be numbers known only when it runs."""

    def bytes(self, to: Mem, data: bytes) -> None:
        """Write known bytes."""

    def zero(self, to: Mem, size: int) -> None: ...

    def zero_text(self, to: Mem, size: int) -> None:
        """Clear a string before a read that may leave its tail, unless nobody compares the tail."""

    def known_pointer(self, pointer: Value, struct: Struct) -> Value:
        """The number that a pointer is whose type the verifier knows (kind "btf"): memory behind it, at this
        number, is loaded directly where that can be."""

    def argument(self, offset: int, type_: Type) -> Value:
        """A number or pointer at a place of the probe's context."""

    def object(self, offset: int, type_: Type) -> None:
        """End the probe if the pointer at a place of the context is null; from here on it is known not to be."""

    def load(self, address: Value, offset: int, type_: Type) -> Value:
        """A number from the kernel's memory, 0 where there is none."""

    def read(self, to: Mem, size: Number, address: Value, space: str) -> Value:
        """Probe-read bytes from kernel or user memory; the helper's result (0: good)."""

    def read_str(self, to: Mem, size: Number, address: Value, space: str) -> Value:
        """Probe-read NUL-terminated text; the helper's result (its length with the NUL)."""

    def space(self, type_: Type) -> str:
        """Whose memory a pointer (or a number used as one) refers to in this probe."""

    def at_most(self, value: Value, limit: int) -> Value:
        """The value cut to 1..limit in a form that the verifier follows."""

    # the rest of the program

    def loop(self, times: int, room: Mem, turn: Callable[[Mem], Number]) -> None:
        """Run `turn` up to `times` times, until it returns 1 instead of 0.

        It may be a function of its own: all it knows is `room` (from `scratch`), handed to it again.
        """

    def event(
        self, action: str, fields: Sequence[tuple[str, Type]], text: str = "", args: Sequence[Any] = ()
    ) -> AbstractContextManager[Sequence[Mem]]:
        """A record for user space: yields the places of its fields; sent at the end of `with`."""

    def declare(self, map_: Map) -> str:
        """Have an internal map made with the program; the same name twice is one map. Returns the name."""

    def start(self, name: str) -> Value:
        """A number that the session fills in when it starts: "boot_ns", "tai_offset", "unix_offset", "cpid"."""

    def delete(self, node: ast.Expr) -> Value | None:
        """Delete the map element kept at `node`; 1 if it was there. None: only user space can."""

    def has_key(self, node: ast.Expr) -> Value: ...

    def find(self, node: ast.Expr, variable: ast.Expr) -> Value:
        """1 if the element kept at `node` is there: its value is then in the variable. Else 0."""

    def key(self, node: ast.Expr) -> Sequence[tuple[ast.Expr, Type]]:
        """The parts of the key kept at `node`, with the types that the map has for them."""

    def count(self, name: str) -> Value:
        """How many elements a map with keys has."""

    def leave(self) -> None:
        """End the probe here."""

    def final(self) -> None:
        """Have programs with a `final` builtin do nothing from now on."""

    def require(self, wanted: Value) -> None:
        """End the probe here when the value is 0."""

    def watch(self, helper: str, result: Value) -> None:
        """With -k, count a negative result of a helper as a failure here, for the user to be warned of."""

    def lost(self, helper: str, result: Number, map_name: str) -> None:
        """Count that a map had no room for what came, for the user to be warned of. `result`: the helper's."""

    def has(self, feature: str) -> bool: ...


# --- the session ---


class Closeable(Protocol):
    def close(self) -> None: ...


class AttachHost(Protocol):
    """What a provider's `attach` may ask of the session."""

    pid: int | None  # -p, or the child of -c: only its events
    target: Target
    cpus: Sequence[int]  # online CPUs

    def say(self, text: str) -> None:
        """A line for the user, unless only the script's output is wanted."""


class World(Protocol):
    """What user halves may ask of the session that runs the script."""

    config: Mapping[str, Any]
    kept: dict[str, Any]  # what user halves keep until the script ends, each under a name of its own

    @property
    def now_offset(self) -> int:
        """ns to add to the boot clock to get Unix time."""

    @property
    def tai_offset(self) -> int:
        """ns to add to the TAI clock to get Unix time."""

    def emit(self, kind: str, text: bytes, data: Any) -> None:
        """Send one message out: bytes for text mode, `kind` and JSON-able data for JSON mode."""

    def text(self, type_: Type, value: Any) -> bytes:
        """How a decoded value prints."""

    def json(self, type_: Type, value: Any) -> Any:
        """A decoded value as JSON-able data."""

    def format(self, event: Event, values: Sequence[Any]) -> bytes:
        """`event.text` as a printf format over the event's values (from the third field on)."""

    def exit(self, code: int) -> None: ...

    def kernel_symbol(self, address: int, offset: bool = False) -> str: ...

    def kernel_frames(self, addresses: Sequence[int]) -> list[str]:
        """`kernel_symbol` with its offset for each address."""

    def user_symbol(self, address: int, pid: int, offset: bool = False) -> str: ...

    def user_frames(self, address: int, pid: int, returning: bool, lines: bool) -> Sequence[tuple[str, bool]]:
        """(text, whether it is inlined) of each function that runs at an address of a process, the innermost
        first; source lines with `lines` and config show_debug_info. `returning`: a call returns to the address."""

    def remember(self, pid: int) -> None:
        """Keep what names the addresses of a process, which may end before they are printed."""

    def stack(self, map_name: str, raw: bytes) -> tuple[int, bytes]:
        """By its id (see builtins/stackmaps.py): the process that a stack belongs to, and its frames as the kernel
        keeps them, innermost first; b"" when it is not there."""

    def kernel_module(self, address: int) -> str:
        """The kernel module that an address belongs to, "" for the kernel itself."""

    def user_module(self, address: int, pid: int) -> str:
        """The file that an address of a process belongs to, "" where it is unknown."""

    def report(self, kind: str, event: Event, text: bytes) -> None:
        """Tell the user, apart from the output, with the place of the call: kind "errorf" or "warnf"."""

    def warn(self, message: str, where: str = "") -> None:
        """Tell the user, unless warnings are off; `where` as "script:1:2: "."""

    def flush(self) -> None:
        """Write out what was emitted so far, before something else writes to the same place."""

    def detach(self, wanted: Callable[[Program], bool]) -> None:
        """Detach the programs for which `wanted` says so."""

    def map(self, name: str) -> MapView: ...

    def print_element(self, name: str, key: tuple[Any, ...]) -> None:
        """Send one element of a map as it is now; nothing if it is not there."""

    def print_map(self, name: str, top: int = 0, div: int = 0) -> None: ...


class MapView(Protocol):
    """A map of the script, read from user space."""

    map: Map

    def items(self) -> Iterator[tuple[tuple[Any, ...], Any]]:
        """(key parts, value): aggregated over CPUs, unsorted."""

    def clear(self) -> None: ...

    def zero(self) -> None: ...
