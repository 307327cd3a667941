"""BTF bytes: where types are, what they are called, and which has a name.

Nothing is read twice and little is read at all: the kernel's own file is mapped where it lets us; a name is found
by searching the string section for it and then the type section for its offset. What refers to a type by number
needs the list of where types start: one pass over the type section, made as far as somebody asks.
Source: Documentation/bpf/btf.rst.
"""

from __future__ import annotations

import mmap
import os
import sys
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import cached_property

from pbt.data import NamedTuple
from pbt.source import UsageError
from pbt.typing import Literal, TypeAlias
from pbt.uapi.btf import ENUM64, FUNC, KINDS, WORDS, WORDS_EACH

Data: TypeAlias = "bytes | mmap.mmap"
Words: TypeAlias = "memoryview | array[int]"  # unsigned, of 32 bits

_KERNELS = "/sys/kernel/btf/"
_STRIDE = 1 << 15  # words of the type section that are looked through at least, once they are
_MARK = 1  # in the place of the zero that ends the string before
_SCANS = 12  # so many searches for one kind cost as much as a table of all its names


class BtfError(UsageError):
    """Bytes that are not BTF, or BTF that contradicts itself."""


class _Header(NamedTuple):
    types: int  # all in bytes from the start of the file
    types_end: int
    strings: int
    strings_end: int
    swapped: bool  # the byte order is not this machine's
    layout: dict[int, tuple[int, int]]  # kind → words once, words for each element; for kinds not known here


