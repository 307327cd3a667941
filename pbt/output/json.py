"""Values as JSON: one object a line, in the manner of bpftrace 0.27 but always valid JSON."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from pbt.output import convert
from pbt.output.convert import Convert
from pbt.types import Array, Buffer, Char, Opaque, Type
from pbt.typing import Any
from pbt.values import jsonable

_SPECIAL = re.compile('["\\\\\\x00-\\x1f\\x7f]|[\\ud800-\\udfff]')
_SHORT = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


class Ready(str):
    """What is JSON already."""


def dumps(value: Any) -> str:
    """JSON-able data as text: objects with blanks, arrays without.

    Bytes are text; those that are not UTF-8 show as \\xNN. Integers that a double cannot hold are strings.
    """
    if isinstance(value, Ready):
        return value
    if value is None or value is True or value is False:
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return str(value) if _exact(value) else f'"{value}"'
    if isinstance(value, (bytes, bytearray)):
        return _quote(value.decode(errors="backslashreplace"))
    if isinstance(value, str):
        return _quote(value)
    if isinstance(value, dict):
        members = ", ".join(f"{_quote(_name(name))}: {dumps(item)}" for name, item in value.items())
        return f"{{{members}}}"
    assert isinstance(value, (list, tuple)), value
    return f"[{','.join(map(dumps, value))}]"


def _exact(value: int) -> bool:
    return -(1 << 53) <= value <= 1 << 53 or int(float(value)) == value


def _name(name: Any) -> str:
    return name.decode(errors="backslashreplace") if isinstance(name, bytes) else str(name)


def _quote(text: str) -> str:
    return '"' + _SPECIAL.sub(_escape, text) + '"'


def _escape(found: re.Match[str]) -> str:
    """A character as JSON; one that stands for a byte of a file's name that is no UTF-8, as \\xNN (half a pair of
    surrogates is no text to many readers)."""
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\\\x{code - 0xDC00:02x}"
    return _SHORT.get(found[0]) or f"\\u{code:04x}"


def line(kind: str, data: Any = None, **more: Any) -> bytes:
    """One message: `more` stands beside the type."""
    return (dumps({"type": kind, **more, **({} if data is None else {"data": data})}) + "\n").encode()


_BETWEEN = b"\0"  # of texts while they are escaped together
_ODD = re.compile(rb"[\x01-\x08\x0b\x0c\x0e-\x1f\x7f]")  # what no short escape stands for
_ESCAPES = ((b"\\", b"\\\\"), (b'"', b'\\"'), (b"\n", b"\\n"), (b"\t", b"\\t"), (b"\r", b"\\r"))


def lines(kind: str, texts: Sequence[bytes]) -> bytes:
    """`line` for many texts; together where they are plain."""
    whole = _escaped_together(texts)
    if whole is None:
        return b"".join(line(kind, text) for text in texts)
    head, tail = line(kind, b"\0").split(rb"\u0000")
    return head + whole.replace(_BETWEEN, tail + head) + tail


def _escaped_together(texts: Sequence[bytes]) -> bytes | None:
    """Texts as JSON strings without their quotes, joined by _BETWEEN; None where one is no plain text."""
    whole = _BETWEEN.join(texts)
    if not whole.isascii() or whole.count(_BETWEEN) != len(texts) - 1 or _ODD.search(whole):
        return None
    for plain, escaped in _ESCAPES:
        whole = whole.replace(plain, escaped)
    return whole


def _escaped(texts: Sequence[bytes]) -> list[bytes]:
    """Each text as a JSON string without its quotes; none where one is no plain text."""
    whole = _escaped_together(texts)
    return [] if whole is None else whole.split(_BETWEEN)


def converter(type_: Type, opaque: Callable[[Opaque, bytes], Any]) -> Convert:
    """How decoded values of a type become JSON-able data; `opaque` converts values of Opaque types."""

    def leaf(type_: Type) -> Convert | None:
        if isinstance(type_, Opaque):
            return lambda value: opaque(type_, value)
        if isinstance(type_, Buffer):
            return list
        return convert.same if isinstance(type_, Array) and isinstance(type_.element, Char) else None

    return convert.converter(type_, leaf, list)


def whole_map(name: str, keys: Sequence[bytes], values: Sequence[Any]) -> Any:
    """The data of a map's message: an object of values by key, or the one value of a map without keys."""
    found = map(jsonable, values)
    return {name: dict(zip(map(_name, keys), found, strict=True)) if keys else next(found)}


def rendered(name: str, keys: Sequence[bytes], values: Sequence[Any]) -> Ready:
    """`whole_map` of a map with keys as JSON already."""
    if len(set(keys)) < len(keys):  # different keys may have one name: the last one counts
        keys, values = zip(*dict(zip(keys, values, strict=True)).items(), strict=True)
    names = _escaped(keys) or [_quote(_name(key))[1:-1].encode() for key in keys]
    if all(type(value) is int for value in values) and _exact(min(values)) and _exact(max(values)):
        rows = map(b'"%s": %d'.__mod__, zip(names, values, strict=True))
    else:
        texts = [dumps(jsonable(value)).encode() for value in values]
        rows = map(b'"%s": %s'.__mod__, zip(names, texts, strict=True))
    return Ready(f'{{"{name}": {{{b", ".join(rows).decode()}}}}}')
