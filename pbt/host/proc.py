"""Processes as /proc shows them: mappings, threads, command lines, and names for their addresses.

Source: proc(5); for code made at run time, tools/perf/Documentation/jit-interface.txt.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Sequence

from pbt.data import NamedTuple
from pbt.host.elf import Elf
from pbt.source import UsageError
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.dwarf.info import Frame


class Mapping(NamedTuple):
    """A range of addresses of a process: `offset` is that of `start` in the file, in bytes."""

    start: int
    end: int
    perms: str
    offset: int
    dev: str
    inode: int
    path: str  # "" when anonymous


class UserSymbol(NamedTuple):
    """The function that covers an address, how far into it, and the file (or map) that names it."""

    name: str
    offset: int
    module: str


def parse_maps(text: str) -> list[Mapping]:
    """The lines of a /proc/PID/maps file, in order of addresses."""
    found = []
    for line in text.splitlines():
        fields = line.split(None, 5)
        if len(fields) < 5:
            continue
        start, _, end = fields[0].partition("-")
        path = fields[5] if len(fields) > 5 else ""
        numbers = int(start, 16), int(end, 16)
        found.append(Mapping(*numbers, fields[1], int(fields[2], 16), fields[3], int(fields[4]), path))
    return found


def maps(pid: int, proc: str = "/proc") -> list[Mapping]:
    """The mappings of a process; [] when it is gone or may not be looked at."""
    return parse_maps(_read(f"{proc}/{pid}/maps").decode("utf-8", "surrogateescape"))


def threads(pid: int, proc: str = "/proc") -> list[int]:
    """Ids of a process's threads, sorted; [] when it is gone."""
    try:
        return sorted(int(name) for name in os.listdir(f"{proc}/{pid}/task"))
    except OSError:
        return []


def comm(pid: int, proc: str = "/proc") -> str:
    """The short name of a process; "" when it is gone."""
    return _read(f"{proc}/{pid}/comm").rstrip(b"\n").decode("utf-8", "surrogateescape")


def inner_pid(pid: int, proc: str = "/proc") -> int:
    """The id that a process has in its own PID namespace; `pid` itself when that is not known."""
    for line in _read(f"{proc}/{pid}/status").decode("utf-8", "replace").splitlines():
        if line.startswith("NSpid:"):
            return int(line.split()[-1])
    return pid


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


