"""What user halves of features may ask: drawing, symbols, maps, messages (see views.World)."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property

from pbt.bundle import Bundle, Event, Program
from pbt.feature import Aggregation, Builtin, Presentation
from pbt.output import text as drawn
from pbt.printf import Draw, Format
from pbt.registry import collect
from pbt.runtime.maps import LiveMap
from pbt.source import Source, Span, UsageError
from pbt.sys import bpf
from pbt.types import Opaque, Type, parts
from pbt.typing import TYPE_CHECKING, Any
from pbt.values import Histogram, Table, jsonable

if TYPE_CHECKING:
    from pbt.host.target import Target
    from pbt.output.convert import Convert
    from pbt.output.sink import Sink
    from pbt.runtime.load import Loaded
    from pbt.runtime.stacks import Stacks
    from pbt.runtime.symbols import Symbols

BUILTINS = "pbt.builtins"
OF_USERS = ("ustack", "usym")  # opaque values that are drawn with a process's symbols


def _to_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class World:
    """The running script, as its builtins see it. Owns nothing."""

    def __init__(
        self,
        bundle: Bundle,
        loaded: Loaded,
        target: Target,
        sink: Sink,
        warn: Callable[[str, str], None],
        escape: bool = False,
        notify: Callable[[str], None] = _to_stderr,
    ) -> None:
        """`escape`: show control characters in strings of the traced system as \\xNN (see drawn.Style).

        `warn` gets warnings, which may be off, and where they belong in the script; `notify` all other lines
        for the user.
        """
        self.config: Mapping[str, Any] = bundle.config
        self.kept: dict[str, Any] = {}
        self.exiting, self.exit_code = False, 0
        self.at_hand: tuple[Event, Sequence[Any]] | None = None
        self._warn, self._notify = warn, notify
        self.detach: Callable[[Callable[[Program], bool]], None] = lambda wanted: (
            None
        )  # the session's, once it can
        self._bundle, self._loaded, self._target, self.sink = bundle, loaded, target, sink
        limit, trailer = self.config.get("max_strlen", 0), self.config.get("str_trunc_trailer", "..")
        self.style = drawn.Style(
            int(limit), str(trailer).encode(errors="surrogateescape"), escape, self._draw_opaque
        )
        self._json_style = self.style._replace(escape=False, opaque=self._json_text)
        self._drawers: dict[Type, Draw] = {}
        self._stacks: dict[str, Stacks] = {}
        self._formats: dict[int, Callable[[Sequence[Any]], bytes]] = {}
        self._maps: dict[str, LiveMap] = {}

    @cached_property
    def now_offset(self) -> int:
        return time.time_ns() - boot_ns(self._target)

    @cached_property
    def tai_offset(self) -> int:
        return time.time_ns() - time.clock_gettime_ns(time.CLOCK_TAI)

    # messages

    def emit(self, kind: str, text: bytes, data: Any) -> None:
        self.sink.emit(kind, text, data)

    def flush(self) -> None:
        self.sink.flush()

    def report(self, kind: str, event: Event, text: bytes) -> None:
        source = Source(self._bundle.name, self._bundle.source)
        line, column, _ = Span(source, max(event.span.start, 0), max(event.span.end, 0)).locate()
        message = text.decode(errors="replace").removesuffix("\n")
        if self.sink.messages != "text":
            place = {
                "msg": text.decode(errors="replace"),
                "filename": source.name,
                "line": line,
                "col": column,
            }
            self.sink.emit(kind, text, None if self.sink.messages == "json" else message, **place)
        elif kind == "warnf":
            self.warn(message, f"{source.name}:{line}:{column}: ")
        else:
            self._notify(f"{source.name}:{line}:{column}: ERROR: {message}")

    def warn(self, message: str, where: str = "") -> None:
        self._warn(message, where)

    def exit(self, code: int) -> None:
        self.exiting, self.exit_code = True, code & 0xFF

    def act(self, event: Event, values: Sequence[Any]) -> None:
        """Do what a record asks for."""
        act = self._builtins[event.action].act
        assert act is not None, event.action
        self.at_hand = event, values
        act(self, event, values)

    @cached_property
    def _builtins(self) -> Mapping[str, Builtin]:
        return collect(BUILTINS, Builtin)

    # drawing

    def drawer(self, type_: Type) -> Draw:
        """How values of a type print."""
        if type_ not in self._drawers:
            self._drawers[type_] = drawn.drawer(type_, self.style)
        return self._drawers[type_]

    def text(self, type_: Type, value: Any) -> bytes:
        return self.drawer(type_)(value)

    def json(self, type_: Type, value: Any) -> Any:
        """A decoded value as JSON-able data; None where nobody wants it."""
        if self.sink.messages == "text":
            return None
        return self._to_json(type_)(value)

    def native(self, type_: Type, value: Any) -> Any:
        """A decoded value as a Python program expects it."""
        from pbt.output import native

        return native.converter(type_, self._native_opaque)(value)

    def arguments(self) -> tuple[Any, ...]:
        """The arguments of the record at hand, as Python values."""
        if self.at_hand is None:
            return ()
        event, values = self.at_hand
        fields = event.record.fields[2:]
        return tuple(self.native(field.type, value) for field, value in zip(fields, values, strict=True))

    def format(self, event: Event, values: Sequence[Any]) -> bytes:
        found = self._formats.get(id(event))
        if found is None:
            found = self._formats[id(event)] = self._formatter(event)
        return found(values)

    def _formatter(self, event: Event) -> Callable[[Sequence[Any]], bytes]:
        form, types = Format.parse(event.text), [field.type for field in event.record.fields[2:]]
        drawers = [self.drawer(type_) for type_ in types]
        prepare = [change or _same for change in form.bind(types, drawers)]
        template = form.template
        return lambda values: template % tuple(p(v) for p, v in zip(prepare, values, strict=True))

    @cached_property
    def _presentations(self) -> Mapping[str, Presentation]:
        return collect(BUILTINS, Presentation)

    def _draw_opaque(self, type_: Opaque, raw: bytes) -> bytes:
        return self._presentations[type_.name].text(self, raw, type_.detail)

    def _json_opaque(self, type_: Opaque, raw: bytes) -> Any:
        data = self._presentations[type_.name].json(self, raw, type_.detail)
        return self._draw_opaque(type_, raw) if data is None else data

    def _json_text(self, type_: Opaque, raw: bytes) -> bytes:
        """An opaque value as (part of) the name of a JSON member."""
        key = self._presentations[type_.name].key
        if key is not None:
            return key(self, raw, type_.detail)
        data = self._json_opaque(type_, raw)
        return data if isinstance(data, bytes) else str(data).encode(errors="surrogateescape")

    def _native_opaque(self, type_: Opaque, raw: bytes) -> Any:
        return self._draw_opaque(type_, raw).decode(errors="replace")

    # the machine

    @cached_property
    def _symbols(self) -> Symbols:
        from pbt.runtime.symbols import Symbols

        return Symbols(self._target.kallsyms, self.config)

    def close(self) -> None:
        """Free what naming addresses took of the kernel."""
        if "_symbols" in self.__dict__:
            self._target.kallsyms.close()

    def remember(self, pid: int) -> None:
        """Keep what names the addresses of a process that may be gone when they are drawn, if any are."""
        if self.names_users:
            self._symbols.remember(pid)

    @cached_property
    def names_users(self) -> bool:
        """Whether the script has values that are drawn with the symbols of a process."""
        records = [event.record for event in self._bundle.events]
        records += [map_.key for map_ in self._bundle.maps if map_.key is not None]
        found = [field.type for record in records for field in record.fields]
        found += [map_.value for map_ in self._bundle.maps if map_.value is not None]
        return any(
            isinstance(part, Opaque) and part.name in OF_USERS for each in found for part in parts(each)
        )

    def kernel_symbol(self, address: int, offset: bool = False) -> str:
        return self._symbols.kernel(address, offset)

    def kernel_frames(self, addresses: Sequence[int]) -> list[str]:
        return self._symbols.kernel_frames(addresses)

    def user_symbol(self, address: int, pid: int, offset: bool = False) -> str:
        return self._symbols.user(address, pid, offset)

    def user_frames(self, address: int, pid: int, returning: bool, lines: bool) -> Sequence[tuple[str, bool]]:
        try:
            return self._symbols.user_frames(address, pid, returning, lines)
        except UsageError as error:
            damaged = self.kept.setdefault("damaged", set())
            if error.message not in damaged:
                damaged.add(error.message)
                self.warn(error.message)
            return self._symbols.user_frames(address, pid, returning, lines)

    def stack(self, map_name: str, raw: bytes) -> tuple[int, bytes]:
        if map_name not in self._stacks:
            from pbt.runtime.stacks import Stacks

            self._stacks[map_name] = Stacks(self._bundle, self._loaded, map_name)
        return self._stacks[map_name].find(raw)

    def kernel_module(self, address: int) -> str:
        return self._symbols.kernel_module(address)

    def user_module(self, address: int, pid: int) -> str:
        return self._symbols.user_module(address, pid)

    # maps

    def map(self, name: str) -> LiveMap:
        if name not in self._maps:
            map_ = self._bundle.map(name)
            aggregation = collect(BUILTINS, Aggregation)[map_.aggregation] if map_.aggregation else None
            self._maps[name] = LiveMap(map_, self._loaded.maps[name], aggregation, len(bpf.possible_cpus()))
        return self._maps[name]

    def names(self) -> Iterator[str]:
        """The script's own maps, in name order."""
        return iter(sorted(map_.name for map_ in self._bundle.maps if map_.name.startswith("@")))

    def print_map(self, name: str, top: int = 0, div: int = 0) -> None:
        """Send a map as it is now; one without keys that was never written counts as zero."""
        live = self.map(name)
        table = _shown(live, empty=True)
        if table.values:
            self._send_map(live, table, top, div)

    def print_element(self, name: str, key: tuple[Any, ...]) -> None:
        live = self.map(name)
        if len(key) == 1 and isinstance(key[0], tuple):  # one tuple is all parts of the key
            key = key[0]
        assert live.aggregation is not None
        absent = None if live.aggregation.bucket else live.empty()  # a histogram without a count is not shown
        value = next((value for found, value in live.items() if found == key), absent)
        if value is not None:
            self.sink.emit(live.aggregation.json, drawn.element(value), jsonable(value))

    def print_all(self) -> None:
        """Send every map that has something to show, in name order; as text, after two empty lines."""
        gap = b"\n\n"
        for name in self.names():
            live = self.map(name)
            table = _shown(live)
            if table.values:
                if self.sink.messages == "text":
                    self.sink.write(gap)
                gap = b""
                self._send_map(live, table)

    def _send_map(self, live: LiveMap, table: Table, top: int = 0, div: int = 0) -> None:
        from pbt.output import table as tables  # late: many scripts print no map

        if div > 1:
            table = table._replace(values=[_divide(live, value, div) for value in table.values])
        ordered = tables.arrange(table, _rank(live), top)
        name, types, wanted = live.map.name, live.key_types, self.sink.messages
        shown, data = b"", None
        if wanted != "json":
            draw = None if live.aggregation else self.drawer(_value_type(live))
            style = self.style if wanted == "text" else self._json_style
            shown = tables.text(name, ordered, types, draw, style)
        if wanted != "text":
            convert = _same if live.aggregation else self._to_json(_value_type(live))
            data = tables.json(name, ordered, types, convert, self._json_style, wanted == "both")
        self.at_hand = None
        self.sink.emit(live.aggregation.json if live.aggregation else "map", shown, data)

    def _to_json(self, type_: Type) -> Convert:
        from pbt.output.json import converter

        return converter(type_, self._json_opaque)