class Index:
    """A BTF section; `base` is the one it continues (a module's BTF continues vmlinux's).

    Given a function instead of bytes, it is called when the first question comes: only then may
    OSError or BtfError be raised.
    """

    def __init__(self, data: Data | Callable[[], Data], base: Index | None = None) -> None:
        self._source = data
        self.base = base
        if not callable(data):
            self.__dict__["_header"] = _read_header(data)
        self._scans: dict[str, int] = {}
        self._found: dict[tuple[str, str], int | None] = {}
        self._tables: dict[str, dict[str, int]] = {}

    @cached_property
    def data(self) -> Data:
        """The bytes of the whole section."""
        return self._source() if callable(self._source) else self._source

    @cached_property
    def _header(self) -> _Header:
        return _read_header(self.data)

    @cached_property
    def _first_id(self) -> int:
        return self.base.count + 1 if self.base else 1

    @cached_property
    def _first_name(self) -> int:
        return self.base._names_end if self.base else 0

    # --- where things are --------------------------------------------------------------------

    @cached_property
    def _words(self) -> Words:
        header = self._header
        section = memoryview(self.data)[header.types : header.types_end]
        if not header.swapped:
            return section.cast("I")
        words = array("I", section.tobytes())
        words.byteswap()
        return words

    @cached_property
    def _types(self) -> Data:
        """The type section in this machine's byte order, for searches."""
        return self._words.tobytes() if self._header.swapped else self.data

    @property
    def _types_at(self) -> tuple[int, int]:
        header = self._header
        return (0, header.types_end - header.types) if header.swapped else header[:2]

    @cached_property
    def _starts(self) -> _Starts:
        """The word at which each type starts, in order of ids."""
        return _Starts(self._words, self._header.layout)

    @property
    def count(self) -> int:
        """The highest type id, the base's included."""
        return self._first_id - 1 + len(self._starts.all())

    @property
    def _names_end(self) -> int:
        return self._first_name + self._header.strings_end - self._header.strings

    def _at(self, id: int) -> int:
        index = id - self._first_id
        at = self._starts.word(index) if index >= 0 else None
        if at is None:
            raise BtfError(f"the BTF has no type {id}")
        return at

    def _name(self, offset: int) -> str:
        if offset < self._first_name:
            assert self.base
            return self.base._name(offset)
        start = self._header.strings + offset - self._first_name
        end = self.data.find(b"\0", start, self._header.strings_end)
        if end < 0:
            raise BtfError(f"the BTF has no string at {offset}")
        return self.data[start:end].decode("utf-8", "backslashreplace")

    def _offsets_of(self, name: str, end: bytes = b"\0") -> Iterator[int]:
        """Offsets at which the string sections hold the name, whole; or, with another `end`, strings that begin so."""
        if self.base:
            yield from self.base._offsets_of(name, end)
        needle, header = b"\0" + name.encode() + end, self._header
        at = self.data.find(needle, header.strings, header.strings_end)
        while at >= 0:
            yield at + 1 - header.strings + self._first_name
            at = self.data.find(needle, at + 1, header.strings_end)

    def _mentions(self, offset: int) -> Iterator[int]:
        """Words of the type section that hold the number."""
        types, (start, end) = self._types, self._types_at
        needle = offset.to_bytes(4, sys.byteorder)
        at = types.find(needle, start, end)
        while at >= 0:
            if (at - start) % 4 == 0:
                yield (at - start) // 4
            at = types.find(needle, at + 1, end)

    # --- names -------------------------------------------------------------------------------

    def kind(self, id: int) -> str:
        """The kind of a type, in lower case ("struct", "func_proto"); "void" for 0."""
        if id == 0:
            return "void"
        if id < self._first_id and self.base:
            return self.base.kind(id)
        number = self._words[self._at(id) + 1] >> 24 & 0x7F
        return KINDS[number] if number < len(KINDS) else f"kind {number}"

    def name(self, id: int) -> str:
        """The name of a type; "" when it has none."""
        if id == 0:
            return ""
        if id < self._first_id and self.base:
            return self.base.name(id)
        return self._name(self._words[self._at(id)])

    def row(self, id: int) -> tuple[int, str, int, int, tuple[int, ...], bool]:
        """One type as it stands there: kind, name, vlen, size or type, the words that follow, kind_flag."""
        if id == 0:
            return 0, "void", 0, 0, (), False
        if id < self._first_id and self.base:
            return self.base.row(id)
        at, words = self._at(id), self._words
        info = words[at + 1]
        more = tuple(words[at + 3 : self._starts.word(id - self._first_id + 1)])
        return info >> 24 & 0x1F, self._name(words[at]), info & 0xFFFF, words[at + 2], more, bool(info >> 31)

    def text(self, offset: int) -> str:
        """The string at an offset of the string section, such as a member's name in `row`."""
        return self._name(offset)

    def find(self, kind: str, name: str) -> int | None:
        """The id of the first type of that kind and name, this BTF before its base, or None."""
        if not name:
            return None
        if (kind, name) not in self._found:
            found = self._find(kind, name)
            if found is None and kind == "enum":
                found = self._find("enum64", name)
            if found is None and self.base:
                found = self.base.find(kind, name)
            self._found[kind, name] = found
        return self._found[kind, name]

    def _find(self, kind: str, name: str) -> int | None:
        table = self._tables.get(kind)
        if table is not None:
            return table.get(name)
        self._scans[kind] = self._scans.get(kind, 0) + 1
        if self._scans[kind] > _SCANS:
            return self._table(kind).get(name)
        wanted, words = KINDS.index(kind), self._words
        for offset in self._offsets_of(name):
            for at in self._mentions(offset):
                if at + 2 < len(words) and words[at + 1] >> 24 & 0x7F == wanted:
                    index = self._starts.index(at)
                    if self._starts.word(index) == at:
                        return self._first_id + index
        return None

    @cached_property
    def _kinds(self) -> bytes:
        """For each word, the top byte of the word after it: where a type starts, its kind and kind_flag."""
        start, end = self._types_at
        return self._types[start + (7 if sys.byteorder == "little" else 4) : end : 4]

    def _ids(self, kind: int) -> list[int]:
        kinds, kinds_of = self._kinds, (kind, kind | 0x80)
        return [i for i, at in enumerate(self._starts.all(), self._first_id) if kinds[at] in kinds_of]

    def _table(self, kind: str) -> dict[str, int]:
        """Name → id of the first type of a kind that has it."""
        if kind not in self._tables:
            words, starts, first = self._words, self._starts.all(), self._first_id
            ids = self._ids(KINDS.index(kind))
            ids.reverse()
            found = dict(zip([words[starts[id - first]] for id in ids], ids, strict=True))
            named, others = self._spellings(found)
            table = dict(zip(named, map(found.__getitem__, sorted(found.keys() - others)), strict=True))
            for name, id in [(self._name(offset), found[offset]) for offset in others if offset]:
                table[name] = min(id, table.get(name, id))
            self._tables[kind] = table
        return self._tables[kind]

    def _spellings(self, offsets: Iterable[int]) -> tuple[list[str], set[int]]:
        """Strings of this BTF at offsets, each once, in their order; and other offsets: of the base, in mid-string.

        In a copy of the strings, what stands before each of them is marked: so one `split` finds them all.
        """
        header, before, others = self._header, -1 - self._first_name, set[int]()
        strings = bytearray(memoryview(self.data)[header.strings : header.strings_end])
        if _MARK in strings:
            return [], set(offsets)
        end = len(strings)
        for offset in offsets:
            at = offset + before
            if 0 <= at < end and strings[at] <= _MARK:
                strings[at] = _MARK
            else:
                others.add(offset)
        marked = strings.decode("utf-8", "backslashreplace").split(chr(_MARK))[1:]
        return [text.partition("\0")[0] for text in marked], others

    def names(self, kind: str) -> list[str]:
        """All names that types of a kind have, sorted, each once; the base's are not among them."""
        table = self._table(kind)
        return sorted({*table, *self._table("enum64")} if kind == "enum" else table)

    def names_after(self, kind: str, prefix: str) -> list[str]:
        """What follows a prefix in the names of types of a kind, sorted, each once; the base's are not among them."""
        words, kinds, number = self._words, self._kinds, KINDS.index(kind)
        wanted = set(self._offsets_of(prefix, b""))
        found = [words[at] for at in self._starts.all() if kinds[at] & 0x7F == number and words[at] in wanted]
        return sorted({self._name(offset)[len(prefix) :] for offset in found})

    @cached_property
    def function_names(self) -> frozenset[str]:
        """Names of all functions; the base's are not among them."""
        words, kinds = self._words, self._kinds
        names, others = self._spellings([words[at] for at in self._starts.all() if kinds[at] == FUNC])
        return frozenset(names).union(map(self._name, others)) - {""}

    def functions(self) -> list[str]:
        """Names of all functions, sorted."""
        return sorted(self.function_names)


