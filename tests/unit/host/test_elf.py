"""ELF files made by hand, and those of this machine."""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from pathlib import Path

import pytest

from pbt.host.elf import Elf, ElfError, Function, find_library, find_program, library_cache

SYMBOLS = (  # name, info, section, address, size
    ("main", 0x12, 1, 0x401010, 0x20), ("_main_alias", 0x22, 1, 0x401010, 0x20),
    ("counter", 0x11, 2, 0x402000, 8), ("imported", 0x12, 0, 0, 0), ("domain", 0x02, 1, 0x401040, 0),
)  # fmt: skip


def make(word: int = 8, order: str = "<", machine: int = 62) -> bytes:
    """An ELF file: a segment at address 0x401000, symbols, a build id, a debug link."""
    names = ["", ".text", ".symtab", ".strtab", ".shstrtab", ".note.gnu.build-id", ".gnu_debuglink"]
    strings, places = b"\0", {}
    for name, *_ in SYMBOLS:
        places[name] = len(strings)
        strings += name.encode() + b"\0"
    if word == 8:
        rows = [struct.pack(order + "IBBHQQ", places[n], i, 0, s, a, z) for n, i, s, a, z in SYMBOLS]
    else:
        rows = [struct.pack(order + "IIIBBH", places[n], a, z, i, 0, s) for n, i, s, a, z in SYMBOLS]
    symbols = bytes(len(rows[0])) + b"".join(rows)
    note = struct.pack(order + "III", 4, 4, 3) + b"GNU\0" + bytes.fromhex("deadbeef")
    shstr = b"".join(name.encode() + b"\0" for name in names)
    head = 64 if word == 8 else 52
    phsize = 56 if word == 8 else 32
    bodies = [b"", b"\x90" * 0x80, symbols, strings, shstr, note, b"x.debug\0\1\2\3\4"]
    start, offsets, blob = head + phsize, [], b""
    for body in bodies:
        offsets.append(start + len(blob))
        blob += body
    text = offsets[1]
    if word == 8:
        segment = struct.pack(order + "IIQQQQQQ", 1, 5, text, 0x401000, 0x401000, 0x80, 0x80, 4096)
    else:
        segment = struct.pack(order + "IIIIIIII", 1, text, 0x401000, 0x401000, 0x80, 0x80, 5, 4096)
    kinds = [0, 1, 2, 3, 3, 7, 1]
    sections, at = b"", 0
    for name, kind, offset, body in zip(names, kinds, offsets, bodies, strict=True):
        row = (
            at,
            kind,
            0,
            0x401000 if name == ".text" else 0,
            offset,
            len(body),
            3 if kind == 2 else 0,
            0,
            1,
            0,
        )
        sections += struct.pack(order + ("IIQQQQIIQQ" if word == 8 else "IIIIIIIIII"), *row)
        at += len(name) + 1
    table = head + phsize + len(blob)
    ident = b"\x7fELF" + bytes((word // 4, 1 if order == "<" else 2, 1)) + bytes(9)
    shsize = 64 if word == 8 else 40
    numbers = (2, machine, 1, 0x401010, head, table, 0, head, phsize, 1, shsize, len(names), 4)
    header = ident + struct.pack(order + ("HHIQQQIHHHHHH" if word == 8 else "HHIIIIIHHHHHH"), *numbers)
    return header + segment + blob + sections


@pytest.fixture(params=[(8, "<"), (8, ">"), (4, "<"), (4, ">")], ids=["64le", "64be", "32le", "32be"])
def elf(request: pytest.FixtureRequest, tmp_path: Path) -> Elf:
    path = tmp_path / "file"
    path.write_bytes(make(*request.param))
    return Elf(str(path))


def test_symbols(elf: Elf) -> None:
    assert elf.symbol("main") == (0x401010, 0x20) and elf.symbol("counter") == (0x402000, 8)
    assert elf.symbol("imported") is None and elf.symbol("absent") is None and elf.symbol("") is None
    assert {f.name for f in elf.functions()} == {"main", "_main_alias", "domain"}
    assert elf.function_at(0x401012) == Function("main", 0x401010, 0x20)
    assert elf.function_at(0x401031) is None and elf.function_at(0x400000) is None
    assert elf.function_at(0x401050) == Function("domain", 0x401040, 0)


def test_places(elf: Elf) -> None:
    text = elf.section(".text")
    assert text and text.size == 0x80 and elf.read(text) == b"\x90" * 0x80
    assert elf.offset(0x401010) == text.offset + 0x10 and elf.address(text.offset + 0x10) == 0x401010
    assert elf.offset(0x500000) is None and elf.address(1 << 40) is None
    assert elf.section(".absent") is None


def test_identity(elf: Elf) -> None:
    assert (elf.machine, elf.entry, elf.type) == (62, 0x401010, 2)
    assert elf.build_id == "deadbeef" and elf.debuglink == "x.debug" and elf.debug_file() is None


def test_thumb_bit(tmp_path: Path) -> None:
    path = tmp_path / "arm"
    path.write_bytes(make(4, "<", 40).replace(struct.pack("<I", 0x401040), struct.pack("<I", 0x401041)))
    assert Elf(str(path)).symbol("domain") == (0x401040, 0)


def test_damage(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for data in (b"", b"#!/bin/sh\n", b"\x7fELF", make()[:40]):
        path.write_bytes(data)
        with pytest.raises(ElfError):
            Elf(str(path))
    path.write_bytes(make()[:-100])
    with pytest.raises(ElfError):
        Elf(str(path)).functions()
    with pytest.raises(OSError, match="No such file"):
        Elf(str(tmp_path / "none"))


def test_separate_debug_file(tmp_path: Path) -> None:
    path, debug = tmp_path / "file", tmp_path / ".debug" / "x.debug"
    path.write_bytes(make())
    debug.parent.mkdir()
    debug.write_bytes(make())
    assert Elf(str(path)).debug_file() == str(debug)


def test_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "tool"
    program.write_bytes(make())
    monkeypatch.setenv("PATH", f"/nowhere:{tmp_path}")
    assert find_program("tool") is None  # not executable
    program.chmod(0o755)
    assert find_program("tool") == str(program) == find_program(str(program))
    assert find_program("absent") is None and find_program("/absent/tool") is None


def test_libraries_without_a_cache(tmp_path: Path) -> None:
    folder = tmp_path / "usr/lib/x86_64-linux-gnu"
    folder.mkdir(parents=True)
    for name in ("libthing.so.2", "libthing.so.10", "libthing.so.10.1-gdb.py", "libthingy.so.11"):
        (folder / name).write_bytes(make() if name[-1] != "y" else b"text")
    found = find_library("libthing", str(tmp_path))
    assert found == str(folder / "libthing.so.10") == find_library("thing", str(tmp_path))
    assert find_library("libthing.so.2", str(tmp_path)) == str(folder / "libthing.so.2")
    assert find_library("libnone", str(tmp_path)) is None


def test_library_cache(tmp_path: Path) -> None:
    strings = b"libz.so.1\0/lib/libz.so.1\0"
    start = 48 + 24
    entry = struct.pack("=iIIIQ", 3, start, start + 10, 0, 0)
    head = b"glibc-ld.so.cache1.1" + struct.pack("=II", 1, len(strings)) + bytes(20)
    path = tmp_path / "cache"
    path.write_bytes(head + entry + strings)
    assert library_cache(str(path)) == {"libz.so.1": "/lib/libz.so.1"}
    path.write_bytes(b"something else")
    assert library_cache(str(path)) == {} == library_cache(str(tmp_path / "none"))


@pytest.mark.skipif(sys.platform != "linux", reason="ELF")
def test_this_machine() -> None:
    path = find_library("libc")
    assert path and os.path.isfile(path)
    libc = Elf(path)
    symbol = libc.symbol("malloc")
    assert symbol and libc.offset(symbol[0]) and libc.function_at(symbol[0])
    assert hasattr(ctypes.CDLL(path), "malloc")
