"""Damaged debugging information is an error that says so: never a traceback, a hang or a heap of memory."""

from __future__ import annotations

import subprocess
import sys
import time
import zlib
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pbt import arch
from pbt.dwarf.cursor import DwarfError
from pbt.dwarf.info import DebugInfo, functions
from pbt.dwarf.lines import addresses, lines_of, source_files
from pbt.dwarf.types import Types, spelled
from pbt.dwarf.units import Unit
from pbt.host.elf import Elf
from pbt.probes.userargs import Function, located
from pbt.types import Pointer, Struct
from tests.unit.dwarf.programs import SOURCE, build

SECONDS = 10  # of the processor's time: a whole example takes a few milliseconds
WAYS = (("-g", "-O2"), ("-gdwarf-4", "-O2", "-fdebug-types-section"), ("-gdwarf-3", "-O1"))


def sections(folder: Path, *options: str) -> dict[str, bytes]:
    elf = Elf(str(build(folder, *options)))
    return {s.name: elf.read(s) for s in elf.sections if s.name.startswith(".debug_")}


@pytest.fixture(scope="module", params=WAYS, ids=" ".join)
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return sections(tmp_path_factory.mktemp("dwarf"), *request.param)


def ask_everything(contents: Mapping[str, bytes]) -> None:
    info = DebugInfo("prog", lambda name: contents.get(name, b""))
    for question in (
        lambda: source_files(info),
        lambda: [
            addresses(info, rows)
            for file in ("prog.c", "twice.h")
            for number in range(1, SOURCE.count("\n"))
            for rows in lines_of(info, file, lambda address: True).at(number).values()
        ],
        lambda: [info.frames(address) for address in range(0x1000, 0x1300, 7)],
        lambda: [die.name for unit in info.units for _, die in unit.root.below()],
        lambda: [every_type(info, unit) for unit in info.units],
    ):
        try:
            question()
        except DwarfError as error:
            assert "damaged debugging information in ." in str(error)


def every_type(info: DebugInfo, unit: Unit) -> int:
    """How many members the parameters of all functions have, and theirs."""
    types, seen = Types(info), 0
    for function in functions(unit):
        assert all(located(Function(types, function), arch.get("x86_64")))
        for param in (*types.params(function), types.result(function)):
            assert isinstance(spelled(param.die), str)
            kind = param.type.target if isinstance(param.type, Pointer) else param.type
            seen += len(kind.members) if isinstance(kind, Struct) else 1
    return seen + (types.find("struct item") is not None)


def test_whole_sections_are_read_without_errors(built: dict[str, bytes]) -> None:
    info = DebugInfo("prog", lambda name: built.get(name, b""))
    assert source_files(info) and sum(every_type(info, unit) for unit in info.units) > 10


edits = st.lists(
    st.tuples(
        st.integers(0, 20),
        st.integers(0, 1 << 16),
        st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]) | st.integers(0, 255),
    ),
    min_size=1,
    max_size=12,
)


@settings(
    derandomize=True,
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(edits)
def test_changed_bytes(built: dict[str, bytes], changes: list[tuple[int, int, int]]) -> None:
    names, contents = sorted(built), {name: bytearray(data) for name, data in built.items()}
    for which, at, byte in changes:
        data = contents[names[which % len(names)]]
        data[at % len(data)] = byte
    start = time.process_time()
    ask_everything({name: bytes(data) for name, data in contents.items()})
    assert time.process_time() - start < SECONDS


@settings(
    derandomize=True,
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.integers(0, 20), st.integers(0, 1 << 16))
def test_cut_sections(built: dict[str, bytes], which: int, length: int) -> None:
    name = sorted(built)[which % len(built)]
    ask_everything({**built, name: built[name][: length % len(built[name])]})


def test_overlapping_tables(built: dict[str, bytes]) -> None:
    """Many units that share one long line program at slightly different places are not run again and again."""
    if ".debug_types" in built or len(built[".debug_line"]) < 200:
        return
    many = dict(built)
    many[".debug_info"] = built[".debug_info"] * 200
    start = time.process_time()
    info = DebugInfo("prog", lambda name: many.get(name, b""))
    assert source_files(info)
    assert time.process_time() - start < SECONDS


BOMB = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
from pbt.host.debuginfo import of_elf
from pbt.host.elf import Elf
from pbt.dwarf.cursor import DwarfError
try:
    info = of_elf(Elf(sys.argv[1]))
    info.section(".debug_info")
except DwarfError as error:
    print(error)
"""


@pytest.mark.parametrize("claimed", [1 << 18, 1 << 40, (1 << 64) - 1])
def test_a_small_file_does_not_become_a_large_one(tmp_path: Path, claimed: int) -> None:
    """A compressed section says how large it is, and may be more."""
    program = build(tmp_path, "-g", "-gz=zlib", "-O2")
    elf = Elf(str(program))
    section = elf.section(".debug_info")
    assert section is not None and section.flags & 0x800
    data = bytearray(program.read_bytes())
    bomb = zlib.compress(bytes(1 << 28))[: section.size - 24]  # 256 MiB of zeros, as many as fit
    data[section.offset + 8 : section.offset + 16] = claimed.to_bytes(8, "little")
    data[section.offset + 24 : section.offset + 24 + len(bomb)] = bomb
    program.write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-c", BOMB, str(program)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert ("claims to be" in done.stdout) == (claimed > 1 << 18), done.stdout
