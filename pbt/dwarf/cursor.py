"""Reading numbers and texts from the bytes of a section, never past their end."""

from __future__ import annotations

import struct

from pbt.source import UsageError

_MOST_LEB = 24  # bytes of one LEB128 number: ten hold 64 bits, and some tools pad


class DwarfError(UsageError):
    """Debugging information that contradicts itself or the standard; the message names the file."""


class Section:
    """The bytes of one section, and what to say of the file that they are from.

    Reading may go over the same bytes again and again where damaged tables point at one another, so what is
    read of a section is counted: `spend` raises when it is many times the section's size.
    """

    __slots__ = ("_left", "data", "name", "order", "path")

    def __init__(self, path: str, name: str, data: bytes, order: str = "<") -> None:
        self.path, self.name, self.data, self.order = path, name, data, order
        self._left = 4 * len(data) + (1 << 20)

    def damaged(self, what: str) -> DwarfError:
        return DwarfError(f"{self.path}: damaged debugging information in {self.name}: {what}")

    def spend(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise self.damaged("its parts overlap")

    def text(self, at: int) -> str:
        """The NUL-terminated text at an offset."""
        end = self.data.find(b"\0", at) if at <= len(self.data) else -1
        if end < 0:
            raise self.damaged(f"no text at byte {at}")
        return self.data[at:end].decode("utf-8", "backslashreplace")

    def uint(self, at: int, size: int) -> int:
        """An unsigned number of `size` bytes at an offset."""
        if at + size > len(self.data):
            raise self.damaged(f"nothing at byte {at}")
        return int.from_bytes(self.data[at : at + size], "little" if self.order == "<" else "big")


class Cursor:
    """A place in a section that moves as it is read. DwarfError where the section ends too early."""

    __slots__ = ("_u16", "_u32", "_u64", "at", "data", "section")

    def __init__(self, section: Section, at: int = 0) -> None:
        if at > len(section.data):
            raise section.damaged(f"nothing at byte {at}")
        self.section, self.data, self.at = section, section.data, at
        self._u16, self._u32, self._u64 = (struct.Struct(section.order + code).unpack_from for code in "HIQ")

    def _cut(self) -> DwarfError:
        return self.section.damaged(f"it ends in the middle of what began before byte {self.at}")

    def u8(self) -> int:
        try:
            value = self.data[self.at]
        except IndexError:
            raise self._cut() from None
        self.at += 1
        return value

    def u16(self) -> int:
        try:
            (value,) = self._u16(self.data, self.at)
        except struct.error:
            raise self._cut() from None
        self.at += 2
        return int(value)

    def u32(self) -> int:
        try:
            (value,) = self._u32(self.data, self.at)
        except struct.error:
            raise self._cut() from None
        self.at += 4
        return int(value)

    def u64(self) -> int:
        try:
            (value,) = self._u64(self.data, self.at)
        except struct.error:
            raise self._cut() from None
        self.at += 8
        return int(value)

    def uint(self, size: int) -> int:
        """An unsigned number of any size in bytes."""
        if size == 8:
            return self.u64()
        if size == 4:
            return self.u32()
        return int.from_bytes(self.take(size), "little" if self.section.order == "<" else "big")

    def uleb(self) -> int:
        """An unsigned LEB128 number (7.6)."""
        value = shift = 0
        while True:
            byte = self.u8()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift >= 7 * _MOST_LEB:
                raise self.section.damaged(f"a number without end before byte {self.at}")

    def sleb(self) -> int:
        """A signed LEB128 number (7.6)."""
        start = self.at
        value = self.uleb()
        bits = 7 * (self.at - start)
        return value - (1 << bits) if value >> (bits - 1) else value

    def take(self, size: int) -> bytes:
        at = self.at
        if at + size > len(self.data):
            raise self._cut()
        self.at = at + size
        return self.data[at : at + size]

    def text(self) -> str:
        """A NUL-terminated text."""
        end = self.data.find(b"\0", self.at)
        if end < 0:
            raise self._cut()
        text = self.data[self.at : end].decode("utf-8", "backslashreplace")
        self.at = end + 1
        return text

    def length(self) -> tuple[int, int]:
        """(where the unit that begins here ends, the size of its offsets: 4 or 8), from its length (7.4)."""
        size, word = self.u32(), 4
        if size == 0xFFFFFFFF:
            size, word = self.u64(), 8
        end = self.at + size
        if (size >= 0xFFFFFFF0 and word == 4) or end > len(self.data):
            raise self.section.damaged(f"the unit at byte {self.at} is longer than the section")
        return end, word
