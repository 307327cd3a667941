"""Probes at source lines of a program compiled here, position-independent or not, with and without optimisation."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Pbt
from tests.unit.dwarf.programs import LINES, build

pytestmark = pytest.mark.live

WAYS = (("-g", "-O2"), ("-g", "-O2", "-no-pie"), ("-gdwarf-4", "-O0"))


@pytest.mark.parametrize("options", WAYS, ids=" ".join)
def test_lines_run(pbt: Pbt, tmp_path: Path, options: tuple[str, ...]) -> None:
    """The program calls `work` once for each argument and its name; lines of what is inlined twice run twice."""
    program = build(tmp_path, *options)
    points = {
        f"uprobe:{program}@prog.c:{LINES['open']}": 3,
        f"uprobe:{program}@src/prog.c:{LINES['first call']}": 3,
        f"uprobe:{program}@{tmp_path}/src/twice.h:{LINES['product']}": 6,
    }
    script = "".join(f"{point} {{ @[probe] = count(); }}\n" for point in points)
    made = pbt("-q", "-e", script, "-c", f"{program} a b")
    assert sorted(made.out.split("\n")) == sorted(
        [*(f"@[{point}]: {count}" for point, count in points.items()), "", "", ""]
    ), made.err


def test_arguments_at_the_opening_line(pbt: Pbt, tmp_path: Path) -> None:
    program = build(tmp_path, "-g", "-O2")
    made = pbt(
        "-q",
        "-e",
        f"uprobe:{program}@prog.c:{LINES['open']} {{ print((probetype, arg0, arg3)); }}",
        "-c",
        str(program),
    )
    assert made.out == "(uprobe, 3, 77)\n", made.err


def test_listing(pbt: Pbt, tmp_path: Path) -> None:
    program = build(tmp_path, "-g", "-O2")
    lines = pbt("-l", f"uprobe:{program}@prog.c:*").lines()
    assert f"uprobe:{program}@prog.c:{LINES['loop']}" in lines and len(lines) > 10
    assert pbt("-l", f"uprobe:{program}@prog.c:1").lines() == []
    columns = pbt("-l", f"uprobe:{program}@prog.c:{LINES['loop']}:*").lines()
    assert all(line.startswith(f"uprobe:{program}@prog.c:{LINES['loop']}:") for line in columns) and columns
    point = columns[0]
    assert pbt("-l", "-e", f"{point} {{ }}").lines() == [point]


@pytest.mark.parametrize(
    ("place", "message", "hint"),
    [
        ("prog@prog.c:1", "prog has no code at prog.c:1", "the nearest lines with code: "),
        (
            "prog@prog.c:{loop}:77",
            "prog has no code at prog.c:{loop}:77",
            "columns of line {loop} with code: ",
        ),
        ("prog@prgo.c:5", "prog was not built from a file prgo.c", "did you mean "),
        ("bare@prog.c:5", "bare has no debugging information: prog.c:5 cannot be found", "build it with -g"),
        ("nosuch@prog.c:5", "there is no program or library ./nosuch", ""),
        ("prog@prog.c:0", "Lines and columns are counted from 1", "a source line is written uprobe:"),
        ("prog@prog.c:x", "there is no program or library ./prog@prog.c", "a source line is written uprobe:"),
    ],
)
def test_what_is_not_there(pbt: Pbt, tmp_path: Path, place: str, message: str, hint: str) -> None:
    build(tmp_path, "-g", "-O2")
    build(tmp_path, "-O2", name="bare")
    place = place.replace("{loop}", str(LINES["loop"]))
    made = pbt("-e", f"uprobe:./{place} {{ }}", cwd=tmp_path)
    assert made.status == 1 and made.err.startswith("stdin:1:1: ERROR: ")
    for text in (message, hint):
        assert text.replace("{loop}", str(LINES["loop"])) in made.err
    ignored = pbt(
        "-q",
        "-e",
        f"config = {{ missing_probes = ignore }} uprobe:./{place} {{ }} BEGIN {{ exit(); }}",
        cwd=tmp_path,
    )
    assert (ignored.status == 0) is (":0" not in place), ignored.err


def test_damaged_information(pbt: Pbt, tmp_path: Path) -> None:
    from pbt.host.elf import Elf

    program = build(tmp_path, "-g", "-O2")
    section = Elf(str(program)).section(".debug_abbrev")
    assert section is not None
    data = bytearray(program.read_bytes())
    data[section.offset : section.offset + section.size] = b"\xff" * section.size
    program.write_bytes(data)
    made = pbt("-e", f"uprobe:{program}@prog.c:{LINES['loop']} {{ }}")
    assert made.status == 1 and "damaged debugging information in .debug_abbrev" in made.err
    assert made.err.startswith("stdin:1:1: ERROR: ")


def test_one_name_for_two_files(pbt: Pbt, tmp_path: Path) -> None:
    build(tmp_path, "-g")  # skips without a compiler
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "same.c").write_text(f"int {name}(int n)\n{{\n\treturn n + 1;\n}}\n")
    (tmp_path / "main.c").write_text("int a(int), b(int);\nint main(void)\n{\n\treturn a(b(1)) - 3;\n}\n")
    command = ["gcc", "-g", "-o", "two", "main.c", "a/same.c", "b/same.c"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=60)
    made = pbt("-e", "uprobe:./two@same.c:3 { }", cwd=tmp_path)
    assert made.status == 1 and f"same.c may be {tmp_path}/a/same.c, {tmp_path}/b/same.c" in made.err
    script = "uprobe:./two@a/same.c:3 { print(arg0); }"
    assert pbt("-q", "-e", script, "-c", "./two", cwd=tmp_path).lines()[1:] == []


# --- debugging information in stacks ------------------------------------------------------------

DEEP = """\
#include <unistd.h>

