import struct

import pytest

from pbt.bundle import Map
from pbt.feature import Aggregation
from pbt.record import Record
from pbt.registry import collect
from pbt.runtime import maps
from pbt.runtime.maps import LiveMap
from pbt.sys.syscall import Fd
from pbt.types import I64, U32, U64, Str
from pbt.values import Histogram, Stats

NONE = Record((), 4)


class Kernel:
    """What the kernel would hold, for one map."""

    def __init__(self, monkeypatch, *items):
        self.items = dict(items)
        monkeypatch.setattr(maps.bpf, "map_items", lambda fd, key, value: list(self.items.items()))
        monkeypatch.setattr(
            maps.bpf, "map_blocks", lambda *_: tuple(map(b"".join, (self.items, self.items.values())))
        )
        monkeypatch.setattr(maps.bpf, "map_update", lambda fd, key, value: self.items.update({key: value}))
        monkeypatch.setattr(maps.bpf, "map_clear", lambda fd, key, value: self.items.clear())


def live(kind, value_size, key, aggregation="", args=(), value=I64, cpus=2) -> LiveMap:
    map_ = Map(
        "@m", kind, max(4, key.size), value_size, 8, key=key, value=value, aggregation=aggregation, args=args
    )
    record = collect("pbt.builtins", Aggregation)[aggregation] if aggregation else None
    return LiveMap(map_, Fd(-1), record, cpus)


def words(*numbers: int) -> bytes:
    return struct.pack(f"={len(numbers)}q", *numbers)


KEY = Record.of([("comm", Str(4)), ("n", U32)])


def test_a_plain_map_without_keys_knows_whether_it_was_written(monkeypatch):
    kernel = Kernel(monkeypatch, (bytes(4), words(-3, 1)))
    found = live("ARRAY", 16, NONE)
    assert list(found.items()) == [((), -3)] and found.empty() == 0
    found.zero()
    assert list(found.items()) == [((), 0)]
    found.clear()
    assert list(found.items()) == [] and kernel.items == {bytes(4): bytes(16)}


def test_a_plain_map_with_keys(monkeypatch):
    Kernel(monkeypatch, (b"ab\0\0" + b"\5\0\0\0", words(7)))
    found = live("HASH", 8, KEY)
    assert list(found.items()) == [((b"ab", 5), 7)]
    found.zero()
    assert list(found.items()) == [((b"ab", 5), 0)]
    found.clear()
    assert list(found.items()) == []


def test_cells_are_merged_over_the_cpus_that_wrote(monkeypatch):
    Kernel(monkeypatch, (bytes(4), words(10, 2, 1) + words(0, 0, 0)))
    found = live("PERCPU_ARRAY", 24, NONE, "stats")
    assert list(found.items()) == [((), Stats(2, 5, 10))] and found.empty() == Stats(0, 0, 0)
    found.zero()
    assert list(found.items()) == [((), Stats(0, 0, 0))]
    found.clear()
    assert list(found.items()) == []


def test_cells_of_each_key(monkeypatch):
    Kernel(monkeypatch, (b"ab\0\0" + b"\5\0\0\0", words(2) + words(3)))
    assert list(live("PERCPU_HASH", 8, KEY, "count", value=U64).items()) == [((b"ab", 5), 5)]


def test_buckets_of_a_map_without_keys(monkeypatch):
    Kernel(
        monkeypatch,
        *((struct.pack("=I", i), words(*pair)) for i, pair in enumerate([(0, 0), (1, 1), (0, 0)])),
    )
    found = live("PERCPU_ARRAY", 8, NONE, "hist", (0,))
    assert list(found.items()) == [((), Histogram.log2({1: 2}))] and found.empty() == Histogram.log2({})
    found.clear()
    assert list(found.items()) == []


def test_buckets_of_each_key(monkeypatch):
    key = Record.of([("comm", Str(4)), ("bucket", U32)])
    Kernel(
        monkeypatch,
        *(
            (comm + struct.pack("=I", i), words(n, 1))
            for comm, i, n in [(b"a\0\0\0", 1, 1), (b"b\0\0\0", 4, 2), (b"a\0\0\0", 2, 3)]
        ),
    )
    found = live("PERCPU_HASH", 8, key, "lhist", (0, 10, 5))
    assert dict(found.items()) == {
        (b"a",): Histogram.linear({1: 2, 2: 4}, 0, 10, 5),
        (b"b",): Histogram.linear({4: 3}, 0, 10, 5),
    }
    found.zero()
    assert {key: value.total for key, value in found.items()} == {(b"a",): 0, (b"b",): 0}


@pytest.mark.parametrize("name, value", [("count", 0), ("min", 0), ("avg", 0)])
def test_what_nobody_wrote_is_zero(name, value):
    assert live("PERCPU_ARRAY", 24, NONE, name).empty() == value
