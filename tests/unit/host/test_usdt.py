"""Static probes: notes of a made-up ELF file, and every form of operand that compilers write."""

from __future__ import annotations

import struct

import pytest

from pbt.arch import get
from pbt.host.elf import Elf, ElfError
from pbt.host.usdt import operand, probes, split

X86 = (
    ("-4@%eax", ("reg", 4, True, 0, "ax", "", 1)),
    ("8@%rdi", ("reg", 8, False, 0, "di", "", 1)),
    ("1@%bpl", ("reg", 1, False, 0, "bp", "", 1)),
    ("-2@%r12w", ("reg", 2, True, 0, "r12", "", 1)),
    ("-4@$5", ("const", 4, True, 5, "", "", 1)),
    ("-4@$-1", ("const", 4, True, -1, "", "", 1)),
    ("8@-24(%rbp)", ("mem", 8, False, -24, "bp", "", 1)),
    ("8@(%rsp)", ("mem", 8, False, 0, "sp", "", 1)),
    ("8@0x10(%rsp)", ("mem", 8, False, 16, "sp", "", 1)),
    ("4@8(%rdi,%rsi,4)", ("mem", 4, False, 8, "di", "si", 4)),
    ("4@(%rdi,%rsi)", ("mem", 4, False, 0, "di", "si", 1)),
    ("4@(,%rsi,8)", ("mem", 4, False, 0, "", "si", 8)),
    ("8@96(%rip)", ("mem", 8, False, 96, "ip", "", 1)),
    ("%rdx", ("reg", 8, False, 0, "dx", "", 1)),
    ("8f@%xmm0", ("", 8, False, 0, "", "", 1)),
    ("8@%xmm0", ("", 8, False, 0, "", "", 1)),
    ("8@name(%rip)", ("", 8, False, 0, "", "", 1)),
)
ARM = (
    ("-4@w3", ("reg", 4, True, 0, "x3", "", 1)),
    ("8@x21", ("reg", 8, False, 0, "x21", "", 1)),
    ("8@sp", ("reg", 8, False, 0, "sp", "", 1)),
    ("-4@7", ("const", 4, True, 7, "", "", 1)),
    ("8@[sp]", ("mem", 8, False, 0, "sp", "", 1)),
    ("8@[sp,16]", ("mem", 8, False, 16, "sp", "", 1)),
    ("-4@[x29,-20]", ("mem", 4, True, -20, "x29", "", 1)),
    ("8@[x1,x2]", ("mem", 8, False, 0, "x1", "x2", 1)),
    ("8@[x1,x2,lsl#3]", ("mem", 8, False, 0, "x1", "x2", 8)),
    ("8@d0", ("", 8, False, 0, "", "", 1)),
)


@pytest.mark.parametrize(
    ("machine", "text", "found"),
    [("x86_64", *row) for row in X86] + [("aarch64", *row) for row in ARM],
)
def test_operand(machine, text, found):
    made = operand(text, machine, get(machine).regs)
    assert tuple(made)[:-1] == found and made.text == text


def test_other_machines_are_not_guessed_at():
    assert operand("8@%r2", "s390x", get("s390x").regs).kind == ""


def test_arguments_are_split_at_blanks_outside_brackets():
    assert split("8@%rdi -4@8(%rbp, %rax, 4)  8@[sp, 16]") == ["8@%rdi", "-4@8(%rbp,%rax,4)", "8@[sp,16]"]
    assert split("") == []


def note(address, base, semaphore, *texts, owner=b"stapsdt\0"):
    content = struct.pack("<QQQ", address, base, semaphore) + b"".join(t.encode() + b"\0" for t in texts)
    padded = content + bytes(-len(content) % 4)
    return struct.pack("<III", len(owner), len(content), 3) + owner + padded


def elf_file(path, notes):
    """One segment at 0x400000 that holds the whole file, and the two sections."""
    names = b"\0.note.stapsdt\0.stapsdt.base\0.shstrtab\0"
    start = 64 + 56
    tables = start + len(notes) + len(names)
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, tables, 0, 64, 56, 1, 64, 4, 3)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, 0x400000, 0x400000, 0x10000, 0x10000, 0x1000)
    rows = (
        (0, 0, 0, 0, 0),
        (1, 7, 0, start, len(notes)),
        (15, 1, 0x405000, 0, 1),
        (29, 3, 0, start + len(notes), len(names)),
    )
    sections = b"".join(struct.pack("<IIQQQQIIQQ", n, t, 0, a, o, s, 0, 0, 1, 0) for n, t, a, o, s in rows)
    path.write_bytes(header + segment + notes + names + sections)
    return Elf(str(path))


def test_notes(tmp_path):
    notes = (
        note(0x401000, 0x405000, 0x402000, "app", "start", "8@%rdi -4@$3")
        + note(0x400F00, 0x404F00, 0, "app", "moved", "")
        + note(0x999999, 0x405000, 0, "app", "nowhere", "")
        + note(0x401000, 0x405000, 0, "other", "thing", "", owner=b"GNU\0")
    )
    moved, start = probes(elf_file(tmp_path / "x", notes))
    assert (start.provider, start.name, start.offset, start.semaphore) == ("app", "start", 0x1000, 0x2000)
    assert start.arguments == ("8@%rdi", "-4@$3")
    assert (moved.name, moved.offset, moved.semaphore) == ("moved", 0x1000, 0)


def test_a_damaged_note(tmp_path):
    content = struct.pack("<III", 8, 4, 3) + b"stapsdt\0" + bytes(4)
    with pytest.raises(ElfError, match="cut off"):
        probes(elf_file(tmp_path / "x", content))


def test_files_without_probes():
    assert probes(Elf("/bin/true")) == []
