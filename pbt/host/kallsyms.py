"""Kernel symbols: addresses of names and names of addresses, from a file such as /proc/kallsyms.

Each line is "address type name", addresses in 16 hexadecimal digits, so lines sort like addresses
and none needs to be taken apart before somebody asks for it. Without CAP_SYSLOG (or under
kernel.kptr_restrict) the kernel writes zeros for all addresses: then nothing has an address.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cached_property
from operator import itemgetter

from pbt.data import NamedTuple

KERNEL = "vmlinux"
_PIECE = 1 << 16  # bytes
_FARTHEST = 1 << 24  # bytes after its start that a symbol is believed to reach
_DIGITS = 16
_TYPE = 17  # where the letter is in a line
_HIDDEN = b"0" * _DIGITS
_ADDRESS = itemgetter(slice(_DIGITS))  # of a line
_FUNCTION = re.compile(" [tTwW] (?!__pfx_)(.+)")  # that prefix is for the padding before a function
_OWN = re.compile(rb"^([0-9a-f]{16}) [tTwW] ([^\t\n]+)$", re.MULTILINE)
_MADE_UP = 0xFFFF_FFFF_8100_0000


def by_module(
    text: str, separator: str, lines: Callable[[str], list[str]] = str.splitlines
) -> Mapping[str, frozenset[str]]:
    """Names by module, from lines "name" (of the kernel itself, "vmlinux") and "name", `separator`, "module]".

    `lines` takes a text apart. Lines before the first that names a module, nearly all, are not looked at one by one.
    """
    first = text.find(separator)
    own = text.rfind("\n", 0, first) + 1 if first >= 0 else len(text)
    names = {KERNEL: frozenset(filter(None, lines(text[:own])))}
    found: dict[str, set[str]] = {}
    for line in filter(None, lines(text[own:])):
        name, _, module = line.partition(separator)
        found.setdefault(module.rstrip("]") or KERNEL, set()).add(name)
    for module, others in found.items():
        names[module] = names.get(module, frozenset()) | others
    return {module: some for module, some in names.items() if some}


class Symbol(NamedTuple):
    """A kernel symbol: `offset` is how far into it the address lies, `module` "" for the kernel itself."""

    name: str
    offset: int
    module: str


class Kallsyms:
    """The symbols in a file of the form of /proc/kallsyms; an unreadable file has none."""

    def __init__(self, path: str = "/proc/kallsyms") -> None:
        self.path = path
        self._beginning = _Beginning(path)

    @cached_property
    def _data(self) -> bytes:
        try:
            with open(self.path, "rb") as file:
                return file.read()
        except OSError:
            return b""

    @cached_property
    def _lines(self) -> list[bytes]:
        """Lines sorted by address; those of one address stay in the file's order."""
        return sorted(self._data.splitlines(), key=_ADDRESS)

    def address(self, name: str) -> int:
        """Where the symbol is, the first if there are several; 0 if it is absent or hidden."""
        at, data = self._find(name), self._data
        if at < 0:
            return 0
        start = data.rfind(b"\n", 0, at) + 1
        return int(data[start:at].partition(b" ")[0] or b"0", 16)

    def addresses(self, names: Collection[str]) -> dict[str, list[int]]:
        """Where the kernel's own functions of these names are, all of them: static ones may share a name.

        Names without an address, those that are hidden among them, are left out.
        """
        wanted = {name.encode() for name in names}
        rows = _OWN.findall(self._data) if len(wanted) > 1 else _rows(self._data, *wanted)
        found: dict[str, list[int]] = {}
        for digits, name in rows:
            if name in wanted and digits != _HIDDEN:
                found.setdefault(name.decode(), []).append(int(digits, 16))
        return found

    def has(self, name: str) -> bool:
        """Whether there may be such a symbol: it is there, or the file cannot be read."""
        return not self._data or self._find(name) >= 0

    def _find(self, name: str) -> int:
        """Where in the file the blank before the name is, -1 if nowhere."""
        needle = b" " + name.encode() + b"\n"
        at = self._data.find(needle) if name else -1
        return self._data.find(needle[:-1] + b"\t") if name and at < 0 else at

    def symbol(self, address: int) -> Symbol | None:
        """The symbol that covers an address; None when no symbol is near below it."""
        return _covering(self._beginning.around(address), address) or _covering(self._lines, address)

    def size(self, address: int) -> int:
        """Bytes from a symbol's address to the next symbol, what fills them up included; 0 if there is none."""
        at = bisect_right(self._lines, b"%016x\xff" % address)
        return int(self._lines[at][:_DIGITS], 16) - address if at < len(self._lines) else 0

    def functions(self) -> Mapping[str, frozenset[str]]:
        """Names of all functions by their module; "vmlinux" is the kernel's own."""
        return self._functions

    @cached_property
    def _functions(self) -> Mapping[str, frozenset[str]]:
        return by_module(self._data.decode("utf-8", "replace"), "\t[", _FUNCTION.findall)

    def names(self) -> list[str]:
        """Names of all functions, sorted, each once."""
        return sorted(frozenset().union(*self.functions().values()))

    def anonymous(self) -> bytes:
        """The same file with made-up addresses in the same order: which symbols exist, not where they are."""
        rows, address, last = [], _MADE_UP - 16, b""
        for line in sorted(self._data.splitlines(), key=_ADDRESS):
            if line[:_DIGITS] != last or line[:_DIGITS] == b"0" * _DIGITS:
                address, last = address + 16, line[:_DIGITS]
            rows.append(b"%016x%s\n" % (address, line[_DIGITS:]))
        return b"".join(rows)


