"""Static probes of programs (USDT): where section .note.stapsdt says they are, and where their arguments are.

Source: the SystemTap project's description of user-space probes in ELF notes (note type 3, owner "stapsdt");
operands are in the syntax of the GNU assembler for the machine.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping

from pbt.data import NamedTuple
from pbt.host.elf import Elf, ElfError

_OWNER, _TYPE = "stapsdt", 3


class Operand(NamedTuple):
    """Where one argument is: `kind` "const" (the number `offset`), "reg" (the register), "mem" (what lies at
    register + other * scale + offset) or "" (not understood). `size` in bytes; registers are named as in the
    machine's table of pt_regs.
    """

    kind: str
    size: int
    signed: bool
    offset: int = 0
    register: str = ""
    other: str = ""
    scale: int = 1
    text: str = ""


class Probe(NamedTuple):
    """One place of a static probe; a probe may have several. `offset`: of its instruction in the file;
    `semaphore`: of its counter in the file, 0 if it has none."""

    provider: str
    name: str
    offset: int
    semaphore: int
    arguments: tuple[str, ...]


def probes(elf: Elf) -> list[Probe]:
    """All static probes of a file, sorted by name and place. ElfError for a damaged section."""
    section = elf.section(".note.stapsdt")
    if section is None:
        return []
    base = elf.section(".stapsdt.base")
    start = base.address if base is not None else 0
    notes = elf.notes(elf.read(section))
    found = (
        _probe(elf, content, start) for owner, kind, content in notes if (owner, kind) == (_OWNER, _TYPE)
    )
    return sorted(probe for probe in found if probe is not None)


def _probe(elf: Elf, content: bytes, start: int) -> Probe | None:
    """Addresses in a note hold for the base that it names: prelink moves the real one."""
    row = struct.Struct(elf.order + ("QQQ" if elf.word == 8 else "III"))
    if len(content) < row.size:
        raise ElfError(f"{elf.path}: a note of a static probe is cut off")
    address, base, semaphore = row.unpack_from(content)
    texts = content[row.size :].split(b"\0")[:3]
    if len(texts) < 3:
        raise ElfError(f"{elf.path}: a note of a static probe is cut off")
    moved = start - base if start and base else 0
    offset = elf.offset(address + moved)
    counter = elf.offset(semaphore + moved) if semaphore else 0
    if offset is None or counter is None:  # in no segment: nothing that runs
        return None
    provider, name, arguments = (text.decode("utf-8", "replace") for text in texts)
    near = tuple(_nearby(elf, argument, address + moved) for argument in split(arguments))
    return Probe(provider, name, offset, counter, near)


_BESIDE = re.compile(r"(?P<head>-?\d*@)(?P<symbol>[A-Za-z_.$][\w.$]*)(?P<more>[+-]\d+)?\(%rip\)")


def _nearby(elf: Elf, argument: str, address: int) -> str:
    """A variable by its name, `4@counter+8(%rip)` → its distance from the probe's own instruction."""
    found = _BESIDE.fullmatch(argument)
    place = elf.symbol(found["symbol"]) if found is not None else None
    if found is None or place is None:
        return argument
    return f"{found['head']}{place[0] + int(found['more'] or 0) - address}(%rip)"


def split(text: str) -> list[str]:
    """Arguments are separated by blanks; within brackets arm64 has blanks too."""
    found, depth, word = [], 0, ""
    for letter in text + " ":
        depth += (letter in "[(") - (letter in "])")
        if letter == " " and depth <= 0:
            if word:
                found.append(word)
            word = ""
        elif letter != " ":
            word += letter
    return found


# --- operands ---------------------------------------------------------------------------------


def operand(text: str, machine: str, registers: Mapping[str, int]) -> Operand:
    """`SIZE@PLACE`, the size negative for signed numbers; `registers`: the names that pt_regs has.

    The kind is "" where the place is not understood (floating-point registers, other machines).
    """
    size_text, at, place = text.partition("@")
    if not at:  # no size: that of a word
        size_text, place = "8", text
    size = abs(int(size_text)) if size_text.lstrip("-").isdigit() else 0
    read = _READERS.get(machine)
    if read is None or size not in (1, 2, 4, 8):
        return Operand("", size or 8, False, text=text)
    found = read(place, registers)
    if found is None:
        return Operand("", size, False, text=text)
    return found._replace(size=size, signed=size_text.startswith("-"), text=text)


_BARE = Operand("", 0, False)


def _number(text: str) -> int | None:
    try:
        return int(text, 0)
    except ValueError:
        return None


_NAMED = ("ax", "bx", "cx", "dx", "si", "di", "bp", "sp")
_WIDE = {  # x86-64: every name of a register → that of its 64 bits in pt_regs
    **{name: name for name in _NAMED},
    **{f"{letter}{name}": name for letter in "re" for name in _NAMED},
    **{f"{name}l": f"{name}x" for name in "abcd"},
    **{f"{name}l": name for name in _NAMED[4:]},
    **{f"r{n}{suffix}": f"r{n}" for n in range(8, 16) for suffix in ("", "d", "w", "b")},
    "rip": "ip",
}


def _x86_register(text: str, registers: Mapping[str, int]) -> str | None:
    name = _WIDE.get(text[1:]) if text.startswith("%") else None
    return name if name in registers else None


def _x86(place: str, registers: Mapping[str, int]) -> Operand | None:
    """`$5`, `%eax`, `-24(%rbp)`, `8(%rdi,%rsi,4)`; with %rip, a distance from the probe's instruction."""
    if place.startswith("$"):
        value = _number(place[1:])
        return None if value is None else _BARE._replace(kind="const", offset=value)
    if place.startswith("%"):
        name = _x86_register(place, registers)
        return None if name is None else _BARE._replace(kind="reg", register=name)
    text, bracket, inside = place.partition("(")
    offset = _number(text) if text else 0
    parts = inside.rstrip(")").split(",")
    names = [_x86_register(part, registers) if part else "" for part in parts[:2]]
    scale = _number(parts[2]) if len(parts) > 2 else 1
    if not bracket or offset is None or None in names or scale is None:
        return None
    base, index = str(names[0]), str(names[1]) if len(names) > 1 else ""
    return _BARE._replace(kind="mem", offset=offset, register=base, other=index, scale=scale)


def _arm_register(text: str, registers: Mapping[str, int]) -> str | None:
    name = f"x{text[1:]}" if text[:1] == "w" else text
    return name if name in registers else None


def _arm(place: str, registers: Mapping[str, int]) -> Operand | None:
    """`x0`, `w3`, `5`, `[sp]`, `[x1, 16]`, `[x1, x2]`, `[x1, x2, lsl 3]`."""
    value = _number(place.lstrip("#"))
    if value is not None:
        return _BARE._replace(kind="const", offset=value)
    if not place.startswith("["):
        name = _arm_register(place, registers)
        return None if name is None else _BARE._replace(kind="reg", register=name)
    base_text, *rest = place.strip("[]").split(",")
    base = _arm_register(base_text, registers)
    if base is None:
        return None
    offset = _number(rest[0].lstrip("#")) if len(rest) == 1 else 0 if not rest else None
    if offset is not None:
        return _BARE._replace(kind="mem", offset=offset, register=base)
    index = _arm_register(rest[0], registers)
    shift = _number(rest[1].removeprefix("lsl").lstrip("#")) if len(rest) > 1 else 0
    if index is None or shift is None or len(rest) > 2:
        return None
    return _BARE._replace(kind="mem", register=base, other=index, scale=1 << shift)


_READERS = {"x86_64": _x86, "aarch64": _arm}
