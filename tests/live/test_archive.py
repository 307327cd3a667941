"""Probes in a library that a process runs from an archive, where it is stored uncompressed at the start of a page."""

from __future__ import annotations

import re
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import Pbt
from tests.unit.dwarf.programs import build

pytestmark = pytest.mark.live

LIBRARY = """\
int twice(int n)
{
	return n * 2;
}
"""
# Python has no android_dlopen_ext: the library's code is mapped from the archive as its loader would, and called.
CALLER = """
import ctypes, mmap, os, sys, time
archive, base, offset, size = sys.argv[1], *map(int, sys.argv[2:5])
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
page = offset // 4096 * 4096
fd = os.open(archive, os.O_RDONLY)
at = libc.mmap(None, size, mmap.PROT_READ | mmap.PROT_EXEC, mmap.MAP_PRIVATE, fd, base + page)
twice = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(at + offset - page)
for n in range(5):
    assert twice(n) == 2 * n
time.sleep(0.3)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the library and archives of it."""
    build(tmp_path, "-g")  # skips without a compiler
    (tmp_path / "twice.c").write_text(LIBRARY)
    command = ["gcc", "-g", "-O2", "-shared", "-fPIC", "-o", "libtwice.so", "twice.c"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=60)
    data = (tmp_path / "libtwice.so").read_bytes()
    for name, aligned, how in (
        ("good.apk", True, zipfile.ZIP_STORED),
        ("odd.apk", False, zipfile.ZIP_STORED),
        ("packed.apk", True, zipfile.ZIP_DEFLATED),
    ):
        with zipfile.ZipFile(tmp_path / name, "w") as file:
            file.writestr("assets/note.txt", "first")
            info = zipfile.ZipInfo("lib/x/libtwice.so")
            start = file.fp.tell() + 30 + len(info.filename)
            room = -(start + 4) % 4096 if aligned else 1
            info.extra = struct.pack("<HH", 0xD935, room) + bytes(room)
            file.writestr(info, data, how)
    return tmp_path


def call(folder: Path) -> list[str]:
    """The command that runs the function of good.apk five times."""
    from pbt.host.archive import open_elf

    elf = open_elf(f"{folder}/good.apk!/lib/x/libtwice.so")
    symbol = elf.symbol("twice")
    assert symbol is not None
    offset = elf.offset(symbol[0])
    return [sys.executable, "-c", CALLER, f"{folder}/good.apk", str(elf.base), str(offset), str(0x1000)]


@pytest.mark.parametrize("place", [":twice", "@twice.c:2", ":twi*"])
def test_functions_run(pbt: Pbt, folder: Path, place: str) -> None:
    point = f"uprobe:{folder}/good.apk!/lib/x/libtwice.so{place}"
    script = f"{point} {{ @[probe] = sum(arg0); @s[ustack(1)] = count(); }}"
    made = pbt("-e", script, load=lambda: subprocess.run(call(folder), check=True, timeout=60))
    assert f"@[{point.replace('twi*', 'twice')}]: 10\n" in made.out, made
    assert re.search(r"@s\[\n +twice\+\d+\n\]: 5\n", made.out), made


def test_frames_have_names(pbt: Pbt, folder: Path) -> None:
    """Asked for while the process is still there."""
    script = (
        f'uprobe:{folder}/good.apk!/lib/x/libtwice.so:twice {{ printf("%s %d\\n", usym(reg("ip")), arg0); }}'
    )
    made = pbt("-e", script, load=lambda: subprocess.run(call(folder), check=True, timeout=60))
    assert made.lines() == [f"twice {n}" for n in range(5)], made


def test_listing(pbt: Pbt, folder: Path) -> None:
    shown = pbt("-l", f"uprobe:{folder}/good.apk!/lib/x/libtwice.so:tw*").lines()
    assert shown == [f"uprobe:{folder}/good.apk!/lib/x/libtwice.so:twice"]


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("odd.apk!/lib/x/libtwice.so:twice", "lib/x/libtwice.so is not at the beginning of a page"),
        ("packed.apk!/lib/x/libtwice.so:twice", "lib/x/libtwice.so is compressed in "),
        ("good.apk!/lib/x/nosuch.so:twice", "No matches for uprobe "),
        ("good.apk!/assets/note.txt:twice", "assets/note.txt is not at the beginning of a page"),
        ("twice.c!/lib/x/libtwice.so:twice", "cannot be read as an archive"),
    ],
)
def test_what_cannot_be_run(pbt: Pbt, folder: Path, place: str, message: str) -> None:
    made = pbt("-e", f"uprobe:{folder}/{place} {{ }}")
    assert made.status == 1 and message in made.err and made.err.startswith("stdin:1:1: ERROR: "), made.err
