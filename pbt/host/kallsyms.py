"""Kernel symbols: addresses of names and names of addresses, from a file such as /proc/kallsyms.

Each line is "address type name", addresses in 16 hexadecimal digits, so lines sort like addresses
and none needs to be taken apart before somebody asks for it. Without CAP_SYSLOG (or under
kernel.kptr_restrict) the kernel writes zeros for all addresses: then nothing has an address.
"""

from __future__ import annotations

import io
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cached_property
from operator import itemgetter

from pbt.data import NamedTuple
from pbt.host import keptsyms
from pbt.regex import Regex
from pbt.source import KernelError
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import BinaryIO

    from pbt.sys.ksym import Namer

KERNEL = "vmlinux"
_PIECE = 1 << 15  # bytes
_FARTHEST = 1 << 24  # bytes after its start that a symbol is believed to reach
_DIGITS = 16
_TYPE = 17  # where the letter is in a line
_HIDDEN = b"0" * _DIGITS
_ADDRESS = itemgetter(slice(_DIGITS))  # of a line
_FUNCTION = Regex(" [tTwW] (?!__pfx_)(.+)")  # that prefix is for the padding before a function
_OWN = Regex(rb"(?m)^([0-9a-f]{16}) [tTwW] ([^\t\n]+)$")
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

    def __init__(
        self, path: str = "/proc/kallsyms", keeps: bool = False, namer: Callable[[], Namer] | None = None
    ) -> None:
        """`keeps`: it is the running kernel's, whose own symbols are kept from start to start (see keptsyms).

        `namer` makes what names addresses as the kernel does (pbt/sys/ksym.py), so that the file need not be read.
        """
        self.path, self._keeps, self._namer = path, keeps, namer
        self._file = _Reading(lambda: open(path, "rb"))  # noqa: SIM115
        self._beginning = _Beginning(self._file)

    @cached_property
    def _kept(self) -> bytes:
        return keptsyms.find(self.path) if self._keeps else b""

    @cached_property
    def _kept_beginning(self) -> _Beginning:
        kept = io.BytesIO(self._kept)
        kept.readline()
        return _Beginning(_Reading(lambda: kept))

    @cached_property
    def _data(self) -> bytes:
        return b"".join(self._file.all())

    @cached_property
    def _lines(self) -> list[bytes]:
        """Lines sorted by address; those of one address stay in the file's order."""
        return sorted(self._data.splitlines(), key=_ADDRESS)

    def keep(self) -> None:
        """Keep the kernel's own symbols for later starts, as far as they were read."""
        texts = self._file.texts
        if not self._keeps or not texts or keptsyms.is_whole(self._kept):
            return
        text = b"".join(texts)
        other = text.find(b"\t")
        if other >= 0:
            text = text[: text.rfind(b"\n", 0, other) + 1]
        whole = other >= 0 or self._file.ended
        if whole or len(text) > len(self._kept):
            keptsyms.keep(text, whole)

    def address(self, name: str) -> int:
        """Where the symbol is, the first if there are several; 0 if it is absent or hidden."""
        data, at = self._find(name)
        if at < 0:
            return 0
        start = data.rfind(b"\n", 0, at) + 1
        return int(data[start:at].partition(b" ")[0] or b"0", 16)

    def addresses(self, names: Collection[str]) -> dict[str, list[int]]:
        """Where the kernel's own functions of these names are, all of them: static ones may share a name.

        Names without an address, those that are hidden among them, are left out.
        """
        wanted = {name.encode() for name in names}
        data = self._kept if keptsyms.is_whole(self._kept) else self._data
        rows = _OWN.findall(data) if len(wanted) > 1 else _rows(data, *wanted)
        found: dict[str, list[int]] = {}
        for digits, name in rows:
            if name in wanted and digits != _HIDDEN:
                found.setdefault(name.decode(), []).append(int(digits, 16))
        return found

    def has(self, name: str) -> bool:
        """Whether there may be such a symbol: it is there, or the file cannot be read."""
        return self._find(name)[1] >= 0 or not self._data

    def _find(self, name: str) -> tuple[bytes, int]:
        """Some lines, and where among them the blank before the name is, -1 if nowhere."""
        if not name:
            return b"", -1
        needle = b" " + name.encode() + b"\n"
        at = self._kept.find(needle)
        if at >= 0:
            return self._kept, at
        at = self._data.find(needle)
        return self._data, self._data.find(needle[:-1] + b"\t") if at < 0 else at

    def symbol(self, address: int, code: bool = False) -> Symbol | None:
        """The symbol that covers an address; None when no symbol is near below it.

        `code`: something ran there. Where the kernel itself knows no function then (a BPF program that is gone), the
        file could only tell what is beside it.
        """
        text = self._name(address) if self._name else ""
        if code and text.startswith("0x"):
            return None
        return _told(text) or self._listed(address)

    @cached_property
    def _name(self) -> Namer | None:
        try:
            return self._namer() if self._namer else None
        except KernelError:
            return None

    def close(self) -> None:
        """Free what names addresses; it is made anew for whoever asks later."""
        namer: Namer | None = self.__dict__.pop("_name", None)
        if namer is not None:
            namer.close()

    def _listed(self, address: int) -> Symbol | None:
        for beginning in (self._kept_beginning, self._beginning):
            if lines := beginning.around(address):
                return _covering(lines, address)
        near = (*self._beginning.last(address), *_group(self._beginning.rest, address))
        return _covering(sorted(near, key=_ADDRESS), address)

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