def _shown(live: LiveMap, empty: bool = False) -> Table:
    """What there is to print of a map: a histogram without a count has no rows. `empty`: one without keys that
    was never written counts as zero."""
    table = live.table()
    if empty and not table.values and not live.keyed:
        table = Table((), [live.empty()])
    if live.aggregation is None or live.aggregation.bucket is None:
        return table
    hidden = [isinstance(value, Histogram) and not value.buckets for value in table.values]
    return table.at([at for at, out in enumerate(hidden) if not out]) if any(hidden) else table


def boot_ns(target: Target) -> int:
    """The clock that `nsecs` reads; before v5.8 programs had only the monotonic one."""
    return time.clock_gettime_ns(
        time.CLOCK_BOOTTIME if target.has("ktime_get_boot_ns") else time.CLOCK_MONOTONIC
    )


def _same(value: Any) -> Any:
    return value


def _value_type(live: LiveMap) -> Type:
    assert live.map.value is not None, live.map
    return live.map.value


def _rank(live: LiveMap) -> Callable[[Any], Any] | None:
    """By what the entries are sorted; None: by key."""
    if live.aggregation is not None:
        return live.aggregation.order
    return _same if drawn.by_value(_value_type(live)) else None


def _divide(live: LiveMap, value: Any, div: int) -> Any:
    if live.aggregation is not None:
        return live.aggregation.divide(value, div)
    if type(value) is not int:
        return value
    return value // div if value >= 0 else -(-value // div)


