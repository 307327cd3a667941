"""Map descriptors → keys and values, merged over CPUs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal

from pbt.bundle import Map
from pbt.feature import Aggregation
from pbt.record import Record, reader
from pbt.sys import bpf
from pbt.types import is_integral, is_signed

_SET = 8  # bytes of the u64 after the value of a map without keys: whether it was ever written
_ORDER: Literal["little", "big"] = sys.byteorder
Items = Iterator[tuple[tuple[Any, ...], Any]]


def _round8(size: int) -> int:
    return -(-size // 8) * 8


class LiveMap:
    """A map of a running script. Its owner keeps the descriptor open (see feature.MapView)."""

    def __init__(self, map_: Map, fd: int, aggregation: Aggregation | None, cpus: int) -> None:
        """`cpus`: how many CPUs a per-CPU map has values for."""
        self.map, self._fd, self.aggregation, self._cpus = map_, fd, aggregation, cpus
        self.keyed = map_.key is not None and bool(map_.key.fields)
        fields = map_.key.fields if map_.key else ()
        hidden = self.keyed and aggregation is not None and aggregation.bucket is not None
        self.key_types = [field.type for field in (fields[:-1] if hidden else fields)]  # without the bucket
        self.signed = map_.value is not None and is_signed(map_.value)
        self._per_cpu = map_.map_type.startswith(("PERCPU_", "LRU_PERCPU_"))
        self._size = _round8(map_.value_size) * cpus if self._per_cpu else map_.value_size
        cell = aggregation.cell(self.signed) if aggregation else ()
        layout = Record.of([(str(i), type_) for i, type_ in enumerate(cell)]).struct
        assert layout is not None, map_
        self._cell = layout

    def items(self) -> Items:
        """(key parts, value) of all that is there: unsorted, an aggregation's cells merged.

        A map without keys has the key () once it was written.
        """
        if self.aggregation is None:
            return self._plain()
        found = self._buckets() if self.aggregation.bucket else self._cells()
        return found if self.aggregation.together is None else self._together(list(found))

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

    def _together(self, items: Sequence[tuple[tuple[Any, ...], Any]]) -> Items:
        assert self.aggregation is not None and self.aggregation.together is not None
        values = self.aggregation.together([value for _, value in items], self.map.args)
        return iter([(key, value) for (key, _), value in zip(items, values, strict=True)])

    def _plain(self) -> Items:
        assert self.map.value is not None
        read, size = reader(self.map.value), self.map.value.size
        if not self.keyed:
            for _, data in self._raw():
                if self._is_set(data):
                    yield (), read(data[:size])
            return
        keys, values = self._columns()
        numbers = Record.of([("value", self.map.value)])
        if is_integral(self.map.value) and numbers.size == self.map.value_size:
            yield from zip(keys, (value for (value,) in numbers.decode_all(values)), strict=True)
        else:
            yield from zip(keys, (read(data[:size]) for data in values), strict=True)

    def _columns(self) -> tuple[list[tuple[Any, ...]], Sequence[bytes]]:
        """All keys, and the values as they lie in memory."""
        assert self.map.key is not None
        pairs = self._raw()
        return self.map.key.decode_all([key for key, _ in pairs]), [data for _, data in pairs]

    def _is_set(self, data: bytes) -> bool:
        return any(data[_round8(self.map.value_size) - _SET : _round8(self.map.value_size)])

    def _cpu_values(self, data: bytes) -> Iterable[bytes]:
        step = len(data) // self._cpus
        return (data[at : at + step] for at in range(0, len(data), step))

    def _cells(self) -> Items:
        if self.keyed:
            unpack = self._unpacker()
            keys, values = self._columns()
            yield from zip(keys, (self._merge(unpack(data)) for data in values), strict=True)
            return
        for _, data in self._raw():
            cells = self._cpu_values(data) if self._per_cpu else [data]
            if found := [self._cell.unpack_from(value) for value in cells if self._is_set(value)]:
                yield (), self._merge(found)

    def _unpacker(self) -> Callable[[bytes], list[tuple[Any, ...]]]:
        """The cells of all CPUs in the value of a keyed map."""
        if self._cell.size == (self._size // self._cpus if self._per_cpu else self._size):
            return lambda data: list(self._cell.iter_unpack(data))
        return lambda data: [
            self._cell.unpack_from(value) for value in (self._cpu_values(data) if self._per_cpu else [data])
        ]

    def _buckets(self) -> Items:
        """Counters (or other parts) by bucket, whose number is the last part of the key or the index in the array."""
        found: dict[tuple[Any, ...], dict[int, Any]] = {}
        names: dict[bytes, tuple[Any, ...]] = {}
        key_record = self.map.key
        start = key_record.fields[-1].offset if key_record and self.keyed else 0
        for key, data in self._raw():
            bucket = int.from_bytes(key[start : start + 4], _ORDER)
            if key_record is None or not self.keyed:
                if any(data) and (part := self._part(data)) is not None:
                    found.setdefault((), {})[bucket] = part
                continue
            parts = names.get(key[:start])
            if parts is None:
                parts = names[key[:start]] = key_record.decode(key)[:-1]
            buckets = found.setdefault(_hashable(parts), {})
            if (part := self._part(data)) is not None:
                buckets[bucket] = part
        shown = {_hashable(parts): parts for parts in names.values()}
        for hashed, buckets in found.items():
            yield shown.get(hashed, ()), self._merge(buckets)

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
                zeros = b"".join(
                    bytes(len(value) - _SET) + value[-_SET:]
                    for value in (self._cpu_values(data) if self._per_cpu else [data])
                )
            bpf.map_update(self._fd, key, zeros)


def _hashable(value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return tuple(map(_hashable, value))
    return tuple(value.items()) if isinstance(value, dict) else value
