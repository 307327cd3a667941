"""ELF files: sections, segments, function symbols, build ids; and where a library's or a program's file is.

Symbol tables are unpacked in one go and names are cut out only when asked for. Nothing beyond the
file itself is consulted. Source: the System V ABI, chapters 4 and 5; elf(5); ld.so(8).
"""

from __future__ import annotations

import mmap
import os
import struct
from bisect import bisect_right
from collections.abc import Callable, Iterator
from functools import cached_property

from pbt.data import NamedTuple
from pbt.source import UsageError

_PT_LOAD, _PT_NOTE = 1, 4
_PF_X = 1
_SHT_SYMTAB, _SHT_NOTE, _SHT_NOBITS, _SHT_DYNSYM = 2, 7, 8, 11
_STT_FUNC, _STT_GNU_IFUNC = 2, 10
_NT_GNU_BUILD_ID = 3
_READ_WHOLE = 64 << 20  # bytes

EM = {"i386": 3, "ppc64le": 21, "s390x": 22, "armv7l": 40, "x86_64": 62, "aarch64": 183, "riscv64": 243}

# by word size: file header after e_ident, section header, segment header, symbol
_HEADERS = {8: "HHIQQQIHHHHHH", 4: "HHIIIIIHHHHHH"}
_SECTIONS = {8: "IIQQQQIIQQ", 4: "IIIIIIIIII"}
_SEGMENTS = {8: "IIQQQQQQ", 4: "IIIIIIII"}
_SYMBOLS = {8: "IBBHQQ", 4: "IIIBBH"}


class ElfError(UsageError):
    """A file that is not ELF or is damaged."""


class Section(NamedTuple):
    """A section: where it will be in memory and where it is in the file, in bytes."""

    name: str
    type: int
    address: int
    offset: int
    size: int
    link: int
    entry: int
    info: int = 0
    flags: int = 0


class Segment(NamedTuple):
    """A segment: `size` bytes of the file at `offset` go to `address`."""

    type: int
    flags: int
    offset: int
    address: int
    size: int


class Function(NamedTuple):
    """A function symbol: name, virtual address and size in bytes."""

    name: str
    address: int
    size: int


def _preference(function: Function) -> tuple[int, bool, int, int, str]:
    """By address; of several names for one place the plainest: "malloc" before "__GI___libc_malloc"."""
    name = function.name
    return function.address, not function.size, len(name) - len(name.lstrip("_")), len(name), name


def _contents(path: str) -> bytes | mmap.mmap:
    """A file's bytes, read whole: a mapped file that is cut off while in use kills the reader.

    Only very large files are mapped nevertheless.
    """
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size <= _READ_WHOLE:
            return file.read()
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


