"""Tracepoints as tracefs describes them: which exist, their ids, and the layout of their records.

A `format` file spells each field in C and adds its offset, size and sign. The columns decide what
a number is; the spelling says what is behind pointers and which numbers are enums.
Source: Documentation/trace/events.rst, section "Event formats".
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from functools import cached_property

from pbt.data import NamedTuple
from pbt.host.cint import alignment, basic, integer, strip_qualifiers
from pbt.source import UsageError
from pbt.sys.hints import hint
from pbt.types import BOOL, CHAR, I32, U8, U16, U32, VOID, Array, Member, Pointer, Space, Struct, Type
from pbt.typing import Literal, Protocol

_NAME_CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"
_DATA_LOC: dict[str, Literal["abs", "rel"]] = {"__data_loc": "abs", "__rel_loc": "rel"}
_NO_FUNCTION = "__ftrace_invalid_address__"
_REGISTER = (1, 2, 4, 8)
_NARROW: dict[str, Type] = {  # parameters of system calls that are smaller than a register
    "umode_t": U16, "mode_t": U32, "uid_t": U32, "gid_t": U32, "qid_t": U32, "pid_t": I32, "key_t": I32,
    "mqd_t": I32, "clockid_t": I32, "timer_t": I32, "key_serial_t": I32, "rwf_t": I32,
    "old_uid_t": U16, "old_gid_t": U16,
}  # fmt: skip


class FormatError(UsageError):
    """A `format` file with a line that cannot be read."""


class Types(Protocol):
    """Who knows the structs, enums and typedefs that fields mention: `Btf`, or a script's own."""

    def lookup(self, spelling: str) -> Type | None: ...


class Field(NamedTuple):
    """One line of a format file; `text` is the declaration as it stands there."""

    text: str  # "char comm[16]"
    ctype: str  # "char[16]"
    name: str
    offset: int  # bytes from the start of the record
    size: int  # bytes
    signed: bool


class Format:
    """A tracepoint's id and the fields of its record.

    `fields` are its own; `common` those that every tracepoint has. `struct` has the own fields as
    members, at their offsets from the start of the record.
    """

    def __init__(
        self,
        name: str,
        id: int,
        fields: Sequence[Field],
        common: Sequence[Field],
        category: str,
        types: Types | None,
    ) -> None:
        self.name, self.id, self.category = name, id, category
        self.fields, self.common = tuple(fields), tuple(common)
        self._types = types

    @property
    def declarations(self) -> tuple[str, ...]:
        """The own fields as the file spells them: "char comm[16]", "void * skbaddr"."""
        return tuple(field.text for field in self.fields)

    @cached_property
    def struct(self) -> Struct:
        """The record as a type; members are worked out when asked for."""
        end = max((f.offset + f.size for f in (*self.common, *self.fields)), default=0)
        return Struct(f"struct _tracepoint_{self.category}_{self.name}", end, 8, self._members)

    def _members(self) -> tuple[Member, ...]:
        syscall = self.category == "syscalls" and self.name.startswith("sys_enter_")
        return tuple(_member(field, self._types, syscall) for field in self.fields)


def parse_format(text: str, types: Types | None = None, category: str = "") -> Format:
    """Read a `format` file.

    `types` resolves what fields point to and the enums they hold; without it, structs behind
    pointers have size 0. In `category` "syscalls" pointers lead to the user's memory. Raises
    FormatError naming the line that could not be read.
    """
    name, id = "", -1
    fields: list[Field] = []
    common: list[Field] = []
    for number, line in enumerate(text.splitlines(), 1):
        key, colon, value = line.strip().partition(":")
        if key == "name" and colon:
            name = value.strip()
        elif key == "ID" and colon:
            if not value.strip().isdigit():
                raise FormatError(f"tracepoint format, line {number}: the ID is not a number: {line.strip()}")
            id = int(value)
        elif key == "field" and colon:
            field = _field(value, number)
            (common if field.name.startswith("common_") else fields).append(field)
        elif key == "print fmt":
            break
    if not name or id < 0:
        raise FormatError(f"tracepoint format, line 1: no {'ID' if name else 'name'} in the file")
    return Format(name, id, fields, common, category, types)


