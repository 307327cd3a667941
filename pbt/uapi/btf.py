"""BTF: its numbers; and written, types one after another, and the records that tie instructions to functions and lines.

Source: <linux/btf.h>, Documentation/bpf/btf.rst.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from pbt.data import NamedTuple

MAGIC, VERSION = 0xEB9F, 1
_HEADER, _HEADER_EXT = 24, 24
INT, PTR, ARRAY, STRUCT, UNION, ENUM, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, FUNC_PROTO = range(1, 14)
VAR, DATASEC, FLOAT, DECL_TAG, TYPE_TAG, ENUM64 = range(14, 20)  # BTF_KIND_*
KINDS = (
    "void", "int", "ptr", "array", "struct", "union", "enum", "fwd", "typedef", "volatile", "const", "restrict", "func",
    "func_proto", "var", "datasec", "float", "decl_tag", "type_tag", "enum64",
)  # fmt: skip
"""What each kind is called, by its number."""
MODIFIERS = (TYPEDEF, VOLATILE, CONST, RESTRICT, TYPE_TAG)
"""Kinds that stand before another type, which has their size."""
WORDS = {INT: 1, ARRAY: 3, VAR: 1, DECL_TAG: 1}
WORDS_EACH = {STRUCT: 3, UNION: 3, ENUM: 2, FUNC_PROTO: 2, DATASEC: 3, ENUM64: 3}
"""32-bit words that follow the three of struct btf_type: once, and for each of its vlen elements."""
STATIC, GLOBAL, EXTERN = 0, 1, 2  # linkage of functions and variables
FUNC_INFO_SIZE, LINE_INFO_SIZE = 8, 16


class Types:
    """Types being collected; every method that adds one gives its id. Id 0 is void."""

    def __init__(self, order: str = "=") -> None:
        """`order`: of bytes, as `struct` writes it."""
        self.order = order
        self._types, self._names = bytearray(), bytearray(b"\0")
        self._offsets: dict[str, int] = {"": 0}
        self._count = 0

    def string(self, text: str) -> int:
        """The offset of a text among the strings."""
        if text not in self._offsets:
            self._offsets[text] = len(self._names)
            self._names += text.encode(errors="replace") + b"\0"
        return self._offsets[text]

    def integer(self, name: str, size: int) -> int:
        """An unsigned integer of `size` bytes."""
        return self._add(name, INT, 0, size, struct.pack(self.order + "I", 8 * size))

    def pointer(self, to: int) -> int:
        return self._add("", PTR, 0, to)

    def array(self, element: int, index: int, count: int) -> int:
        return self._add("", ARRAY, 0, 0, struct.pack(self.order + "3I", element, index, count))

    def struct(self, name: str, size: int, members: Sequence[tuple[str, int, int]]) -> int:
        """`members`: name, type, offset in bytes."""
        rows = (struct.pack(self.order + "3I", self.string(n), t, 8 * at) for n, t, at in members)
        return self._add(name, STRUCT, len(members), size, b"".join(rows))

    def prototype(self, result: int, params: Sequence[tuple[str, int]]) -> int:
        """`params`: name, type."""
        rows = (struct.pack(self.order + "2I", self.string(n), t) for n, t in params)
        return self._add("", FUNC_PROTO, len(params), result, b"".join(rows))

    def function(self, name: str, prototype: int, linkage: int) -> int:
        return self._add(name, FUNC, linkage, prototype)

    def variable(self, name: str, type: int, linkage: int) -> int:
        return self._add(name, VAR, 0, type, struct.pack(self.order + "I", linkage))

    def section(self, name: str, variables: Sequence[tuple[int, int, int]]) -> int:
        """What a section of an object file holds: variable, offset, size."""
        rows = (struct.pack(self.order + "3I", *row) for row in variables)
        size = max((at + size for _, at, size in variables), default=0)
        return self._add(name, DATASEC, len(variables), size, b"".join(rows))

    def _add(self, name: str, kind: int, count: int, size_or_type: int, more: bytes = b"") -> int:
        head = struct.pack(self.order + "3I", self.string(name), kind << 24 | count, size_or_type)
        self._types += head + more
        self._count += 1
        return self._count

    def data(self) -> bytes:
        """All of it, as the kernel takes it and as section .BTF holds it."""
        types, names = bytes(self._types), bytes(self._names)
        fields = (MAGIC, VERSION, 0, _HEADER, 0, len(types), len(types), len(names))
        return struct.pack(self.order + "HBBIIIII", *fields) + types + names


class Info(NamedTuple):
    """Records of one section: of its functions (offset, type) and lines (offset, file, line, column).

    Offsets are in bytes from the section's start; `file` and `line` are strings' offsets; columns count
    from 1.
    """

    section: str
    functions: Sequence[tuple[int, int]]
    lines: Sequence[tuple[int, int, int, int, int]]


def extension(types: Types, sections: Sequence[Info]) -> bytes:
    """The content of section .BTF.ext. A line is (offset, file, text, line number, column)."""
    functions = struct.pack(types.order + "I", FUNC_INFO_SIZE)
    lines = struct.pack(types.order + "I", LINE_INFO_SIZE)
    for info in sections:
        name = types.string(info.section)
        functions += struct.pack(types.order + "2I", name, len(info.functions))
        functions += b"".join(struct.pack(types.order + "2I", *row) for row in info.functions)
        if info.lines:
            lines += struct.pack(types.order + "2I", name, len(info.lines))
        for at, file, text, number, column in info.lines:
            lines += struct.pack(types.order + "4I", at, file, text, number << 10 | min(column, 1023))
    sizes = (0, len(functions), len(functions), len(lines))
    return struct.pack(types.order + "HBBI4I", MAGIC, VERSION, 0, _HEADER_EXT, *sizes) + functions + lines
