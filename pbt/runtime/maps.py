"""Map descriptors → keys and values, merged over CPUs."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from operator import add

from pbt.bundle import Map
from pbt.feature import Aggregation
from pbt.record import Field, Record, reader
from pbt.sys import bpf
from pbt.types import is_signed
from pbt.typing import Any, Literal
from pbt.values import Table

_SET = 8  # bytes of the u64 after the value of a map without keys: whether it was ever written
_ORDER: Literal["little", "big"] = sys.byteorder
Items = Iterator[tuple[tuple[Any, ...], Any]]
Columns = Sequence[Sequence[Any]]


def _round8(size: int) -> int:
    return -(-size // 8) * 8


class LiveMap:
    """A map of a running script, whose owner closes it (see views.MapView): then it cannot be read, EBADF."""

    def __init__(self, map_: Map, file: bpf.Fd, aggregation: Aggregation | None, cpus: int) -> None:
        """`cpus`: how many CPUs a per-CPU map has values for."""
        self.map, self._file, self.aggregation, self._cpus = map_, file, aggregation, cpus
        self.keyed = map_.key is not None and bool(map_.key.fields)
        fields = map_.key.fields if map_.key else ()
        hidden = self.keyed and aggregation is not None and aggregation.bucket is not None
        self.key_types = [field.type for field in (fields[:-1] if hidden else fields)]  # without the bucket
        self.signed = map_.value is not None and is_signed(map_.value)
        self._per_cpu = map_.map_type.startswith(("PERCPU_", "LRU_PERCPU_"))
        self._size = _round8(map_.value_size) * cpus if self._per_cpu else map_.value_size
        cell = aggregation.cell(self.signed) if aggregation else ()
        self._parts = Record.of([(str(i), type_) for i, type_ in enumerate(cell)])
        layout = self._parts.struct
        assert layout is not None, map_
        self._cell = layout

    @property
    def _fd(self) -> int:
        """Asked for each time: the number of a closed descriptor may be another's by now."""
        return self._file.fileno()

    def items(self) -> Items:
        """(key parts, value) of all that is there: unsorted, an aggregation's cells merged.

        A map without keys has the key () once it was written.
        """
        return self.table().items()

    def table(self) -> Table:
        """The same, in columns."""
        if not self.keyed:
            return Table((), self._together(list(self._alone())))
        key = self.map.key
        assert key is not None
        block, values = bpf.map_blocks(self._fd, self.map.key_size, self._size)
        keys: Columns = Record(key.fields, self.map.key_size).columns(block)
        if self.aggregation is None:
            return Table(keys, self._column(values))
        if self.aggregation.bucket is not None:
            keys, merged = self._by_buckets(keys, self._bucket_parts(values))
            return Table(keys, self._together(merged))
        return Table(keys, self._merged(values))

    def empty(self) -> Any:
        """The value of a map without keys that nobody has written."""
        if self.aggregation is not None:
            return self._merge({} if self.aggregation.bucket else ())
        return reader(self.map.value)(bytes(self.map.value.size)) if self.map.value else 0

    def clear(self) -> None:
        """Delete all keys; a map without keys becomes unwritten."""
        if self.keyed:
            bpf.map_clear(self._fd, self.map.key_size, self._size)
        else:
            self._write_zeros(False)

    def zero(self) -> None:
        """Set all values to zero; keys stay."""
        self._write_zeros(True)

    def _raw(self) -> list[tuple[bytes, bytes]]:
        return bpf.map_items(self._fd, self.map.key_size, self._size)

    def _merge(self, cells: Any) -> Any:
        assert self.aggregation is not None
        return self.aggregation.merge(cells, self.map.args, self.signed)

    def _together(self, values: Sequence[Any]) -> Sequence[Any]:
        if self.aggregation is None or self.aggregation.together is None:
            return values
        return self.aggregation.together(values, self.map.args)

    # --- with keys, in columns --------------------------------------------------------------------

    def _column(self, block: bytes) -> Sequence[Any]:
        assert self.map.value is not None
        (column,) = Record((Field("value", self.map.value, 0),), self.map.value_size).columns(block)
        return column

    def _per_cell(self, block: bytes) -> Iterator[Columns]:
        """For each CPU the columns of its cells' fields."""
        cpus = self._cpus if self._per_cpu else 1
        for at in range(0, self._size, self._size // cpus):
            fields = [Field(f.name, f.type, at + f.offset) for f in self._parts.fields]
            yield Record(tuple(fields), self._size).columns(block)

    def _merged(self, block: bytes) -> Sequence[Any]:
        assert self.aggregation is not None
        if self.aggregation.total is None:
            rows = zip(*(zip(*fields, strict=True) for fields in self._per_cell(block)), strict=True)
            return list(map(self._merge, rows))
        sums = _sums(self._per_cell(block), self.signed)
        return sums[0] if self.aggregation.total is int else list(map(self.aggregation.total, *sums))

    def _bucket_parts(self, block: bytes) -> Sequence[Any]:
        """What the cells of all CPUs come to, for each bucket of each key."""
        assert self.aggregation is not None
        part, args = self.aggregation.part, self.map.args
        if part is None:
            return _sums(self._per_cell(block), False)[0]
        rows = zip(*(zip(*fields, strict=True) for fields in self._per_cell(block)), strict=True)
        return [part(cells, args) for cells in rows]

    def _by_buckets(self, keys: Columns, parts: Sequence[Any]) -> tuple[Columns, list[Any]]:
        """Keys without their last part, which is the bucket, each once; and what their buckets come to."""
        *keys, numbers = keys
        names = map(_hashable, keys[0] if len(keys) == 1 else zip(*keys, strict=True))
        found: dict[Any, dict[int, Any]] = {}
        first: list[int] = []  # where each key is for the first time
        for at, (name, bucket, part) in enumerate(zip(names, numbers, parts, strict=True)):
            buckets = found.get(name)
            if buckets is None:
                buckets = found[name] = {}
                first.append(at)
            if part is not None:
                buckets[bucket] = part
        return [[column[at] for at in first] for column in keys], list(map(self._merge, found.values()))

    # --- without keys -----------------------------------------------------------------------------

    def _alone(self) -> Iterator[Any]:
        """The one value, once it was written."""
        if self.aggregation is not None and self.aggregation.bucket is not None:
            parts = [
                (int.from_bytes(key[:4], _ORDER), self._part(data)) for key, data in self._raw() if any(data)
            ]
            if buckets := {bucket: part for bucket, part in parts if part is not None}:
                yield self._merge(buckets)
            return
        for _, data in self._raw():
            cells = [cell for cell in self._cpu_values(data) if self._is_set(cell)]
            if cells and self.aggregation is not None:
                yield self._merge([self._cell.unpack_from(cell) for cell in cells])
            elif cells:
                yield self._column(data)[0]

    def _is_set(self, data: bytes) -> bool:
        return any(data[_round8(self.map.value_size) - _SET : _round8(self.map.value_size)])

    def _cpu_values(self, data: bytes) -> Iterable[bytes]:
        step = len(data) // self._cpus if self._per_cpu else len(data)
        return (data[at : at + step] for at in range(0, len(data), step))

    def _part(self, data: bytes) -> Any:
        """What the cells of all CPUs for one bucket come to."""
        assert self.aggregation is not None
        if self.aggregation.part is None:
            return sum(memoryview(data).cast("Q"))
        return self.aggregation.part(list(self._cell.iter_unpack(data)), self.map.args)

    def _write_zeros(self, keep_set: bool) -> None:
        for key, data in self._raw():
            zeros = bytes(len(data))
            if keep_set and not self.keyed and not (self.aggregation and self.aggregation.bucket):
                zeros = b"".join(bytes(len(value) - _SET) + value[-_SET:] for value in self._cpu_values(data))
            bpf.map_update(self._fd, key, zeros)


def _sums(cpus: Iterable[Columns], signed: bool) -> list[list[int]]:
    """The sums over all CPUs of each field, in 64 bits; only the first field may be signed."""
    totals: list[list[int]] = []
    for fields in cpus:
        totals = (
            [list(map(add, *pair)) for pair in zip(totals, fields, strict=True)]
            if totals
            else [list(column) for column in fields]
        )
    return [_wrapped(column, signed and number == 0) for number, column in enumerate(totals)]


def _wrapped(column: list[int], signed: bool) -> list[int]:
    low = -(1 << 63) if signed else 0
    if not column or (low <= min(column) and max(column) < low + (1 << 64)):
        return column
    return [(number - low) % (1 << 64) + low for number in column]


def _hashable(value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return tuple(map(_hashable, value))
    return tuple(value.items()) if isinstance(value, dict) else value
