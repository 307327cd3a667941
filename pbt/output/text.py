"""Values as text, in the manner of bpftrace 0.27: pure functions from decoded values to bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pbt.data import NamedTuple
from pbt.printf import Draw, escaped
from pbt.types import (
    Array,
    Bool,
    Buffer,
    Char,
    Enum,
    Opaque,
    Pointer,
    Str,
    Struct,
    Tuple,
    Type,
    Void,
    is_integral,
)
from pbt.typing import TYPE_CHECKING, Any
from pbt.values import Histogram, Series, Stats

if TYPE_CHECKING:
    import re


class Style(NamedTuple):
    """How strings and opaque values are drawn.

    `limit`: a string whose buffer has this many bytes (its NUL included) and is full gets `trailer`
    appended. `escape`: show control characters as \\xNN instead of sending them on (a terminal would
    obey them). `opaque` draws a value of an Opaque type from its bytes. `tight`: no blanks in tuples,
    records and structs.
    """

    limit: int = 0
    trailer: bytes = b".."
    escape: bool = False
    opaque: Callable[[Opaque, bytes], bytes] = lambda type_, raw: raw.hex().encode()
    tight: bool = False


PLAIN = Style()


def drawer(type_: Type, style: Style = PLAIN) -> Draw:
    """How decoded values of a type (see pbt.record.reader) print."""
    make = _DRAWERS.get(type(type_), _plain)
    return make(type_, style)


def _plain(type_: Type, style: Style) -> Draw:
    return number


def number(value: int) -> bytes:
    return b"%d" % value


def _bool(type_: Type, style: Style) -> Draw:
    return lambda value: b"true" if value else b"false"


def _void(type_: Type, style: Style) -> Draw:
    return lambda value: b"null"


def _pointer(type_: Type, style: Style) -> Draw:
    return lambda value: b"0x%x" % value


def _enum(type_: Any, style: Style) -> Draw:
    names = {value: name.encode() for name, value in type_.values}  # of several, the last
    return lambda value: names.get(value) or number(value)


def _buffer(type_: Type, style: Style) -> Draw:
    return lambda value: escaped(bytes(value))


def _opaque(type_: Any, style: Style) -> Draw:
    draw = style.opaque
    return lambda value: draw(type_, value)


def _string(type_: Type, style: Style) -> Draw:
    """The text, its control characters shown if asked for, its cut end marked."""
    full = type_.size - 1 if 0 < style.limit == type_.size else None
    if full is None:
        return harmless if style.escape else bytes
    trailer, clean = style.trailer, harmless if style.escape else bytes
    return lambda value: clean(value) + trailer if len(value) >= full else clean(value)


# C0 without tab and newline, DEL, and C1 in UTF-8: what terminals take for commands (ECMA-48).
_CONTROL = "[\x00-\x08\x0b-\x1f\x7f-\x9f\udc80-\udcff]"  # lone surrogates stand for bytes that are no UTF-8
_PLAIN = b"\t\n" + bytes(range(0x20, 0x7F))


def is_plain(value: bytes) -> bool:
    """Whether this is printable ASCII, tabs and newlines."""
    return not value.translate(None, _PLAIN)


def harmless(value: bytes) -> bytes:
    r"""Text with each control character, and each byte that is no UTF-8, as \xNN; tabs and newlines stay."""
    if is_plain(value):
        return value
    import re  # few texts need it

    text = value.decode(errors="surrogateescape")
    return re.sub(_CONTROL, _as_escapes, text).encode()


def _as_escapes(match: re.Match[str]) -> str:
    return "".join(f"\\x{byte:02x}" for byte in match[0].encode(errors="surrogateescape"))


def _array(type_: Any, style: Style) -> Draw:
    if isinstance(type_.element, Char):
        return harmless if style.escape else bytes
    draw = drawer(type_.element, style)
    return lambda value: b"[" + b",".join(map(draw, value)) + b"]"


def _tuple(type_: Any, style: Style) -> Draw:
    if type_.names:
        return _named(list(zip(type_.names, type_.elements, strict=True)), style)
    draws = [drawer(element, style) for element in type_.elements]
    between = b"," if style.tight else b", "
    return lambda value: b"(" + between.join(d(v) for d, v in zip(draws, value, strict=True)) + b")"


def _struct(type_: Any, style: Style) -> Draw:
    return _named([(member.name, member.type) for member in type_.flat()], style)


def _named(members: Sequence[tuple[str, Type]], style: Style) -> Draw:
    draws = [(name, name.encode(), drawer(type_, style)) for name, type_ in members]
    between, member, whole = (b",", b".%s=%s", b"{%s}") if style.tight else (b", ", b".%s = %s", b"{ %s }")

    def draw(value: dict[str, Any]) -> bytes:
        inner = between.join(member % (text, d(value[name])) for name, text, d in draws)
        return whole % inner if inner else b"{}"

    return draw


_DRAWERS: dict[type[Type], Callable[[Any, Style], Draw]] = {
    Bool: _bool, Void: _void, Pointer: _pointer, Enum: _enum, Buffer: _buffer, Opaque: _opaque,
    Str: _string, Array: _array, Tuple: _tuple, Struct: _struct,
}  # fmt: skip


# --- maps -------------------------------------------------------------------------------------


def by_value(type_: Type) -> bool:
    """Whether plain maps of a value type print in the order of their values, not of their keys."""
    return is_integral(type_)


def aggregate(value: Any) -> bytes:
    """The text of what an aggregation made: a number or statistics."""
    return value.text().encode() if isinstance(value, (Stats, Histogram, Series)) else number(value)


def element(value: Any) -> bytes:
    """One element of such a map, by itself."""
    return aggregate(value) + (b"" if isinstance(value, Series) else b"\n")
