"""Decoded values as other Python values: the one walk over their types."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pbt.types import Array, Struct, Tuple, Type
from pbt.typing import Any

Convert = Callable[[Any], Any]


def converter(
    type_: Type, leaf: Callable[[Type], Convert | None], row: Callable[[Iterable[Any]], Any]
) -> Convert:
    """How decoded values of a type (see pbt.record.reader) are converted.

    `leaf` gives the conversion of a type that is converted as a whole, None for others. Of these arrays become
    lists, structures and tuples with names dicts, other tuples what `row` makes of them; the rest stays as it is.
    """
    own = leaf(type_)
    if own is not None:
        return own
    if isinstance(type_, Array):
        element = converter(type_.element, leaf, row)
        return lambda value: [element(item) for item in value]
    if isinstance(type_, Struct):
        return _object([(member.name, converter(member.type, leaf, row)) for member in type_.flat()])
    if isinstance(type_, Tuple):
        parts = [converter(item, leaf, row) for item in type_.elements]
        if type_.names:
            return _object(list(zip(type_.names, parts, strict=True)))
        return lambda value: row(convert(item) for convert, item in zip(parts, value, strict=True))
    return same


def same(value: Any) -> Any:
    """The conversion that changes nothing."""
    return value


def _object(members: list[tuple[str, Convert]]) -> Convert:
    return lambda value: {name: convert(value[name]) for name, convert in members}
