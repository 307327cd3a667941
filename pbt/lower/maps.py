"""Maps: how they are laid out, read, written and counted up.

A plain map without keys is an array of one element that programs reach without a lookup; behind its
value (padded to 8 bytes) stands a u64 that says whether it was ever written. With keys it is a hash;
where no key ever goes, an element that was found stays that key's, so numbers are written right into it.
An aggregation's cells are per CPU: an array of one (cell, u64 written), a hash, or, for
histograms, one u64 counter for each bucket, whose number is the last part of the key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from pbt.bundle import Map, Place
from pbt.feature import Aggregation, Mem, Sample
from pbt.ir.core import Value
from pbt.lang import ast
from pbt.lang.typed import MapType, aggregations
from pbt.lower import expr, failures, memory
from pbt.lower.memory import MOST_ZEROS, ZEROS, Loc
from pbt.record import Record
from pbt.types import I64, U32, U64, Tuple, Type, is_integral, is_signed
from pbt.typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pbt.lower.body import Body

BUCKET = "bucket"
_NOEXIST = 1  # BPF_NOEXIST


def declaration(known: MapType, config: Mapping[str, Any], span: Place) -> Map:
    """The BPF map for what the checker found out."""
    record = aggregations().get(known.aggregation)
    key = key_record(known)
    keyed = bool(known.key)
    entries = int(config["max_map_keys"]) if keyed else 1
    if known.entries:
        entries = known.entries
    if record is None:
        assert known.value is not None
        size = round8(known.value.size)
        kind, size = (known.kind or "HASH", size) if keyed else ("ARRAY", size + 8)
        return Map(known.name, kind, max(key.size, 4), size, entries, key=key, value=known.value, span=span)
    value: Type = I64 if known.signed else U64
    cell = _cell(record, known).size
    if record.bucket:
        entries = entries if keyed else record.buckets(known.args)
    elif not keyed:
        cell += 8
    return Map(
        known.name, (known.kind or "PERCPU_HASH") if keyed else "PERCPU_ARRAY", max(key.size, 4), cell, entries,
        key=key, value=value, aggregation=record.name, args=known.args, span=span,
    )  # fmt: skip


def round8(size: int) -> int:
    return -(-size // 8) * 8


def key_record(known: MapType) -> Record:
    """The layout of a map's key; no fields for a map without keys."""
    if not known.key:
        return Record((), 4)
    parts = [(f"key{i}", kind) for i, kind in enumerate(known.key)]
    record = aggregations().get(known.aggregation)
    if record is not None and record.bucket:
        parts.append((BUCKET, U32))
    return Record.of(parts)


def _cell(record: Aggregation, known: MapType) -> Record:
    return Record.of([(str(i), kind) for i, kind in enumerate(record.cell(known.signed))])


# --- keys -------------------------------------------------------------------------------------


def _parts(node: ast.Expr) -> tuple[str, Sequence[ast.Expr]]:
    """Name and key expressions of `@m` or `@m[k, ...]`."""
    if isinstance(node, ast.Map):
        return node.name, ()
    assert isinstance(node, ast.Index) and isinstance(node.base, ast.Map)
    keys = node.keys
    if len(keys) == 1 and isinstance(keys[0], ast.Tuple):
        keys = keys[0].items
    return node.base.name, keys


def key_of(body: Body, name: str, keys: Sequence[ast.Expr], bucket: Value | None = None) -> Mem:
    """The key in memory; 4 zero bytes for a map without keys."""
    record = key_record(body.map_type(name))
    if not record.fields:
        room = Mem(body.b.slot(4, f"{name} key", 4))
        if bucket is None:
            body.b.store(room.base, 0, 4, 0)
        else:
            _store_index(body, room, bucket)
        return room
    room = body.temp(record.size, f"{name} key")
    parts = [field for field in record.fields if field.name != BUCKET]
    whole = len(keys) == 1 and _is_tuple(body.type(keys[0]))
    wide = _padded_number(body, record) and (bucket is not None or not whole)
    for start, end in _gaps(record):
        if not wide or end < record.size:
            body.zero(room + start, end - start)
    if whole:
        body.into(keys[0], room, Tuple(tuple(field.type for field in parts)))
    else:
        for node, field in zip(keys, parts, strict=True):
            if wide and field is record.fields[-1]:
                number = expr.converted(body, node, field.type)
                body.b.store(room.base, room.offset + field.offset, 8, number)
            else:
                body.into(node, room + field.offset, field.type)
    if bucket is not None:
        body.b.store(room.base, room.offset + record[BUCKET].offset, 8 if wide else 4, bucket)
    return room


