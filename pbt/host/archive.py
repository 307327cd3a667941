"""Libraries in archives, as Android's loader runs them: `app.apk!/lib/x86_64/libx.so`.

They are stored uncompressed in a zip file; processes map them from the archive itself, and there the kernel
looks for their code.
"""

from __future__ import annotations

import os

from pbt.data import NamedTuple
from pbt.feature import PlaceError
from pbt.host.elf import Elf

MARK = "!/"
_LOCAL = 30  # bytes of the header before a member, without its name and extra field (APPNOTE.TXT 4.3.7)
_PAGE = 4096  # the smallest that Linux has


class Member(NamedTuple):
    """A file in an archive: its name, and where its bytes are."""

    archive: str
    name: str
    offset: int
    size: int

    @property
    def path(self) -> str:
        return self.archive + MARK + self.name


def _members(archive: str) -> list[Member]:
    """The files of an archive that are stored at the beginning of a page. PlaceError when it is damaged."""
    return [member for member, problem in _judged(archive) if not problem]


def _judged(archive: str) -> list[tuple[Member, str]]:
    """All files of an archive, each with the reason why no process runs it from there ("" if it may)."""
    import struct
    import zipfile

    found = []
    try:
        with zipfile.ZipFile(archive) as file, open(archive, "rb") as raw:
            for info in file.infolist():
                raw.seek(info.header_offset)
                name, extra = struct.unpack_from("<HH", raw.read(_LOCAL), 26)
                at = info.header_offset + _LOCAL + name + extra
                packed = info.compress_type != zipfile.ZIP_STORED
                problem = (
                    "compressed"
                    if packed
                    else f"not at the beginning of a page (byte {at})"
                    if at % _PAGE
                    else ""
                )
                found.append((Member(archive, info.filename, at, info.file_size), problem))
    except (zipfile.BadZipFile, struct.error, ValueError, NotImplementedError, EOFError, OSError) as error:
        raise PlaceError(f"{archive} cannot be read as an archive: {error}") from None
    return found


def member(path: str) -> Member | None:
    """The file in an archive that a path means; None if it means none. PlaceError where no process could run it."""
    archive, mark, name = path.partition(MARK)
    if not mark or not os.path.isfile(archive) or os.path.exists(path):
        return None
    for each, problem in _judged(archive):
        if each.name == name:
            if problem:
                hint = "libraries run from an archive are stored in it uncompressed and aligned (zipalign -p)"
                raise PlaceError(f"{name} is {problem} in {archive}: no process runs it from there", hint)
            return each
    return None


def member_at(archive: str, offset: int) -> Member | None:
    """The file that a byte of an archive belongs to."""
    try:
        return next((m for m in _members(archive) if m.offset <= offset < m.offset + m.size), None)
    except PlaceError:
        return None


def open_elf(path: str) -> Elf:
    """The program or library of a path, also in an archive. OSError, ElfError and PlaceError as it may be."""
    found = member(path)
    return Elf(path) if found is None else elf_of(found)


def elf_of(found: Member) -> Elf:
    """A library in an archive."""
    with open(found.archive, "rb") as file:
        file.seek(found.offset)
        return Elf(found.path, file.read(found.size), found.offset)
