"""Bundles ⇄ rows of plain values (None, bool, int, str, lists) that point into raw bytes.

Each row is [kind, field, ...], after those that it refers to; the last one is what was written. Nothing in
them is code for Python, and only the kinds of the table below are ever made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

from pbt import bundle as waist
from pbt import record, types
from pbt.data import NamedTuple
from pbt.typing import Any


class Layout(NamedTuple):
    """Where compiled code found a field: `offset` and `size` in bytes of `field` of a `struct`.

    `struct` is spelled as in C, or "tracepoint:category:event" for what a tracepoint recorded.
    """

    struct: str
    field: str
    offset: int
    size: int


class Tool(NamedTuple):
    """What a file holds: the bundle, and the kernel's layouts that its code relies on."""

    bundle: waist.Bundle
    layouts: tuple[Layout, ...] = ()


_Members = "members"  # in place of Struct.load
_KINDS: tuple[tuple[type, tuple[str, ...]], ...] = (
    (types.Void, ()),
    (types.Bool, ()),
    (types.Int, ("size", "signed")),
    (types.Char, ("size", "signed")),
    (types.Enum, ("name", "size", "signed", "values")),
    (types.Pointer, ("target", "space")),
    (types.Array, ("element", "count")),
    (types.Member, ("name", "type", "offset", "bit_offset", "bit_size", "data_loc", "ctype")),
    (types.Struct, ("name", "size", "align", _Members)),
    (types.Function, ("params", "result")),
    (types.Str, ("size",)),
    (types.Buffer, ("capacity",)),
    (types.Tuple, ("elements", "names")),
    (types.Opaque, ("name", "size", "align", "detail")),
    (record.Field, ("name", "type", "offset")),
    (record.Record, ("fields", "size")),
    (waist.Place, ("start", "end")),
    (waist.Reloc, ("insn", "kind", "name", "offset")),
    (waist.Code, ("insns", "relocs", "spans", "functions")),
    (waist.Program, ("name", "provider", "prog_type", "code", "place", "expected_attach_type", "attach_btf",
                     "span", "cookie")),
    (waist.Map, ("name", "map_type", "key_size", "value_size", "max_entries", "flags", "key", "value",
                 "aggregation", "args", "data", "span")),
    (waist.Event, ("action", "record", "text", "args", "span")),
    (waist.Failure, ("helper", "map", "span")),
    (Layout, Layout._fields),
    (waist.Bundle, ("name", "source", "programs", "maps", "events", "arch", "release", "features", "license",
                    "config", "warnings", "failures")),
    (Tool, Tool._fields),
    (types.Natural, ("size", "signed")),
)  # fmt: skip
"""Every class that rows may stand for, with its fields in the order of its constructor."""

DAMAGE = (ValueError, TypeError, LookupError, RecursionError, AssertionError)

_NUMBER = {kind: number for number, (kind, _) in enumerate(_KINDS)}
_PLAIN = frozenset({type(None), bool, int, str})
_TUPLE, _LIST, _DICT, _BYTES, _RECORD, _RUNS = range(6)  # the first item of a list: what it stands for


class Writer:
    """Collects rows and the raw bytes that they point into, each kept once."""

    def __init__(self) -> None:
        self.rows: list[list[Any]] = []
        self.raw = bytearray()
        self._numbers: dict[str, int] = {}
        self._done: dict[tuple[int, bool], int] = {}
        self._blobs: dict[bytes, int] = {}

    def value(self, value: Any, far: bool = False) -> Any:
        """A plain value that stands for it. `far`: behind a pointer, where a struct's name and size are enough."""
        kind = value.__class__
        if kind in _PLAIN:
            return value
        if kind in _NUMBER:
            return [_RECORD, self._record(value, far)]
        if isinstance(value, (bytes, bytearray)):
            return [_BYTES, self._blob(bytes(value)), len(value)]
        if isinstance(value, tuple):
            return [_TUPLE, *[self.value(item, far) for item in value]]
        if isinstance(value, dict):
            return [_DICT, *(part for key in value for part in (str(key), self.value(value[key], far)))]
        if isinstance(value, types.Natural):  # one that never became anything else
            return self.value(types.Natural(value.size, value.signed))
        assert isinstance(value, list), f"a bundle cannot hold {value!r}"
        return [_LIST, *(self.value(item, far) for item in value)]

    def _record(self, value: Any, far: bool) -> int:
        known = (id(value), far)
        number = self._done.get(known)
        if number is None:
            kind = _NUMBER[value.__class__]
            row = [kind, *[self._field(value, name, far) for name in _KINDS[kind][1]]]
            number = self._done[known] = self._numbers.setdefault(repr(row), len(self.rows))
            if number == len(self.rows):
                self.rows.append(row)
        return number

    def _field(self, value: Any, name: str, far: bool) -> Any:
        if far and name in (_Members, "values"):
            return [_TUPLE]
        if name == "spans":
            runs = [(self.value(span), len(list(run))) for span, run in groupby(value.spans)]
            return [_RUNS, *(part for run in runs for part in run)]
        return self.value(getattr(value, name), far or isinstance(value, types.Pointer))

    def _blob(self, data: bytes) -> int:
        if data not in self._blobs:
            self._blobs[data] = len(self.raw)
            self.raw += data
        return self._blobs[data]


class Reader:
    """Makes what rows stand for; `made` has all of it. Rows that make no sense raise one of `DAMAGE`."""

    def __init__(self, raw: bytes) -> None:
        self.made: list[Any] = []
        self._raw = raw

    def record(self, row: list[Any]) -> None:
        kind, names = _KINDS[row[0]]
        fields = [self.value(item) for item in row[1:]]
        if len(fields) != len(names):
            raise ValueError(f"{kind.__name__} with {len(fields)} fields")
        if kind is types.Struct:
            fields[-1] = _always(fields[-1])
        self.made.append(kind(*fields))

    def value(self, item: Any) -> Any:
        if not isinstance(item, list):
            return item
        kind, *rest = item
        if kind == _RECORD:
            return self.made[rest[0]]
        if kind == _BYTES:
            return self._raw[rest[0] : rest[0] + rest[1]]
        if kind == _DICT:
            return {key: self.value(value) for key, value in _pairs(rest)}
        if kind == _RUNS:
            return tuple(span for item, count in _pairs(rest) for span in (self.value(item),) * count)
        values = map(self.value, rest)
        return tuple(values) if kind == _TUPLE else list(values)


def _pairs(items: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    return zip(items[::2], items[1::2], strict=True)


def _always(members: tuple[types.Member, ...]) -> Callable[[], tuple[types.Member, ...]]:
    return lambda: members