class ElfFiles:
    """ELF files opened so far, by device and inode: many processes map the same few."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], tuple[Elf, ...]] = {}
        self._inside: dict[tuple[int, ...], tuple[Elf, ...]] = {}  # with the place in the archive

    def open(self, path: str, offset: int = 0) -> tuple[Elf, ...]:
        """The files to look for symbols in: a separate one with debugging information, then the file, or that
        part of it which the byte at `offset` belongs to, if it is an archive.

        () when there is no such file or it is not ELF.
        """
        try:
            status = os.stat(path)
        except OSError:
            return ()
        key = status.st_dev, status.st_ino
        if key not in self._known:
            self._known[key] = _open(path)
        return self._known[key] or (self._packed(path, offset, *key) if offset else ())

    def _packed(self, path: str, offset: int, *file: int) -> tuple[Elf, ...]:
        """A library that is run from an archive."""
        from pbt.host.archive import elf_of, member_at

        found = member_at(path, offset)
        if found is None:
            return ()
        key = (*file, found.offset)
        if key not in self._inside:
            try:
                self._inside[key] = (elf_of(found),)
            except (OSError, UsageError):
                self._inside[key] = ()
        return self._inside[key]


def _open(path: str) -> tuple[Elf, ...]:
    try:
        elf = Elf(path)
        debug = None if elf.section(".symtab") else elf.debug_file()
    except (OSError, UsageError):
        return ()
    try:
        separate = Elf(debug) if debug else None
    except (OSError, UsageError):
        separate = None
    return (separate, elf) if separate and separate.build_id == elf.build_id else (elf,)


class UserSymbols:
    """Names for the addresses of one process.

    Mappings are read when first asked for, and again when an address lies in none of them: a
    process may have loaded libraries since. What was read stays known after the process is gone.
    """

    def __init__(self, pid: int, files: ElfFiles | None = None, proc: str = "/proc") -> None:
        self.pid = pid
        self._files = files or ElfFiles()
        self._proc = proc
        self._maps: list[Mapping] = []
        self._starts: list[int] = []
        self._jit: tuple[list[int], list[tuple[int, str]]] | None = None
        self._cache: dict[int, UserSymbol | None] = {}

    def load(self) -> bool:
        """Read the mappings now; False when the process is gone or may not be looked at."""
        found = maps(self.pid, self._proc)
        if found:
            self._maps, self._starts = found, [m.start for m in found]
        return bool(found)

    def mapping(self, address: int) -> Mapping | None:
        """The mapping that an address lies in."""
        found = self._lookup(address)
        if found is None and self.load():
            found = self._lookup(address)
        return found

    def _lookup(self, address: int) -> Mapping | None:
        at = bisect_right(self._starts, address) - 1
        return self._maps[at] if at >= 0 and address < self._maps[at].end else None

    def symbol(self, address: int) -> UserSymbol | None:
        """The function that an address belongs to; None when nothing names one."""
        if address not in self._cache:
            self._cache[address] = self._symbol(address)
        return self._cache[address]

    def _symbol(self, address: int) -> UserSymbol | None:
        mapping = self.mapping(address)
        if mapping is None:
            return None
        if not mapping.inode:
            return self._jit_symbol(address)
        elfs, virtual = self._in_files(mapping, address)
        function = next(filter(None, (elf.function_at(virtual) for elf in elfs)), None)
        return UserSymbol(function.name, virtual - function.address, mapping.path) if function else None

    def _in_files(self, mapping: Mapping, address: int) -> tuple[tuple[Elf, ...], int]:
        """The files that know of an address, and what it is in them; () and 0 where none does."""
        elfs = self._elfs(mapping)
        virtual = elfs[-1].address(address - mapping.start + mapping.offset - elfs[-1].base) if elfs else None
        return (elfs, virtual) if virtual is not None else ((), 0)

    def frames(self, address: int, returning: bool) -> Sequence[Frame]:
        """The functions that run at an address by debugging information, the innermost first, all but the last
        inlined; () without such. `returning`: the address is where a call returns to, and that call is meant.

        DwarfError when the information is damaged.
        """
        mapping = self.mapping(address)
        if mapping is None or not mapping.inode:
            return ()
        from pbt.host.debuginfo import debug_info

        elfs, virtual = self._in_files(mapping, address)
        info = debug_info(elfs[-1]) if elfs else None
        return info.frames(virtual - returning) if info is not None else ()

    def _elfs(self, mapping: Mapping) -> tuple[Elf, ...]:
        """The file behind a mapping, as the process sees or saw it; through map_files when it was replaced."""
        for path in (f"{self._proc}/{self.pid}/root{mapping.path}", mapping.path):
            try:
                if os.stat(path).st_ino == mapping.inode:
                    return self._files.open(path, mapping.offset)
            except OSError:
                continue
        path = f"{self._proc}/{self.pid}/map_files/{mapping.start:x}-{mapping.end:x}"
        return self._files.open(path, mapping.offset)

    def _jit_symbol(self, address: int) -> UserSymbol | None:
        if self._jit is None:
            self._jit = self._read_jit()
        starts, rows = self._jit
        at = bisect_right(starts, address) - 1
        if at < 0 or address >= starts[at] + rows[at][0]:
            return None
        return UserSymbol(rows[at][1], address - starts[at], "[perf map]")

    def _read_jit(self) -> tuple[list[int], list[tuple[int, str]]]:
        """Lines "start size name" that a runtime wrote about the code it generated, numbers hexadecimal."""
        inner = inner_pid(self.pid, self._proc)
        text = _read(f"{self._proc}/{self.pid}/root/tmp/perf-{inner}.map").decode("utf-8", "replace")
        rows = []
        for line in text.splitlines():
            parts = line.split(None, 2)
            try:
                rows.append((int(parts[0], 16), int(parts[1], 16), parts[2]))
            except (IndexError, ValueError):
                continue
        rows.sort()
        return [start for start, _, _ in rows], [(size, name) for _, size, name in rows]