def _field(line: str, number: int) -> Field:
    """The columns of one field: "char comm[16]; offset:8; size:16; signed:0;"."""
    text, _, rest = line.partition(";")
    columns = {key.strip(): value for key, _, value in (part.partition(":") for part in rest.split(";"))}
    ctype, name = _declaration(text.strip())
    try:
        offset, size, signed = int(columns["offset"]), int(columns["size"]), int(columns.get("signed", 0))
    except (KeyError, ValueError):
        raise FormatError(
            f"tracepoint format, line {number}: no offset and size: field:{line.strip()}"
        ) from None
    if not name or not ctype:
        raise FormatError(f"tracepoint format, line {number}: no type and name: field:{line.strip()}")
    return Field(text.strip(), ctype, name, offset, size, bool(signed))


def _declaration(text: str) -> tuple[str, str]:
    """ "char comm[16]" → ("char[16]", "comm"): the type, what follows the name included, and the name."""
    suffix = ""
    while text.endswith("]") and "[" in text:
        cut = text.rindex("[")
        text, suffix = text[:cut].rstrip(), text[cut:] + suffix
    head = text.rstrip(_NAME_CHARACTERS)
    return head.rstrip() + suffix, text[len(head) :]


def _member(field: Field, types: Types | None, syscall: bool) -> Member:
    spelling = strip_qualifiers(field.ctype)
    first, _, rest = spelling.partition(" ")
    if first in _DATA_LOC:
        element = _resolve(rest.partition("[")[0].strip(), 0, field.signed, types, "kernel")
        return Member(
            field.name, Array(element, 0), field.offset, data_loc=_DATA_LOC[first], ctype=field.ctype
        )
    if syscall and (narrow := _NARROW.get(spelling) or basic(spelling)) and 0 < narrow.size < field.size:
        # the slot holds the whole register, of which the system call sees only its parameter's low bytes
        at = field.offset if sys.byteorder == "little" else field.offset + field.size - narrow.size
        return Member(field.name, narrow, at, ctype=field.ctype)
    type_ = _resolve(spelling, field.size, field.signed, types, "user" if syscall else "kernel")
    return Member(field.name, type_, field.offset, ctype=field.ctype)


def _resolve(spelling: str, size: int, signed: bool, types: Types | None, space: Space) -> Type:
    """The type of a field; `size` 0 where the spelling alone must tell."""
    spelling = spelling.strip()
    if spelling.endswith("*"):
        return Pointer(_resolve(spelling[:-1], 0, False, types, space), space)
    if spelling.endswith("]"):
        return _array(spelling, size, signed, types, space)
    plain = basic(spelling)
    if plain is not None:
        return plain if not size or (plain is BOOL and size == 1) else integer(size, signed)
    aggregate = spelling.startswith(("struct ", "union "))
    if types is not None and (aggregate or not size or size not in _REGISTER or spelling.startswith("enum ")):
        known = types.lookup(spelling)
        if known is not None and size in (0, known.size):
            return known
    if aggregate:
        return Struct(spelling, size, alignment(size))
    if size in _REGISTER:
        return integer(size, signed)
    return Array(U8, size) if size else VOID


