"""Where the debugging information of a program or library is: in its own file, or in one beside it.

Sections may be compressed (SHF_COMPRESSED, the System V ABI, chapter 4; before it `.zdebug_*`).
"""

from __future__ import annotations

import struct
from functools import lru_cache

from pbt.dwarf.cursor import DwarfError
from pbt.dwarf.info import DebugInfo
from pbt.host.elf import Elf
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.host.elf import Section

_SHF_COMPRESSED = 0x800
_ELFCOMPRESS_ZLIB = 1
MOST = 1 << 29  # bytes of one unpacked section
_BEST = 1040  # times that deflate shrinks anything at most


def _unpacked(path: str, name: str, data: bytes, size: int) -> bytes:
    """Deflated bytes that become `size` bytes, no more than that."""
    import zlib

    if size > MOST or size > _BEST * len(data) + 64:
        raise DwarfError(f"{path}: section {name} claims to be {size} bytes large when it is unpacked")
    try:
        return zlib.decompressobj().decompress(data, size) if size else b""
    except zlib.error as error:
        raise DwarfError(f"{path}: section {name} cannot be unpacked: {error}") from None


def _plain(elf: Elf, section: Section) -> bytes:
    """The bytes of a section, unpacked where it is compressed."""
    data = elf.read(section)
    if section.flags & _SHF_COMPRESSED:
        code = elf.order + ("IIQQ" if elf.word == 8 else "III")
        head = struct.calcsize(code)
        if len(data) < head:
            raise DwarfError(f"{elf.path}: section {section.name} is too short to be compressed")
        kind, *_, size, _ = struct.unpack_from(code, data)
        if kind != _ELFCOMPRESS_ZLIB:
            raise DwarfError(
                f"{elf.path}: section {section.name} is compressed in a way that is not known here"
            )
        return _unpacked(elf.path, section.name, data[head:], size)
    if section.name.startswith(".z") and data[:4] == b"ZLIB":
        return _unpacked(elf.path, section.name, data[12:], int.from_bytes(data[4:12], "big"))
    return data


def of_elf(elf: Elf) -> DebugInfo | None:
    """The debugging information that a file itself has; None when it has none."""

    def contents(name: str) -> bytes:
        found = elf.section(name) or elf.section(f".z{name[1:]}")
        return _plain(elf, found) if found is not None else b""

    if elf.section(".debug_info") is None and elf.section(".zdebug_info") is None:
        return None
    return DebugInfo(elf.path, contents, elf.order)


@lru_cache(maxsize=64)
def debug_info(elf: Elf) -> DebugInfo | None:
    """The debugging information of a program or library, from wherever it is; None when there is none."""
    return of_elf(elf) or _beside(elf)


def _beside(elf: Elf) -> DebugInfo | None:
    """That of the separate file, if it belongs to this very build."""
    path = elf.debug_file()
    try:
        other = Elf(path) if path else None
    except OSError:
        return None
    return of_elf(other) if other is not None and other.build_id == elf.build_id else None