volatile int total;

static inline __attribute__((always_inline)) int once(int n) { total += n; getppid(); return n; }

static inline __attribute__((always_inline)) int twice(int n)
{
	once(n * 2);
	return n;
}

__attribute__((noinline)) int leaf(int n) { total += n; getppid(); return total; }

__attribute__((noinline)) int work(int n)
{
	int r = leaf(n);
	r += twice(n);
	return r + 1;
}

int main(void)
{
	total += work(1);
	usleep(300000);
	return 0;
}
"""


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    """A program whose stacks can be followed, and that stays for a while."""
    build(tmp_path, "-g")  # skips without a compiler
    (tmp_path / "deep.c").write_text(DEEP)
    command = [
        "gcc",
        "-g",
        "-O2",
        "-fno-omit-frame-pointer",
        "-fno-optimize-sibling-calls",
        "-o",
        "deep",
        "deep.c",
    ]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=60)
    return tmp_path / "deep"


def frames(
    pbt: Pbt, deep: Path, config: str, stack: str = "ustack(3)", place: str = "@deep.c:5"
) -> list[str]:
    script = f"config = {{ {config} }} uprobe:{deep}{place} {{ print({stack}); exit(); }}"
    made = pbt("-q", "-e", script, "-c", str(deep))
    assert made.status == 0, made.err
    return [line.replace(f"{deep.parent}", "DIR") for line in made.lines()]


def test_stacks_show_lines_and_inlined_functions(pbt: Pbt, deep: Path) -> None:
    """A caller's line is that of its call, not that of what comes after it."""
    shown = frames(pbt, deep, "show_debug_info = true")
    assert [re.sub(r"\+\d+", "+N", line) for line in shown[:5]] == [
        "",
        "        [inlined] once@DIR/deep.c:5",
        "        [inlined] twice@DIR/deep.c:9",
        "        work+N@DIR/deep.c:18",
        "        main+N@DIR/deep.c:24",
    ]
    shown = frames(pbt, deep, "show_debug_info = true", place=":leaf")
    assert [re.sub(r"\+\d+", "+N", line) for line in shown[1:4]] == [
        "        leaf+N@DIR/deep.c:13",
        "        work+N@DIR/deep.c:17",
        "        main+N@DIR/deep.c:24",
    ]


def test_stacks_in_mode_perf(pbt: Pbt, deep: Path) -> None:
    shown = frames(pbt, deep, "show_debug_info = true", "ustack(perf, 1)")
    assert [re.sub(r"^\t[0-9a-f]+ |\+\d+", "", line) for line in shown[1:4]] == [
        "once (inlined)",
        "twice (inlined)",
        "work (DIR/deep)",
    ]


def test_stacks_without_lines(pbt: Pbt, deep: Path) -> None:
    for config in ("", "show_debug_info = false"):
        shown = frames(pbt, deep, config)
        assert [re.sub(r"\+\d+", "+N", line) for line in shown[1:3]] == ["        work+N", "        main+N"]


def test_stacks_with_damaged_information(pbt: Pbt, deep: Path) -> None:
    from pbt.host.elf import Elf

    section = Elf(str(deep)).section(".debug_line")
    assert section is not None
    data = bytearray(deep.read_bytes())
    data[section.offset + 4] = 0xFF
    deep.write_bytes(data)
    script = f"config = {{ show_debug_info = 1 }} uprobe:{deep}:leaf {{ print(ustack(2)); exit(); }}"
    made = pbt("-q", "-e", script, "-c", str(deep))
    assert re.sub(r"\+\d+", "+N", made.out) == "\n        leaf+N\n        work+N\n\n", made.err
    assert made.err.count("damaged debugging information in .debug_line") == 1 and "Traceback" not in made.err


def test_build_ids_of_stacks(pbt: Pbt, deep: Path) -> None:
    from pbt.host.elf import Elf

    elf = Elf(str(deep))
    symbol = elf.symbol("leaf")
    assert symbol is not None
    config = "stack_mode = build_id"
    assert frames(pbt, deep, config, "ustack(1)", ":leaf")[1] == f"{elf.build_id} {elf.offset(symbol[0]):#x}"
    assert (
        frames(pbt, deep, "", "ustack(build_id, 1)", ":leaf")[1]
        == f"{elf.build_id} {elf.offset(symbol[0]):#x}"
    )
    made = pbt(
        "-q",
        "-e",
        f"config = {{ {config} }} uprobe:{deep}:leaf {{ print(kstack); exit(); }}",
        "-c",
        str(deep),
    )
    assert made.status == 0 and "WARNING: kstack has no mode build_id" in made.err