class Elf:
    """An ELF file. OSError when it cannot be read, ElfError when it is not ELF.

    `data`: its bytes, if they were read already; then `path` is for messages alone. `base`: how many bytes
    stand before them in the file that processes map.
    """

    def __init__(self, path: str, data: bytes | None = None, base: int = 0) -> None:
        self.path, self.base = path, base
        self.data = _contents(path) if data is None else data
        ident = self.data[:16]
        if len(ident) < 16 or ident[:4] != b"\x7fELF" or ident[4] not in (1, 2) or ident[5] not in (1, 2):
            raise ElfError(f"{path} is not an ELF file")
        self.word = 8 if ident[4] == 2 else 4
        self.order = "<" if ident[5] == 1 else ">"
        fields = self._unpack(_HEADERS[self.word], 16)
        self.type, self.machine, _, self.entry, self._phoff, self._shoff = fields[:6]
        self._phentsize, self._phnum, self._shentsize, self._shnum, self._shstrndx = fields[8:13]

    def _unpack(self, code: str, at: int) -> tuple[int, ...]:
        try:
            return struct.unpack_from(self.order + code, self.data, at)
        except (struct.error, OverflowError):
            raise ElfError(f"{self.path} is cut off: nothing at byte {at}") from None

    @cached_property
    def sections(self) -> tuple[Section, ...]:
        """All sections, in the order of the file; () when it was stripped of them."""
        if not self._shoff or not self._shentsize:
            return ()
        code = _SECTIONS[self.word]
        first = self._unpack(code, self._shoff)
        count, names = self._shnum or first[5], first[6] if self._shstrndx == 0xFFFF else self._shstrndx
        if self._shoff + count * self._shentsize > len(self.data):
            raise ElfError(f"{self.path} is cut off: its section table reaches beyond its end")
        rows = [self._unpack(code, self._shoff + i * self._shentsize) for i in range(count)]
        start = rows[names][4] if names < len(rows) else len(self.data)
        return tuple(
            Section(self._text(start + r[0]), r[1], r[3], r[4], r[5], r[6], r[9], r[7], r[2]) for r in rows
        )

    @cached_property
    def segments(self) -> tuple[Segment, ...]:
        """All segments, in the order of the file."""
        found = []
        for i in range(self._phnum):
            row = self._unpack(_SEGMENTS[self.word], self._phoff + i * self._phentsize)
            if self.word == 8:
                found.append(Segment(row[0], row[1], row[2], row[3], row[5]))
            else:
                found.append(Segment(row[0], row[6], row[1], row[2], row[4]))
        return tuple(found)

    def _text(self, at: int) -> str:
        end = self.data.find(b"\0", at)
        return self.data[at:end].decode("utf-8", "backslashreplace") if end >= 0 else ""

    def section(self, name: str) -> Section | None:
        """The first section of that name."""
        return next((s for s in self.sections if s.name == name), None)

    def read(self, section: Section) -> bytes:
        """The bytes of a section; b"" for one that takes no room in the file."""
        return (
            b"" if section.type == _SHT_NOBITS else self.data[section.offset : section.offset + section.size]
        )

    # --- symbols -----------------------------------------------------------------------------

    def _tables(self) -> Iterator[tuple[Section, bytes]]:
        """Symbol tables, the full one first, each with its string table."""
        for type_ in (_SHT_SYMTAB, _SHT_DYNSYM):
            for section in self.sections:
                if section.type == type_ and section.link < len(self.sections):
                    yield section, self.read(self.sections[section.link])

    def _symbols(self, section: Section) -> Iterator[tuple[int, int, int, int, int]]:
        """(name, info, section index, address, size) of each symbol."""
        row = struct.Struct(self.order + _SYMBOLS[self.word])
        data = self.read(section)
        data = data[: len(data) - len(data) % row.size]
        if self.word == 8:
            for name, info, _, index, value, size in row.iter_unpack(data):
                yield name, info, index, value, size
        else:
            for name, value, size, info, _, index in row.iter_unpack(data):
                yield name, info, index, value, size

    @cached_property
    def _functions(self) -> tuple[Function, ...]:
        thumb = self.machine == EM["armv7l"]  # there, bit 0 of an address says "Thumb code"
        found: dict[str, Function] = {}
        for section, strings in self._tables():
            for name, info, index, address, size in self._symbols(section):
                if index and address and info & 0xF in (_STT_FUNC, _STT_GNU_IFUNC):
                    text = strings[name : strings.find(b"\0", name)].decode("utf-8", "backslashreplace")
                    if text not in found:
                        found[text] = Function(text, address & ~1 if thumb else address, size)
        return tuple(found.values())

    def functions(self) -> tuple[Function, ...]:
        """Functions that the file defines, each name once, .symtab before .dynsym."""
        return self._functions

    @cached_property
    def _by_name(self) -> dict[str, Function]:
        return {function.name: function for function in self._functions}

    def symbol(self, name: str) -> tuple[int, int] | None:
        """Virtual address and size of the function or object `name`; None if the file defines none."""
        if "_functions" in self.__dict__ and name in self._by_name:
            return self._by_name[name][1:]
        for section, strings in self._tables():
            found = self._search(section, strings, name.encode(errors="surrogateescape"))
            if found:
                return found
        return None

    def _search(self, section: Section, strings: bytes, name: bytes) -> tuple[int, int] | None:
        """One symbol, by its name's place in the string table: a name may also be the tail of another."""
        places, at = set(), (b"\0" + strings).find(name + b"\0") if name else -1
        text = b"\0" + strings
        while at >= 0:
            places.add(at - 1)
            at = text.find(name + b"\0", at + 1)
        for place, info, index, address, size in self._symbols(section) if places else ():
            if place in places and index and address:
                odd = self.machine == EM["armv7l"] and info & 0xF == _STT_FUNC
                return address & ~1 if odd else address, size
        return None

    @cached_property
    def _sorted(self) -> tuple[list[int], list[Function]]:
        order = sorted(self._functions, key=_preference)
        return [f.address for f in order], order

    def function_at(self, address: int) -> Function | None:
        """The function that covers a virtual address; one of size 0 reaches to the next."""
        addresses, order = self._sorted
        at = bisect_right(addresses, address) - 1
        while at > 0 and addresses[at - 1] == addresses[at]:
            at -= 1
        if at < 0:
            return None
        found = order[at]
        return found if not found.size or address < found.address + found.size else None

    # --- places ------------------------------------------------------------------------------

    def offset(self, address: int) -> int | None:
        """Where in the file the byte at a virtual address stands; None outside of the loaded segments."""
        for s in self.segments:
            if s.type == _PT_LOAD and s.address <= address < s.address + s.size:
                return address - s.address + s.offset
        return None

    def is_code(self, address: int) -> bool:
        """Whether a virtual address lies in a segment that is loaded to be executed."""
        return any(
            s.type == _PT_LOAD and s.flags & _PF_X and s.address <= address < s.address + s.size
            for s in self.segments
        )

    def address(self, offset: int) -> int | None:
        """The virtual address of a byte of the file; None outside of the loaded segments."""
        for s in self.segments:
            if s.type == _PT_LOAD and s.offset <= offset < s.offset + s.size:
                return offset - s.offset + s.address
        return None

    @property
    def build_id(self) -> str:
        """The build id in hexadecimal; "" when there is none."""
        notes = [(s.offset, s.size) for s in self.segments if s.type == _PT_NOTE]
        notes += [(s.offset, s.size) for s in self.sections if s.type == _SHT_NOTE]
        for start, size in notes:
            for owner, kind, content in self.notes(self.data[start : start + size]):
                if owner == "GNU" and kind == _NT_GNU_BUILD_ID:
                    return content.hex()
        return ""

    def notes(self, data: bytes) -> Iterator[tuple[str, int, bytes]]:
        """(owner, type, content) of each note in the bytes of a note section."""
        at = 0
        while at + 12 <= len(data):
            name_size, size, kind = struct.unpack_from(self.order + "III", data, at)
            name = data[at + 12 : at + 12 + name_size].rstrip(b"\0").decode("ascii", "replace")
            at += 12 + (name_size + 3 & ~3)
            yield name, kind, data[at : at + size]
            at += size + 3 & ~3

    @property
    def debuglink(self) -> str:
        """The name of the file that holds the debugging information, "" when none is named."""
        section = self.section(".gnu_debuglink")
        return self.read(section).partition(b"\0")[0].decode("utf-8", "replace") if section else ""

    def debug_file(self) -> str | None:
        """The separate file with symbols and debugging information, where distributions put it."""
        folder, id, link = os.path.dirname(os.path.realpath(self.path)), self.build_id, self.debuglink
        places = [f"/usr/lib/debug/.build-id/{id[:2]}/{id[2:]}.debug"] if id else []
        if link:
            places += [f"{folder}/{link}", f"{folder}/.debug/{link}", f"/usr/lib/debug{folder}/{link}"]
        return next((p for p in places if os.path.isfile(p) and p != os.path.realpath(self.path)), None)