def _gaps(record: Record) -> Iterator[tuple[int, int]]:
    """Bytes of a key that its parts may leave as they are: padding, and parts that have some inside."""
    at = 0
    for field in record.fields:
        if _has_holes(field.type):
            yield at, field.offset + field.type.size
        elif at < field.offset:
            yield at, field.offset
        at = field.offset + field.type.size
    if at < record.size:
        yield at, record.size


def _padded_number(body: Body, record: Record) -> bool:
    """Whether the last part is a number before padding, up to 8 bytes together, so that one store writes both."""
    last = record.fields[-1]
    fits = is_integral(last.type) and last.type.size < 8 and not is_signed(last.type)
    return fits and body.arch.byteorder == "little" and last.offset + 8 == record.size


def _store_index(body: Body, room: Mem, bucket: Value) -> None:
    """A bucket's number (all are less than 2^16) as the index in an array, in halves.

    Since v6.14 the verifier follows a constant index that is stored whole: then no two of the many ways
    through the search for the bucket are alike to it, and it walks each of them to the end.
    """
    low, high = (0, 2) if body.arch.byteorder == "little" else (2, 0)
    body.b.store(room.base, room.offset + low, 2, bucket)
    body.b.store(room.base, room.offset + high, 2, 0)


def _is_tuple(kind: Type) -> bool:
    """Whether a key is all parts of the map's key in one."""
    return isinstance(kind, Tuple) and not kind.names


def _has_holes(kind: Type) -> bool:
    return not is_integral(kind) and kind.align > 1 and kind.size % 8 != 0


def lookup(body: Body, name: str, key: Mem) -> Value:
    return body.b.call("map_lookup_elem", body.b.map(name), body.address(key), kind="value")


# --- reading ----------------------------------------------------------------------------------


def read(body: Body, node: ast.Expr) -> Value:
    """The number in a map; 0 where there is none."""
    name, keys = _parts(node)
    known = body.map_type(name)
    if known.aggregation:
        return merged(body, name, key_of(body, name, keys))
    kind = known.value
    assert kind is not None
    if not keys:
        return memory.load(body, Loc("bpf", body.b.map_value(name)), kind)
    found = lookup(body, name, key_of(body, name, keys))

    def have() -> Value:
        return body.b.load(found, 0, kind.size, is_signed(kind))

    return body.b.choose("ne", found, 0, have, lambda: _missed(body, name))


def _missed(body: Body, name: str) -> int:
    """There is no such key: what is read then."""
    failures.count(body, "map_lookup_elem", 0, 2, name)
    return 0


def merged(body: Body, name: str, key: Mem) -> Value:
    """The number that an aggregation's cells of all CPUs come to."""
    known, b = body.map_type(name), body.b
    record = aggregations()[known.aggregation]
    assert record.fold is not None and record.result is not None
    size = _cell(record, known).size
    total = body.temp(size, f"{name} over all CPUs")
    body.zero(total, size)
    cpu = f"cpu.{b.unique()}"
    b.assign(cpu, 0)
    head, have, after = b.block("cpus"), b.block("cell"), b.block("summed")
    b.jump(head)
    b.place(head, sealed=False)
    cell = b.call("map_lookup_percpu_elem", b.map(name), body.address(key), b.read(cpu), kind="value")
    b.branch("ne", cell, 0, have, after)
    b.place(have)
    record.fold(body, total, Mem(cell), known.signed)
    b.assign(cpu, b.add(b.read(cpu), 1))
    b.branch("ult", b.read(cpu), max(body.target.cpus) + 1, head, after)
    b.seal(head)
    b.place(after)
    return record.result(body, total, known.signed)


