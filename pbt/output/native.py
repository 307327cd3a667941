"""Values as a Python program expects them: text as str, opaque values as their text."""

from __future__ import annotations

from collections.abc import Callable

from pbt.output import convert
from pbt.types import Array, Bool, Char, Opaque, Str, Type
from pbt.typing import Any


def converter(type_: Type, opaque: Callable[[Opaque, bytes], Any]) -> convert.Convert:
    """How decoded values of a type (see pbt.record.reader) become plain Python values.

    int, bool, str, bytes for buffers, list, tuple, dict; `opaque` gives those of Opaque types.
    """

    def leaf(type_: Type) -> convert.Convert | None:
        if isinstance(type_, Opaque):
            return lambda value: opaque(type_, value)
        if isinstance(type_, Str) or (isinstance(type_, Array) and isinstance(type_.element, Char)):
            return lambda value: value.decode(errors="replace")
        return bool if isinstance(type_, Bool) else None

    return convert.converter(type_, leaf, tuple)