def _told(text: str) -> Symbol | None:
    """What the kernel's `%pS` says: "name+0xOFFSET/0xSIZE", and for one of a module, " [MODULE]"."""
    place, _, module = text.partition(" ")
    name, found, numbers = place.rpartition("+0x")
    return Symbol(name, int(numbers.partition("/")[0], 16), module.strip("[]")) if found else None


def _rows(data: bytes, name: bytes = b"") -> list[tuple[bytes, bytes]]:
    """(address, name) of the functions that have a name."""
    import re

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


def _group(lines: Sequence[bytes], address: int) -> Sequence[bytes]:
    """The lines of the greatest address up to this one, of lines sorted by theirs."""
    end = bisect_right(lines, b"%016x\xff" % address)
    return lines[bisect_left(lines, lines[end - 1][:_DIGITS]) : end] if end else ()


class _Reading:
    """A file in pieces of whole lines, read as far as somebody asks; lines of one address are not parted.

    Nothing if it cannot be read.
    """

    def __init__(self, opened: Callable[[], BinaryIO]) -> None:
        self.texts: list[bytes] = []
        self.ended = False
        self._pieces = _pieces(opened)

    def more(self) -> bytes:
        """The next piece, b"" at the end."""
        piece = next(self._pieces, b"")
        self.ended = not piece
        if piece:
            self.texts.append(piece)
        return piece

    def all(self) -> list[bytes]:
        """All pieces."""
        while self.more():
            pass
        return self.texts


class _Beginning:
    """The kernel's own symbols, which come first and sorted, of a file that is read only as far as that takes.

    Functions come before data, and making the text of the rest takes the kernel longer than all that is done here.
    """

    def __init__(self, file: _Reading) -> None:
        self._file = file
        self._firsts: list[bytes] = []  # the address of the first line of each piece, in digits
        self._over = False

    @cached_property
    def rest(self) -> Sequence[bytes]:
        """Lines of modules, BPF programs and what else the kernel got later, sorted by address."""
        while self._grow():
            pass
        return sorted(b"".join(self._file.all()[len(self._firsts) :]).splitlines(), key=_ADDRESS)

    def last(self, address: int) -> list[bytes]:
        """The lines of the greatest address up to this one, of what was read."""
        digits = b"%016x" % address
        at = bisect_right(self._firsts, digits) - 1
        return _last(self._file.texts[at], digits) if at >= 0 else []

    def around(self, address: int) -> Sequence[bytes]:
        """The lines of the greatest address up to this one; () where only the whole file can tell."""
        digits = b"%016x" % address
        while not self._firsts or self._firsts[-1] <= digits:
            if self._over or not self._grow():
                self._over = True
                return ()
        return self.last(address)

    def _grow(self) -> bool:
        """Take the next piece, if it is one of the kernel itself."""
        known, texts = len(self._firsts), self._file.texts
        piece = texts[known] if known < len(texts) else self._file.more()
        if not piece or b"\t" in piece or (known and piece[:_DIGITS] < self._firsts[-1]):
            return False
        self._firsts.append(piece[:_DIGITS])
        return True


def _last(piece: bytes, digits: bytes) -> list[bytes]:
    """The lines with the greatest address that is not greater than `digits`, of whole lines sorted by address."""

    def address(at: int) -> bytes:
        start = piece.rfind(b"\n", 0, at) + 1
        return piece[start : start + _DIGITS]

    end = bisect_right(range(len(piece)), digits, key=address)  # where the first line that is greater begins
    return piece[piece.find(address(end - 1)) : end].splitlines()


def _pieces(opened: Callable[[], BinaryIO]) -> Iterator[bytes]:
    try:
        with opened() as file:
            rest = b""
            while block := file.read(_PIECE):
                text = rest + block
                last = text.rfind(b"\n", 0, text.rfind(b"\n")) + 1  # where the last whole line begins
                cut = text.find(b"\n" + text[last : last + _DIGITS]) + 1
                rest = text[cut:]
                if cut:
                    yield text[:cut]
            if rest:
                yield rest
    except OSError:
        return