def locate(body: Body, node: ast.Expr) -> Loc:
    """Where a value that is no number lies; zeros where there is none."""
    name, keys = _parts(node)
    kind = body.map_type(name).value
    assert kind is not None and kind.size <= MOST_ZEROS
    if not keys:
        return Loc("bpf", body.b.map_value(name))
    found = lookup(body, name, key_of(body, name, keys))
    zeros = body.declare(Map(ZEROS, "ARRAY", 4, MOST_ZEROS, 1))

    def none() -> Value:
        _missed(body, name)
        return body.b.map_value(zeros)

    return Loc("bpf", body.b.choose("ne", found, 0, lambda: found, none))


# --- writing ----------------------------------------------------------------------------------


def assign(body: Body, target: ast.Expr, value: ast.Expr) -> None:
    """`target = value` for a plain map."""
    name, keys = _parts(target)
    kind = body.map_type(name).value
    assert kind is not None
    if not keys:
        number = expr.converted(body, value, kind) if is_integral(kind) else None
        place = body.b.map_value(name)
        if number is not None:
            body.b.store(place, 0, kind.size, number)
        else:
            body.into(value, Mem(place), kind)
        _mark(body, place, kind)
        return
    if is_integral(kind):
        _assign_number(body, name, keys, expr.converted(body, value, kind))
        return
    room = _value_room(body, name, kind)
    body.into(value, room, kind)
    _put(body, name, key_of(body, name, keys), room)


def _assign_number(body: Body, name: str, keys: Sequence[ast.Expr], number: Value) -> None:
    """Where keys stay, a number is written into the element that is there, which costs half of replacing it."""
    b, known = body.b, body.map_type(name)
    assert known.value is not None
    if known.loses_keys or known.kind not in ("", "HASH"):
        room = _number_room(body, name, known.value, number)
        _put(body, name, key_of(body, name, keys), room)
        return
    key = key_of(body, name, keys)
    found = lookup(body, name, key)
    have, insert, after = b.block("have"), b.block("insert"), b.block("after")
    b.branch("ne", found, 0, have, insert)
    b.place(insert)
    _put(body, name, key, _number_room(body, name, known.value, number))
    b.jump(after)
    b.place(have)
    b.store(found, 0, known.value.size, number)
    b.jump(after)
    b.place(after)