class Maps(Mapping[str, Any]):
    """The script's maps as Python values, read when asked for: a dict for a map with keys, else its value.

    A key of several parts is a tuple. Unwritten maps without keys are None.
    """

    def __init__(self, world: World) -> None:
        self._world = world

    def __repr__(self) -> str:
        return repr(dict(self))

    def __getitem__(self, name: str) -> Any:
        if name not in set(self._world.names()):
            raise KeyError(name)
        live = self._world.map(name)
        values = {self._key(live, key): self._value(live, value) for key, value in live.items()}
        return values if live.keyed else values.get(())

    def __iter__(self) -> Iterator[str]:
        return self._world.names()

    def __len__(self) -> int:
        return len(list(self._world.names()))

    def _key(self, live: LiveMap, key: tuple[Any, ...]) -> Any:
        rows = zip(live.key_types, key, strict=True)
        parts = tuple(_frozen(self._world.native(type_, part)) for type_, part in rows)
        return parts[0] if len(parts) == 1 else parts

    def _value(self, live: LiveMap, value: Any) -> Any:
        return value if live.aggregation else self._world.native(_value_type(live), value)


def _frozen(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(map(_frozen, value))
    return tuple((name, _frozen(item)) for name, item in value.items()) if isinstance(value, dict) else value