def _array(spelling: str, size: int, signed: bool, types: Types | None, space: Space) -> Type:
    """An array as many elements long as fit in its size: the count may be the name of a constant."""
    base, _, rest = spelling.partition("[")
    count, _, inner = rest.partition("]")
    number = int(count) if count.strip().isdigit() else 0
    each = size // number if number and size % number == 0 else 0
    text = basic(base) == CHAR and not inner
    element = CHAR if text else _resolve(base.strip() + inner, each, signed, types, space)
    return Array(element, size // element.size) if element.size else Array(U8, size)


class Tracefs:
    """A tracefs folder, mounted or copied."""

    def __init__(self, root: str, traceable: str = "") -> None:
        """`traceable`: a file that stands for available_filter_functions."""
        self.root, self._list = root, traceable
        self._formats: dict[tuple[str, str, bool], Format | None] = {}

    def path(self, *parts: str) -> str:
        """The path of something under the folder."""
        return os.path.join(self.root, *parts)

    def events(self, category: str = "*", event: str = "*") -> list[tuple[str, str]]:
        """(category, event) of the tracepoints whose names match; wildcards * ? [..]; sorted.

        Raises UsageError when the folder cannot be read.
        """
        if not _has_wildcard(category) and not _has_wildcard(event):
            return [(category, event)] if self._exists(category, event) else []
        return [
            (found, name)
            for found in self._matching("events", category)
            if found != "ftrace"  # records of the tracers, to which nothing attaches
            for name in self._matching(f"events/{found}", event)
            if self._exists(found, name)
        ]

    def _exists(self, category: str, event: str) -> bool:
        return (
            _is_name(category)
            and _is_name(event)
            and os.path.exists(self.path("events", category, event, "format"))
        )

    def _matching(self, folder: str, pattern: str) -> list[str]:
        if not _has_wildcard(pattern):
            return [pattern] if _is_name(pattern) and _is_there(self.path(folder, pattern)) else []
        try:
            with os.scandir(self.path(folder)) as entries:
                names = [entry.name for entry in entries if entry.is_dir()]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _unreadable(self.path(folder), error) from None
        if pattern == "*":
            return sorted(names)
        from fnmatch import fnmatchcase  # which imports `re`

        return sorted(name for name in names if fnmatchcase(name, pattern))

    def format(self, category: str, event: str, types: Types | None = None) -> Format | None:
        """The format of a tracepoint, `types` resolving what it mentions; None if there is no such one.

        Raises FormatError for a file that makes no sense, UsageError for one that may not be read.
        """
        key = category, event, types is not None
        if key not in self._formats:
            text = self._read(category, event, "format")
            self._formats[key] = None if text is None else parse_format(text, types, category)
        return self._formats[key]

    def id(self, category: str, event: str) -> int | None:
        """The number that perf_event_open wants for a tracepoint; None if there is no such one."""
        text = self._read(category, event, "id")
        if text is not None and text.strip().isdigit():
            return int(text)
        format = self.format(category, event)
        return None if format is None else format.id

    def _read(self, category: str, event: str, name: str) -> str | None:
        if not _is_name(category) or not _is_name(event):
            return None
        path = self.path("events", category, event, name)
        try:
            with open(path, "rb", buffering=0) as file:
                return file.read().decode("utf-8", "replace")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise _unreadable(path, error) from None

    @cached_property
    def _traced(self) -> Mapping[str, frozenset[str]]:
        from pbt.host.kallsyms import by_module

        try:
            with open(self._list or self.path("available_filter_functions"), "rb") as file:
                text = file.read().decode("utf-8", "replace")
        except OSError as error:
            if self._list:
                raise UsageError(f"cannot read {self._list}: {error.strerror}") from None
            return {}
        return by_module(text, " [", _traceable if _NO_FUNCTION in text else str.splitlines)

    def traced(self) -> Mapping[str, frozenset[str]]:
        """Names of the functions that can be traced, by their module; "vmlinux" is the kernel's own.

        {} when unreadable.
        """
        return self._traced

    def functions(self) -> list[str]:
        """Names of the functions that can be traced, sorted, each once; [] when unreadable."""
        return sorted(frozenset().union(*self._traced.values()))

    @cached_property
    def forbidden(self) -> frozenset[str]:
        """Functions that kprobes refuse, from the list that debugfs has of them; none when unreadable."""
        for folder in ("../debug", ".."):  # tracefs beside debugfs, or in it
            try:
                with open(self.path(folder, "kprobes/blacklist"), "rb") as file:
                    lines = file.read().decode("utf-8", "replace").splitlines()
            except OSError:
                continue
            return frozenset(line.partition("\t")[2].strip() for line in lines)
        return frozenset()


def _traceable(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith(_NO_FUNCTION)]


def _has_wildcard(pattern: str) -> bool:
    return any(c in pattern for c in "*?[")


def _is_name(part: str) -> bool:
    return bool(part) and "/" not in part and part not in (".", "..") and "\0" not in part


def _is_there(path: str) -> bool:
    """Whether there is such a folder; UsageError where that cannot be found out."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise _unreadable(path, error) from None
    return True


def _unreadable(path: str, error: OSError) -> UsageError:
    if isinstance(error, PermissionError):
        meaning = "run as root, or with CAP_DAC_READ_SEARCH besides CAP_BPF and CAP_PERFMON"
    else:
        meaning = hint(error.errno or 0)
    return UsageError(f"cannot read {path}: {error.strerror}", meaning)