def _value_room(body: Body, name: str, kind: Type) -> Mem:
    """Room on the stack for a value, its last bytes zero where it is not a multiple of eight."""
    room = body.temp(round8(kind.size), f"{name} value")
    if kind.size % 8:
        body.b.zero(room.base, room.offset + kind.size // 8 * 8, 8)
    return room


def _number_room(body: Body, name: str, kind: Type, number: Value) -> Mem:
    """The same with a number in it. One store of eight bytes is at once what the kernel copies from there."""
    if body.arch.byteorder == "big":
        room = _value_room(body, name, kind)
        body.b.store(room.base, room.offset, kind.size, number)
    else:
        room = body.temp(8, f"{name} value")
        body.b.store(room.base, room.offset, 8, number)
    return room


def _put(body: Body, name: str, key: Mem, room: Mem) -> None:
    """Insert an element or put it in the place of the one that is there."""
    result = body.b.call("map_update_elem", body.b.map(name), body.address(key), body.address(room), 0)
    if not body.map_type(name).kind.startswith("LRU_"):  # there, the oldest makes room
        failures.watch(body, "map_update_elem", result, 1, name)


def _mark(body: Body, place: Value, kind: Type) -> None:
    """Remember that a map without keys has a value."""
    body.b.store(place, round8(kind.size), 8, 1)


@contextmanager
def _cell_of(body: Body, name: str, key: Mem, size: int) -> Iterator[Mem]:
    """The element of a hash, made of zeros if new; what is built inside runs if there is room for it."""
    b = body.b
    variable = f"cell.{b.unique()}"
    found = lookup(body, name, key)
    b.assign(variable, found)
    have, insert, after = b.block("have"), b.block("insert"), b.block("after")
    b.branch("ne", found, 0, have, insert)
    b.place(insert)
    zeros = body.temp(size, f"{name} zero")
    body.zero(zeros, size)
    result = b.call("map_update_elem", b.map(name), body.address(key), body.address(zeros), _NOEXIST)
    again = lookup(body, name, key)
    b.assign(variable, again)
    none = b.block("no room")
    b.branch("ne", again, 0, have, none)
    b.place(none)
    failures.count(body, "map_update_elem", result, 1, name)
    b.jump(after)
    b.place(have)
    yield Mem(b.read(variable))
    b.jump(after)
    b.place(after)


def _sample(body: Body, name: str, key: Mem, size: int, update: Callable[[Mem], None]) -> None:
    """Update this CPU's cell of a key; a new key gets a cell that was updated on the stack.

    Should another CPU bring the same key in meanwhile, only this CPU's cell is written.
    """
    b = body.b
    found = lookup(body, name, key)
    have, insert, after = b.block("have"), b.block("insert"), b.block("after")
    b.branch("ne", found, 0, have, insert)
    b.place(insert)
    cell = body.temp(size, f"{name} new")
    body.zero(cell, size)
    update(cell)
    result = b.call("map_update_elem", b.map(name), body.address(key), body.address(cell), 0)
    failures.watch(body, "map_update_elem", result, 1, name)
    b.jump(after)
    b.place(have)
    update(Mem(found))
    b.jump(after)
    b.place(after)


def update(body: Body, target: ast.Expr, compute: Callable[[Value], Value], add: Value | None = None) -> None:
    """`target op= n` for a number in a plain map: atomic where it is an addition (`add`)."""
    name, keys = _parts(target)
    kind = body.map_type(name).value
    assert kind is not None
    if not keys:
        _update_at(body, Mem(body.b.map_value(name)), kind, compute, add)
        _mark(body, body.b.map_value(name), kind)
        return
    with _cell_of(body, name, key_of(body, name, keys), round8(kind.size)) as cell:
        _update_at(body, cell, kind, compute, add)


def _update_at(
    body: Body, cell: Mem, kind: Type, compute: Callable[[Value], Value], add: Value | None
) -> None:
    b = body.b
    if add is not None and kind.size == 8:
        b.atomic_add(cell.base, cell.offset, 8, add)
    else:
        b.store(
            cell.base,
            cell.offset,
            kind.size,
            compute(b.load(cell.base, cell.offset, kind.size, is_signed(kind))),
        )


def step(body: Body, target: ast.Expr, by: int, prefix: bool) -> Value:
    """`@m++` and its kin; the value is the one before the step, or after it for a prefix."""
    b = body.b
    variable = f"step.{b.unique()}"
    b.assign(variable, 0)
    name, keys = _parts(target)
    kind = body.map_type(name).value
    assert kind is not None

    def bump(cell: Mem) -> None:
        old = b.load(cell.base, cell.offset, kind.size, is_signed(kind))
        if kind.size == 8:
            b.atomic_add(cell.base, cell.offset, 8, by)
        else:
            b.store(cell.base, cell.offset, kind.size, b.add(old, by))
        b.assign(variable, b.add(old, by) if prefix else old)

    if not keys:
        bump(Mem(b.map_value(name)))
        _mark(body, b.map_value(name), kind)
    else:
        with _cell_of(body, name, key_of(body, name, keys), round8(kind.size)) as cell:
            bump(cell)
    return b.read(variable)


def aggregate(body: Body, target: ast.Expr, record: Aggregation, args: Sequence[ast.Expr]) -> None:
    """`target = count()` and its kin."""
    name, keys = _parts(target)
    known = body.map_type(name)
    value = expr.value(body, args[0]) if record.takes_value else None
    sample = Sample(value, known.args, known.signed)
    bucket = None
    if record.bucket is not None:
        bucket = record.bucket(body, sample)
    key = key_of(body, name, keys, bucket)
    cell = _cell(record, known)
    if keys and record.part is None:
        _sample(body, name, key, cell.size, lambda place: record.update(body, place, sample))
        return
    if keys:
        with _cell_of(body, name, key, cell.size) as place:
            record.update(body, place, sample)
        return
    found = lookup(body, name, key)
    with body.b.when("ne", found):
        record.update(body, Mem(found), sample)
        if record.bucket is None:
            body.b.store(found, cell.size, 8, 1)
