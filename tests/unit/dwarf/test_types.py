"""Types of parameters as the compilers describe them, the same in every version of DWARF."""

from __future__ import annotations

from pathlib import Path

import pytest

from pbt import arch
from pbt.dwarf.types import Types, spelled
from pbt.host.debuginfo import debug_info
from pbt.host.elf import Elf
from pbt.probes.userargs import Function, located
from pbt.types import CHAR, I32, U64, Array, Enum, Member, Pointer, Struct
from tests.unit.dwarf.programs import build

WAYS = (
    ("gcc", "-g", "-O2"),
    ("gcc", "-gdwarf-4", "-O0", "-fdebug-types-section"),
    ("gcc", "-gdwarf-3", "-O1", "-gstrict-dwarf"),
    ("gcc", "-gdwarf-2", "-O1", "-gstrict-dwarf"),
    ("clang", "-gdwarf-5", "-O1"),
)


@pytest.fixture(params=WAYS, ids=" ".join)
def types_and_elf(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Types, Elf]:
    compiler, *options = request.param
    elf = Elf(str(build(tmp_path, *options, compiler=compiler)))
    info = debug_info(elf)
    assert info is not None
    return Types(info), elf


def test_structs(types_and_elf: tuple[Types, Elf]) -> None:
    types, _ = types_and_elf
    item = types.find("struct item")
    assert isinstance(item, Struct) and item.size == 40
    places = [(m.name, m.offset, m.bit_offset, m.bit_size) for m in item.members]
    assert places == [
        ("at", 0, 0, 0), ("name", 8, 0, 0), ("flag", 16, 0, 3), ("spin", 16, 3, 5), ("next", 24, 0, 0), ("", 32, 0, 0)
    ]  # fmt: skip
    kinds = {m.name: m.type for m in item.members}
    assert kinds["name"] == Pointer(CHAR, "user") and kinds["next"] == Pointer(item, "user")
    assert isinstance(kinds["at"], Struct) and [m.type for m in kinds["at"].members] == [I32, I32]
    letters = item.find("c")
    assert letters is not None and (letters.type, letters.offset) == (Array(CHAR, 4), 32)
    color = types.find("enum color")
    assert isinstance(color, Enum) and color.values == (("RED", 0), ("GREEN", 5))
    assert types.find("word") == U64 and types.find("struct nosuch") is None


def test_parameters(types_and_elf: tuple[Types, Elf]) -> None:
    types, elf = types_and_elf
    function = types.info.function_at((elf.symbol("work") or (0, 0))[0])
    assert function is not None
    assert [f"{spelled(p.die)} {p.name}" for p in types.params(function)] == [
        "int n", "struct item* it", "enum color c", "word w", "char s", "struct point p"
    ]  # fmt: skip
    regs = arch.get("x86_64").regs
    found = list(located(Function(types, function), arch.get("x86_64")))
    assert [(m.name, m.offset) for m in found if isinstance(m, Member)] == [
        (name, regs[register]) for name, register in zip(("n", "it", "c", "w", "s", "p"), ("di", "si", "dx", "cx", "r8", "r9"), strict=True)
    ]  # fmt: skip
    for machine in ("aarch64", "s390x", "riscv64"):
        there = arch.get(machine)
        found = list(located(Function(types, function), there))
        n = found[0]
        assert isinstance(n, Member) and n.offset == there.args[0] + (4 if there.byteorder == "big" else 0)
        assert isinstance(found[-1], Member) is (machine == "aarch64")
