"""The types that come with a program: what its functions take and return.

A function of linkage "global" is judged by itself, for any arguments of its parameters' types; calls
of it only have their arguments checked. Source: Documentation/bpf/btf.rst; btf_prepare_func_args() of
kernel/bpf/btf.c.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence

from pbt.data import NamedTuple
from pbt.source import PbtError
from pbt.uapi.btf import (
    ARRAY,
    DECL_TAG,
    ENUM,
    ENUM64,
    FLOAT,
    FUNC,
    FUNC_PROTO,
    INT,
    KINDS,
    MAGIC,
    MODIFIERS,
    PTR,
    STRUCT,
    UNION,
    WORDS,
    WORDS_EACH,
)

_LONGEST_CHAIN = 64


class BadTypes(PbtError):
    """Bytes that are not BTF, or BTF that contradicts itself."""


class Row(NamedTuple):
    """One type: kind, name, vlen, size (or the type it refers to), the words that follow, kind_flag."""

    kind: int
    name: str
    vlen: int
    size: int
    words: tuple[int, ...]
    flag: bool = False


def chain(row: Callable[[int], Row], id: int, error: Callable[[str], Exception]) -> Iterator[tuple[int, Row]]:
    """A type with its id, and what its names, qualifiers and tags stand before, one by one; the last is a plain type.

    Raises `error` where types refer to themselves.
    """
    for _ in range(_LONGEST_CHAIN):
        found = row(id)
        yield id, found
        if found.kind not in MODIFIERS:
            return
        id = found.size
    raise error(f"type {id} refers to itself")


class Function(NamedTuple):
    """A function of the program: where it starts, and what its BTF says of it (id 0: nothing)."""

    name: str
    is_global: bool
    params: tuple[int, ...]  # type ids
    result: int
    tags: tuple[frozenset[str], ...]  # of each parameter: "ctx", "nonnull", "nullable", "trusted" …


class ProgramTypes:
    """A BTF section, small enough to be taken apart at once."""

    def __init__(self, types: bytes, strings: bytes) -> None:
        self.rows: list[Row] = [Row(0, "void", 0, 0, ())]
        self.strings = strings
        self._names: dict[tuple[str, str], int] | None = None
        self._tags: dict[int, list[Row]] | None = None
        if len(types) % 4:
            raise BadTypes("the type section is no sequence of words")
        words = struct.unpack(f"<{len(types) // 4}I", types)
        at = 0
        while at < len(words):
            if at + 3 > len(words):
                raise BadTypes("the type section ends within a type")
            name, info, size = words[at : at + 3]
            kind, count = info >> 24 & 31, info & 0xFFFF
            more = WORDS.get(kind, 0) + WORDS_EACH.get(kind, 0) * count
            if not 0 < kind <= ENUM64 or at + 3 + more > len(words):
                raise BadTypes(f"type {len(self.rows)} is malformed")
            more_words = words[at + 3 : at + 3 + more]
            self.rows.append(Row(kind, self.text(name), count, size, more_words, bool(info >> 31)))
            at += 3 + more

    def text(self, offset: int) -> str:
        """The string at an offset of the string section."""
        end = self.strings.find(b"\0", offset)
        return self.strings[offset : end if end >= 0 else len(self.strings)].decode("utf-8", "replace")

    def members(self, row: Row) -> Iterator[tuple[str, int, int, int]]:
        """Of a struct or union: name, type, offset and, for bitfields, width, both in bits."""
        for at in range(0, 3 * row.vlen, 3):
            name, id, place = row.words[at : at + 3]
            width = place >> 24 if row.flag else 0
            yield self.text(name), id, place & 0xFFFFFF if row.flag else place, width

    @staticmethod
    def parse(data: bytes) -> ProgramTypes:
        """A whole BTF blob with its header."""
        try:
            magic, _, _, header, type_off, type_len, str_off, str_len = struct.unpack_from("<HBBIIIII", data)
        except struct.error:
            raise BadTypes("the BTF is shorter than its header") from None
        if magic != MAGIC or header + max(type_off + type_len, str_off + str_len) > len(data):
            raise BadTypes("these bytes are not BTF")
        types = data[header + type_off : header + type_off + type_len]
        return ProgramTypes(types, data[header + str_off : header + str_off + str_len])

    def row(self, id: int) -> Row:
        if not 0 <= id < len(self.rows):
            raise BadTypes(f"there is no type {id}")
        return self.rows[id]

    def plain(self, id: int) -> tuple[int, Row]:
        """A type without its names and qualifiers."""
        *_, last = chain(self.row, id, BadTypes)
        return last

    def kind_name(self, id: int) -> str:
        """As the verifier's messages call it: nothing at all is UNKN, not VOID."""
        kind = self.plain(id)[1].kind
        return KINDS[kind].upper() if kind else "UNKN"

    def is_scalar(self, id: int) -> bool:
        return self.plain(id)[1].kind in (INT, ENUM, ENUM64)

    def target(self, id: int) -> tuple[int, Row]:
        """What a pointer points to."""
        return self.plain(self.plain(id)[1].size)

    def size_of(self, id: int) -> int | None:
        """Bytes of a type, None if it has no size."""
        factor = 1
        for _ in range(_LONGEST_CHAIN):
            id, row = self.plain(id)
            if row.kind == ARRAY:
                factor *= row.words[2]
                id = row.words[0]
            elif row.kind == PTR:
                return factor * 8
            elif row.kind in (INT, STRUCT, UNION, ENUM, ENUM64, FLOAT):
                return factor * row.size
            else:
                return None
        raise BadTypes(f"type {id} refers to itself")

    def struct_sizes(self) -> dict[str, int]:
        return {row.name: row.size for row in self.rows if row.kind in (STRUCT, UNION) and row.name}

    def find(self, kind: str, name: str) -> int | None:
        """The id of the structure ("struct") or union ("union") of a name."""
        if self._names is None:
            kinds = {STRUCT: "struct", UNION: "union"}
            self._names = {
                (kinds[row.kind], row.name): id for id, row in enumerate(self.rows) if row.kind in kinds
            }
        return self._names.get((kind, name))

    def tagged(self, id: int) -> list[Row]:
        """The declaration tags of a type and of its members: `words[0]` is which, 2**32 - 1 for itself."""
        if self._tags is None:
            self._tags = {}
            for row in self.rows:
                if row.kind == DECL_TAG:
                    self._tags.setdefault(row.size, []).append(row)
        return self._tags.get(id, [])

    def function(self, id: int) -> Function:
        row = self.row(id)
        if row.kind != FUNC:
            raise BadTypes(f"type {id} is no function")
        proto = self.row(row.size)
        if proto.kind != FUNC_PROTO:
            raise BadTypes(f"the function of type {id} has no prototype")
        params = tuple(proto.words[1::2])
        tags: list[set[str]] = [set() for _ in params]
        for tag in self.tagged(id):
            if tag.words[0] < len(params):
                prefix, _, what = tag.name.partition(":")
                if prefix == "arg":
                    tags[tag.words[0]].add(what)
        return Function(row.name, row.vlen == 1, params, proto.size, tuple(map(frozenset, tags)))


def functions(types: ProgramTypes, info: Sequence[Sequence[int]]) -> dict[int, Function]:
    """The functions of a program by their first slots, from its func_info rows [slot, type id]."""
    return {slot: types.function(id) for slot, id in info}