class _Starts:
    """The word at which each type starts, in order of ids; looked for as far as somebody asks."""

    def __init__(self, words: Words, layout: dict[int, tuple[int, int]]) -> None:
        self._words, self._steps = words, _Steps(layout)
        self._found = array("I")
        self._next = 0  # where the next type starts

    def word(self, index: int) -> int | None:
        """Where the type of that index starts; None if there are not so many."""
        found = self._found
        while len(found) <= index and self._more(0):
            pass
        return found[index] if index < len(found) else None

    def index(self, word: int) -> int:
        """Which type the word belongs to."""
        self._more(word + 1)
        return bisect_right(self._found, word) - 1

    def all(self) -> array[int]:
        """Every start."""
        self._more(len(self._words))
        return self._found

    def _more(self, until: int) -> bool:
        """Go on to a word, and somewhat further; whether there was anything left. BtfError for a type cut off."""
        words, steps, at, end = self._words, self._steps, self._next, len(self._words) - 2
        if at >= end or 0 < until <= at:
            return at < end
        append, stop = self._found.append, min(end, max(until, at + _STRIDE))
        while at < stop:
            append(at)
            at += steps[words[at + 1]]
        self._next = at
        if at >= end and at != len(words):
            raise BtfError("the BTF's type section ends within a type")
        return True


class _Steps(dict[int, int]):
    """info word → words that the type takes; computed once for each of the few distinct ones."""

    def __init__(self, layout: dict[int, tuple[int, int]]) -> None:
        super().__init__()
        self.layout = layout

    def __missing__(self, info: int) -> int:
        kind, count = info >> 24 & 0x7F, info & 0xFFFFFF
        if 0 < kind <= ENUM64:
            once, each = WORDS.get(kind, 0), WORDS_EACH.get(kind, 0)
        elif kind in self.layout:
            once, each = self.layout[kind]
        else:
            raise BtfError(f"the BTF has types of kind {kind}, which this version does not know")
        words = self[info] = 3 + once + each * count
        return words


def contents(path: str) -> Data:
    """A file's bytes; the kernel's own are mapped where it lets us (6.16 and later). OSError if it cannot be read."""
    with open(path, "rb", buffering=0) as file:
        if path.startswith(_KERNELS):  # any other may get shorter while we look at it
            with suppress(OSError, ValueError):
                size = os.fstat(file.fileno()).st_size
                return mmap.mmap(file.fileno(), size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
        return file.read()


def check(data: Data) -> None:
    """BtfError for bytes that do not begin as BTF, or are too few for its sections."""
    _read_header(data)


def _read_header(data: Data) -> _Header:
    """Sections of a BTF file; checks that they lie within it."""
    if len(data) < 24 or data[:2] not in (b"\x9f\xeb", b"\xeb\x9f"):
        raise BtfError("this is not BTF: it does not start with the number 0xeb9f")
    order: Literal["little", "big"] = "little" if data[:2] == b"\x9f\xeb" else "big"
    version = data[2]
    numbers = [int.from_bytes(data[at : at + 4], order) for at in range(4, 32, 4)]
    header, types, types_len, strings, strings_len = numbers[:5]
    if version != 1:
        raise BtfError(f"BTF version {version} is not known, only 1")
    types, strings = types + header, strings + header
    if max(types + types_len, strings + strings_len) > len(data) or types_len % 4:
        raise BtfError("the BTF is cut off or damaged: its sections reach beyond its end")
    layout = _read_layout(data, header + numbers[5], numbers[6]) if header >= 32 else {}
    return _Header(types, types + types_len, strings, strings + strings_len, order != sys.byteorder, layout)


def _read_layout(data: Data, start: int, length: int) -> dict[int, tuple[int, int]]:
    """struct btf_layout rows {u8 info_sz, u8 elem_sz, u16 flags}, one a kind, in sizes of words."""
    rows = data[start : start + length]
    return {kind: (rows[at] // 4, rows[at + 1] // 4) for kind, at in enumerate(range(0, len(rows) - 3, 4))}
