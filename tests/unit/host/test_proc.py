from __future__ import annotations

import ctypes
import os
import struct
from pathlib import Path

from pbt.host.proc import (
    ElfFiles,
    Mapping,
    UserSymbol,
    UserSymbols,
    comm,
    inner_pid,
    maps,
    parse_maps,
    threads,
)

ME = os.getpid()
GONE = 1 << 30


def test_maps() -> None:
    text = (
        "55d0a000-55d0b000 r-xp 00002000 fd:01 123 /usr/bin/a b (deleted)\n"
        "7f000000-7f001000 rw-p 00000000 00:00 0 \n"
        "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]\n"
        "nonsense\n"
    )
    first, second, third = parse_maps(text)
    assert first == Mapping(0x55D0A000, 0x55D0B000, "r-xp", 0x2000, "fd:01", 123, "/usr/bin/a b (deleted)")
    assert second.path == "" and third.path == "[vsyscall]"
    assert any(m.path.startswith("/") for m in maps(ME)) and maps(GONE) == []


def test_processes() -> None:
    assert ME in threads(ME) and threads(GONE) == []
    assert comm(ME) and comm(GONE) == ""
    assert inner_pid(ME) > 0 and inner_pid(GONE) == GONE


def test_symbols_of_this_process() -> None:
    symbols = UserSymbols(ME)
    address = ctypes.cast(ctypes.CDLL(None).getpid, ctypes.c_void_p).value
    assert address
    found = symbols.symbol(address + 1)
    assert found and found.name.endswith("getpid") and found.offset == 1 and "libc" in found.module
    mapping = symbols.mapping(address)
    assert mapping and mapping.path == found.module
    assert symbols.symbol(1) is None and UserSymbols(GONE).symbol(address) is None


def test_files_are_opened_once(tmp_path: Path) -> None:
    files, path = ElfFiles(), f"/proc/{ME}/exe"
    assert files.open(path) and files.open(path) is files.open(os.path.realpath(path))
    text = tmp_path / "text"
    text.write_text("text")
    assert files.open(str(text)) == () == files.open(str(tmp_path / "none"))


def test_code_made_at_run_time(tmp_path: Path) -> None:
    process = tmp_path / "7"
    (process / "root/tmp").mkdir(parents=True)
    (process / "maps").write_text("10000-20000 rwxp 00000000 00:00 0 \n")
    (process / "status").write_text("Name:\tjava\nNSpid:\t7\t1\n")
    (process / "root/tmp/perf-1.map").write_text("11000 20 LFoo;bar baz\nbad line\n10000 10 first\n")
    symbols = UserSymbols(7, proc=str(tmp_path))
    assert symbols.symbol(0x11004) == UserSymbol("LFoo;bar baz", 4, "[perf map]")
    assert symbols.symbol(0x10000) == UserSymbol("first", 0, "[perf map]")
    assert symbols.symbol(0x10010) is None and symbols.symbol(0x30000) is None


def test_replaced_files_are_found_through_map_files(tmp_path: Path) -> None:
    process, real = tmp_path / "7", os.path.realpath(f"/proc/{ME}/exe")
    (process / "map_files").mkdir(parents=True)
    start, inode = 0x400000, os.stat(real).st_ino
    (process / "maps").write_text(f"{start:x}-{start + 0x1000000:x} r-xp 0 00:00 {inode} /gone (deleted)\n")
    os.symlink(real, process / "map_files" / f"{start:x}-{start + 0x1000000:x}")
    elf = ElfFiles().open(real)[-1]
    (entry,) = struct.unpack("<Q", elf.data[24:32]) if elf.word == 8 else (elf.entry,)
    assert elf.entry == entry
    function = elf.functions()[0] if elf.functions() else None
    if function:
        offset = elf.offset(function.address)
        assert offset is not None
        found = UserSymbols(7, proc=str(tmp_path)).symbol(start + offset)
        assert found and found.offset == 0
