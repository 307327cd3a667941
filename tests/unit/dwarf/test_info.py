"""Lines and inlined functions of programs built in every way, against what addr2line says of the same files."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from pbt.dwarf.lines import addresses, is_path, lines_of, source_files
from pbt.host.debuginfo import debug_info
from pbt.host.elf import Elf
from tests.unit.dwarf.programs import LINES, build

WAYS = (
    ("gcc", "-g", "-O2"),
    ("gcc", "-g", "-O0"),
    ("gcc", "-g", "-O2", "-no-pie"),
    ("gcc", "-gdwarf-4", "-O2"),
    ("gcc", "-gdwarf-3", "-O2", "-gstrict-dwarf"),
    ("gcc", "-gdwarf-2", "-O1", "-gstrict-dwarf"),
    ("gcc", "-gdwarf-5", "-gdwarf64", "-O2"),
    ("gcc", "-g", "-O2", "-gz=zlib"),
    ("gcc", "-g", "-O2", "-fdebug-types-section"),
    ("gcc", "-g", "-O2", "-ffunction-sections", "-freorder-blocks-and-partition"),
    ("clang", "-gdwarf-5", "-O2"),
    ("clang", "-gdwarf-4", "-O2"),
)


MISREAD = ("-gdwarf64", "-fdebug-types-section")  # by addr2line; the code is the same without them


@pytest.fixture(params=WAYS, ids=" ".join)
def program(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    compiler, *options = request.param
    return build(tmp_path, *options, compiler=compiler)


def addr2line(program: Path, wanted: list[int]) -> list[list[tuple[str, str]]]:
    """For each address (function, "file:line") of the frames there, the innermost first."""
    if shutil.which("addr2line") is None:
        pytest.skip("no addr2line on this machine")
    text = "\n".join(hex(address) for address in wanted)
    command = ["addr2line", "-a", "-i", "-f", "-e", str(program)]
    out = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60).stdout
    found: list[list[tuple[str, str]]] = []
    rows = iter(out.splitlines())
    for row in rows:
        if row.startswith("0x"):
            found.append([])
        else:
            found[-1].append((row, next(rows).partition(" (disc")[0]))
    return found


def test_every_address(program: Path, request: pytest.FixtureRequest) -> None:
    _, *options = request.node.callspec.params["program"]
    plain = [option for option in options if option not in MISREAD]
    reference = program if plain == options else build(program.parent, *plain, name="reference")
    elf = Elf(str(program))
    info = debug_info(elf)
    assert info is not None
    wanted = [
        address
        for function in elf.functions()
        if function.name in ("work", "first", "main")
        for address in range(function.address, function.address + function.size, 2)
    ]
    assert len(wanted) > 50
    for address, expected in zip(wanted, addr2line(reference, wanted), strict=True):
        frames = info.frames(address)
        ours = [(f.symbol, f"{f.line.path}:{f.line.line}" if f.line else "??:0") for f in frames]
        assert [name for name, _ in ours] == [name for name, _ in expected], hex(address)
        for (_, mine), (_, theirs) in zip(ours, expected, strict=True):
            assert mine == str((program.parent / theirs).resolve()) or theirs.endswith("?"), hex(address)


def test_lines(program: Path) -> None:
    elf = Elf(str(program))
    info = debug_info(elf)
    assert info is not None and str(program.parent / "src" / "prog.c") in source_files(info)
    source, header = (lines_of(info, name, elf.is_code) for name in ("src/prog.c", "twice.h"))
    for name, table, copies in (
        ("first call", source, 1),
        ("second call", source, 1),
        ("open", source, 1),
        ("loop", source, 1),
        ("product", header, 2),
        ("sum", header, 2),
    ):
        rows = [each for found in table.at(LINES[name]).values() for each in found]
        found = addresses(info, rows)
        assert len(found) == copies or ("call" in name and not found), name  # clang leaves nothing of calls
        assert set(found) <= {row.address for _, row in rows}
    work = elf.symbol("work")
    assert work is not None
    (rows,) = source.at(LINES["open"]).values()
    assert addresses(info, rows) == [work[0]]
    assert not source.at(1) and not lines_of(info, "og.c", elf.is_code).rows


def test_names_of_files() -> None:
    assert is_path("/a/b/c.c", "c.c") and is_path("/a/b/c.c", "b/c.c") and is_path("/a/b/c.c", "/a/b/c.c")
    assert is_path("/a/b/c.c", "./c.c")
    assert not is_path("/a/b/c.c", ".c") and not is_path("/a/b/c.c", "/b/c.c") and not is_path("/a/b/c.c", "")


def test_separate_files(tmp_path: Path) -> None:
    """By .gnu_debuglink; not when it belongs to another build."""
    if shutil.which("objcopy") is None:
        pytest.skip("no objcopy on this machine")
    program = build(tmp_path, "-g", "-O2")
    run = {"cwd": tmp_path, "check": True, "timeout": 60}
    subprocess.run(["objcopy", "--only-keep-debug", "prog", "prog.debug"], **run)
    subprocess.run(["objcopy", "--strip-debug", "--add-gnu-debuglink=prog.debug", "prog", "bare"], **run)
    info = debug_info(Elf(str(tmp_path / "bare")))
    assert info is not None and info.path.endswith("prog.debug")
    work = Elf(str(program)).symbol("work")
    assert work is not None and info.frames(work[0])[-1].symbol == "work"
    build(tmp_path, "-g", "-O1", name="other")
    subprocess.run(["objcopy", "--only-keep-debug", "other", "prog.debug"], **run)
    assert debug_info(Elf(str(tmp_path / "bare"))) is None
    assert debug_info(Elf(str(build(tmp_path, "-O2", name="none")))) is None
