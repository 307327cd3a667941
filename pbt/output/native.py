"""Values as a Python program expects them: text as str, opaque values as their text."""

from __future__ import annotations

from collections.abc import Callable

from pbt.types import Array, Bool, Char, Opaque, Str, Struct, Tuple, Type
from pbt.typing import Any

Convert = Callable[[Any], Any]


def converter(type_: Type, opaque: Callable[[Opaque, bytes], Any]) -> Convert:
    """How decoded values of a type (see pbt.record.reader) become plain Python values.

    int, bool, str, bytes for buffers, list, tuple, dict; `opaque` gives those of Opaque types.
    """
    if isinstance(type_, Opaque):
        return lambda value: opaque(type_, value)
    if isinstance(type_, Str) or (isinstance(type_, Array) and isinstance(type_.element, Char)):
        return lambda value: value.decode(errors="replace")
    if isinstance(type_, Bool):
        return bool
    if isinstance(type_, Array):
        element = converter(type_.element, opaque)
        return lambda value: [element(item) for item in value]
    if isinstance(type_, Struct):
        return _object([(member.name, converter(member.type, opaque)) for member in type_.flat()])
    if isinstance(type_, Tuple):
        parts = [converter(item, opaque) for item in type_.elements]
        if type_.names:
            return _object(list(zip(type_.names, parts, strict=True)))
        return lambda value: tuple(convert(item) for convert, item in zip(parts, value, strict=True))
    return lambda value: value


def _object(members: list[tuple[str, Convert]]) -> Convert:
    return lambda value: {name: convert(value[name]) for name, convert in members}
