"""Arguments of functions by their names and types, in uprobes of a program compiled here."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.conftest import Pbt
from tests.unit.dwarf.programs import build

pytestmark = pytest.mark.live

SOURCE = """\
#define PLAIN __attribute__((noipa))
typedef unsigned long word;
enum color { RED, GREEN = 5, BLUE = -1 };
struct point { int x, y; };
struct real { float f, g; };
struct wide { long a, b; };
struct large { long a[4]; };
struct node {
	struct point at;
	const char *name;
	unsigned flag : 3;
	int spin : 5;
	struct node *next;
	union { long l; char text[8]; };
	int table[2][3];
};

PLAIN int numbers(char a, short b, unsigned c, long d, _Bool e, enum color f)
{
	return a + b + c + d + e + f;
}

PLAIN long records(struct node *list, word w, struct point p, const struct node *const *all)
{
	return list->at.x + w + p.y + all[0]->at.y;
}

PLAIN long mixed(double r, int n, struct real two, struct wide pair, struct large big, int last, long a, long b, long c)
{
	return r + n + two.f + pair.a + big.a[0] + last + a + b + c;
}

PLAIN struct large made(int n)
{
	struct large big = {{n}};
	return big;
}

const char *volatile names[] = {"first", "second"};

int main(void)
{
	int touched = *names[0] + *names[1];  /* programs read only what is in memory already */
	struct node second = {{5, 6}, names[1], 1, 3, 0, {2}, {{0}}};
	struct node first = {{3, 4}, names[0], 5, -2, &second, {0x6968}, {{1, 2, 3}, {4, 5, 6}}};
	const struct node *all[] = {&second, 0};
	struct real two = {1.5, 2.5};
	struct wide pair = {7, 8};
	struct large big = {{9}};

	numbers('a', -2, 4000000000u, -5000000000, 1, GREEN);
	numbers(-3, 30000, 7, 8, 0, BLUE);
	records(&first, 77, first.at, all);
	mixed(2.5, -11, two, pair, big, 12, 13, 14, 15);
	made(16);
	return touched == 0;
}
"""
WAYS = (("-g", "-O2"), ("-gdwarf-4", "-O0"), ("-gdwarf-3", "-O1", "-no-pie"))


@pytest.fixture(params=WAYS, ids=" ".join)
def program(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    build(tmp_path, "-g")  # skips without a compiler
    (tmp_path / "args.c").write_text(SOURCE)
    command = ["gcc", *request.param, "-o", "args", "args.c"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=60)
    return tmp_path / "args"


def printed(pbt: Pbt, program: Path, function: str, *values: str) -> list[str]:
    body = " ".join(f"print({value});" for value in values)
    made = pbt("-q", "-e", f"uprobe:{program}:{function} {{ {body} }}", "-c", str(program))
    assert made.status == 0, made.err
    return made.lines()


def test_values(pbt: Pbt, program: Path) -> None:
    assert printed(pbt, program, "numbers", "(args.a, args.b, args.c, args.d, args.e, args.f)") == [
        "(97, -2, 4000000000, -5000000000, true, GREEN)",
        "(-3, 30000, 7, 8, false, BLUE)",
    ]
    assert printed(
        pbt,
        program,
        "records",
        "args.w",
        "args.p",
        "args.p.y",
        "str(args.list->name)",
        "(args.list->flag, args.list->spin, args.list->at.x, args.list.at.y)",
        "str(args.list->next->name)",
        "args.list->next->at",
        "args.list->text",
        "args.list->table[1][2]",
        "args.list->table",
        "args.all[0]->at.y",
        "sizeof(args.list->table)",
    ) == [
        "77", "{ .x = 3, .y = 4 }", "4", "first", "(5, -2, 3, 4)", "second", "{ .x = 5, .y = 6 }", "hi", "6",
        "[[1,2,3],[4,5,6]]", "6", "24",
    ]  # fmt: skip
    assert printed(pbt, program, "mixed", "(args.n, args.last, args.a, args.b)") == ["(-11, 12, 13, 14)"]
    assert printed(pbt, program, "made", "args.n") == ["16"]


def test_the_whole_record_and_places(pbt: Pbt, program: Path) -> None:
    assert (
        printed(pbt, program, "numbers", "args")[0]
        == "{ .a = 97, .b = -2, .c = 4000000000, .d = -5000000000, .e = true, .f = GREEN }"
    )
    script = f"uprobe:{program}:numbers,uprobe:{program}:made {{ @[func] = count(); }} uprobe:{program}:rec* {{ print(args.w); }}"
    assert "77\n" in pbt("-q", "-e", script, "-c", str(program)).out


@pytest.mark.parametrize(
    ("function", "name", "reason"),
    [
        ("mixed", "r", "it is a floating-point number"),
        ("mixed", "two", "it is made of floating-point numbers"),
        ("mixed", "big", "it is passed on the stack"),
        ("mixed", "c", "it is passed on the stack"),
        ("numbers", "nosuch", "fields here: a, b, c, d, e, f"),
        ("numbers+4", "a", "arguments are known where a function begins"),
    ],
)
def test_what_is_not_known(pbt: Pbt, tmp_path: Path, function: str, name: str, reason: str) -> None:
    build(tmp_path, "-g")
    (tmp_path / "args.c").write_text(SOURCE)
    subprocess.run(["gcc", "-g", "-O1", "-o", "args", "args.c"], cwd=tmp_path, check=True, timeout=60)
    made = pbt("-e", f"uprobe:./args:{function} {{ print(args.{name}); }}", cwd=tmp_path)
    assert made.status == 1 and f"HINT: {reason}" in made.err and made.err.startswith("stdin:1:"), made.err


def test_without_debugging_information(pbt: Pbt, tmp_path: Path) -> None:
    build(tmp_path, name="bare")
    made = pbt("-e", "uprobe:./bare:work { print(args.n); }", cwd=tmp_path)
    assert made.status == 1 and "./bare has no debugging information" in made.err


def test_listing(pbt: Pbt, tmp_path: Path) -> None:
    build(tmp_path, "-g", "-O2")
    assert pbt("-lv", f"uprobe:{tmp_path}/prog:work").lines() == [
        f"uprobe:{tmp_path}/prog:work", "    int n", "    struct item* it", "    enum color c", "    word w",
        "    char s", "    struct point p",
    ]  # fmt: skip


def test_types_by_name(pbt: Pbt, program: Path) -> None:
    """Casts and sizes know the types of the traced program."""
    assert printed(
        pbt,
        program,
        "records",
        "((struct node *)arg0)->at.y",
        "sizeof(struct node)",
        "offsetof(struct node, next)",
        "(enum color)5",
        "sizeof(word)",
    ) == ["4", "64", "24", "GREEN", "8"]