def _rows(data: bytes, name: bytes = b"") -> list[tuple[bytes, bytes]]:
    """(address, name) of the functions that have a name."""
    pattern = rb"^([0-9a-f]{16}) [tTwW] (%s)$" % re.escape(name)
    return re.findall(pattern, data, re.MULTILINE)


def _covering(lines: Sequence[bytes], address: int) -> Symbol | None:
    """The symbol that covers an address, of lines sorted by theirs."""
    at = bisect_right(lines, b"%016x\xff" % address) - 1  # behind all lines with this address
    while at >= 0 and lines[at][_TYPE] in b"aA":  # numbers, not places
        at -= 1
    if at < 0 or lines[at].startswith(_HIDDEN):
        return None
    digits, first = lines[at][:_DIGITS], at
    while first and lines[first - 1].startswith(digits):
        first -= 1
    same = [line for line in lines[first : at + 1] if line[_TYPE] not in b"aA"]
    line = next((text for text in same if text[_TYPE] in b"tTwW"), same[0])
    offset = address - int(digits, 16)
    if offset > _FARTHEST:
        return None
    name, _, module = line[19:].decode("utf-8", "replace").partition("\t")
    return Symbol(name, offset, module.strip("[]"))


class _Beginning:
    """The kernel's own symbols, which come first and sorted: read in pieces, as far as somebody asks.

    Functions come before data, and making the text of the rest takes the kernel longer than all that is done here.
    """

    def __init__(self, path: str) -> None:
        self._pieces = _pieces(path)
        self._firsts: list[bytes] = []  # the address of the first line of each piece, in digits
        self._texts: list[bytes] = []
        self._lines: dict[int, list[bytes]] = {}

    def around(self, address: int) -> Sequence[bytes]:
        """Lines before and behind an address, sorted; () where only the whole file can tell."""
        digits = b"%016x" % address
        while not self._firsts or self._firsts[-1] <= digits:
            piece = next(self._pieces, b"")
            if not piece or b"\t" in piece or (self._firsts and piece[:_DIGITS] < self._firsts[-1]):
                self._pieces = iter(())
                return ()
            self._firsts.append(piece[:_DIGITS])
            self._texts.append(piece)
        at = bisect_right(self._firsts, digits) - 1
        return self._piece(at) if at >= 0 else ()

    def _piece(self, at: int) -> Sequence[bytes]:
        if at not in self._lines:
            lines = self._texts[at].splitlines()
            self._lines[at] = lines if lines == sorted(lines, key=_ADDRESS) else []
        return self._lines[at]


def _pieces(path: str) -> Iterator[bytes]:
    """A file in pieces of whole lines; lines of one address are not parted. Nothing if it cannot be read."""
    try:
        with open(path, "rb") as file:
            rest = b""
            while block := file.read(_PIECE):
                text = rest + block
                last = text.rfind(b"\n", 0, text.rfind(b"\n")) + 1  # where the last whole line begins
                cut = text.find(b"\n" + text[last : last + _DIGITS]) + 1
                rest = text[cut:]
                yield text[:cut]
            yield rest
    except OSError:
        return
