"""Keys of maps: whether they are there, and away with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pbt.feature import Mem
from pbt.ir.core import Value
from pbt.lang import ast
from pbt.lang.typed import aggregations
from pbt.lower import failures, memory
from pbt.lower.maps import BUCKET, key_of, key_record, lookup, round8
from pbt.lower.memory import Loc
from pbt.types import is_integral, is_signed
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.lower.body import Body


def find(body: Body, name: str, keys: Sequence[ast.Expr], variable: str) -> Value:
    """1 if the key is in the map, whose value then is the variable's; else 0."""
    b, kind = body.b, body.map_type(name).value
    assert kind is not None
    found = lookup(body, name, key_of(body, name, keys))
    with b.when("ne", found):
        if is_integral(kind):
            body.set(variable, b.load(found, 0, kind.size, is_signed(kind)))
        else:
            memory.copy(body, body.variable(variable), Loc("bpf", found), kind.size)
    return b.compare("ne", found, 0)


def has_key(body: Body, name: str, keys: Sequence[ast.Expr]) -> Value:
    """1 if the key is in the map."""
    record = aggregations().get(body.map_type(name).aggregation)
    if record is not None and record.bucket is not None:
        return _any_bucket(body, name, keys, _has, enough=True)
    return _has(body, name, key_of(body, name, keys))


def _has(body: Body, name: str, key: Mem) -> Value:
    return body.b.choose("ne", lookup(body, name, key), 0, lambda: 1, lambda: 0)


def _any_bucket(
    body: Body,
    name: str,
    keys: Sequence[ast.Expr],
    ask: Callable[[Body, str, Mem], Value],
    enough: bool = False,
) -> Value:
    """Whether `ask` gives 1 for some bucket of a key; all are asked, or until that is `enough`."""
    known, b = body.map_type(name), body.b
    layout, record = key_record(known), aggregations()[known.aggregation]
    room = body.scratch(16 + layout.size, f"{name} buckets")  # u64 bucket, u64 result, key
    b.zero(room.base, room.offset, 16)
    memory.copy(body, room + 16, Loc("bpf", *key_of(body, name, keys, b.const(0))), layout.size)

    def turn(at: Mem) -> Value:
        b = body.b
        number = b.load(at.base, at.offset, 8)
        b.store(at.base, at.offset + 16 + layout[BUCKET].offset, 4, number)
        b.store(at.base, at.offset, 8, b.add(number, 1))
        result = b.op("or", b.load(at.base, at.offset + 8, 8), ask(body, name, at + 16))
        b.store(at.base, at.offset + 8, 8, result)
        return b.compare("ne", result, 0) if enough else b.const(0)

    body.loop(record.buckets(known.args), room, turn)
    return b.load(room.base, room.offset + 8, 8)


def delete(body: Body, name: str, keys: Sequence[ast.Expr], ignored: bool = False) -> Value | None:
    """1 if there was something to delete, else 0; None where only user space can do it.

    `ignored`: nobody looks at the value, so -k warns where it is 0.
    """
    known, b = body.map_type(name), body.b
    record = aggregations().get(known.aggregation)
    if not keys and record is not None:
        return None
    if not keys:
        assert known.value is not None
        flag = round8(known.value.size)
        place = b.map_value(name)
        was = b.load(place, flag, 8)
        body.zero(Mem(place), flag + 8)
        return was
    if record is not None and record.bucket is not None:
        return _any_bucket(body, name, keys, _delete)
    key = key_of(body, name, keys)
    result = b.call("map_delete_elem", b.map(name), body.address(key))
    if ignored:
        failures.watch(body, "map_delete_elem", result, 2, name)
    return b.compare("eq", result, 0)


def _delete(body: Body, name: str, key: Mem) -> Value:
    return body.b.compare("eq", body.b.call("map_delete_elem", body.b.map(name), body.address(key)), 0)