# --- finding files ----------------------------------------------------------------------------

_CACHE_MAGIC = b"glibc-ld.so.cache1.1"
_FOLDERS = ("/lib", "/usr/lib", "/lib64", "/usr/lib64", "/usr/local/lib")


def library_cache(path: str = "/etc/ld.so.cache") -> dict[str, str]:
    """What the dynamic linker knows: "libc.so.6" → path; {} when the file is missing or unknown."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError:
        return {}
    start = data.find(_CACHE_MAGIC)  # an old-style table may come first
    if start < 0 or len(data) < start + 48:
        return {}
    (count,) = struct.unpack_from("=I", data, start + 20)
    entries = data[start + 48 : start + 48 + 24 * count]
    found: dict[str, str] = {}
    for _, key, value, _, _ in struct.iter_unpack("=iIIIQ", entries[: len(entries) // 24 * 24]):
        found.setdefault(_string(data, start + key), _string(data, start + value))
    return found


def _string(data: bytes, at: int) -> str:
    return data[at : data.find(b"\0", at)].decode("utf-8", "replace")


def _version(name: str) -> tuple[int, ...]:
    """ "libc.so.6" → (6,), for the newest to win; a name that is just "libc.so" comes last."""
    tail = name.partition(".so.")[2]
    return tuple(int(part) for part in tail.split(".") if part.isdigit())


def find_library(name: str, root: str = "") -> str | None:
    """The file of a shared library: "libc", "c", "libc.so" or "libc.so.6"; None when there is none.

    `root` is put before every folder looked in, for processes with another root directory.
    """
    stem = name if name.startswith("lib") else f"lib{name}"
    wanted = (name, stem) if ".so" in name else ()
    prefix = stem if stem.endswith(".so") else f"{stem}.so"

    def fits(file: str) -> bool:
        return file in wanted or file == prefix or (".so." not in name and file.startswith(prefix + "."))

    cache = {file: path for file, path in library_cache(f"{root}/etc/ld.so.cache").items() if fits(file)}
    for file in sorted(cache, key=_version, reverse=True):
        if _is_elf(root + cache[file]):
            return root + cache[file]
    return _find_in_folders(fits, root)


def _find_in_folders(fits: Callable[[str], bool], root: str) -> str | None:
    """The same without a cache, as on systems with another libc: also one folder below, for multiarch."""
    for base in (root + folder for folder in _FOLDERS):
        below = [os.path.join(base, sub) for sub in _listing(base) if sub.endswith(("-gnu", "-musl"))]
        for folder in (base, *below):
            for file in sorted(filter(fits, _listing(folder)), key=_version, reverse=True):
                if _is_elf(os.path.join(folder, file)):
                    return os.path.join(folder, file)
    return None


def _listing(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _is_elf(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(4) == b"\x7fELF"
    except OSError:
        return False


def find_program(name: str, root: str = "") -> str | None:
    """The file of a program: a path, or a name that stands in one of the folders of $PATH."""
    if "/" in name:
        return root + name if os.path.isfile(root + name) else None
    for folder in os.environ.get("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin").split(":"):
        path = f"{root}{folder}/{name}"
        if folder and os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None
