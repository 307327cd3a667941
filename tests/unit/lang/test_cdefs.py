"""Headers: where they are found, and what is read from them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pbt.arch import get
from pbt.host.target import Target
from pbt.lang.headers import Headers, Search, search
from pbt.lang.preprocess import Include
from pbt.lang.typenames import TypeNames
from pbt.pipeline import HeaderOptions, Options, run
from pbt.source import NOWHERE, ScriptError, Source
from pbt.types import Array, Enum, Int, Pointer, Struct

pytest.importorskip("pcpp")
pytest.importorskip("pycparser")

HOSTILE = """
#pragma once
#include <sys/absent.h>
#define __inline__ inline
extern int printf(const char *format, ...) __asm__ ("renamed") __attribute__((format(printf, 1, 2)));
static __inline__ int twice(int x) { struct { int y; } z = { x }; if (x) { return 2 * z.y; } return 0; }
_Static_assert(sizeof(int) == 4, "int");
__extension__ typedef unsigned long long u64_;
typedef __builtin_va_list args_;
struct __attribute__((packed)) tight { char c; u64_ l; };
struct loose { char c; int x __attribute__((__aligned__(16))); } __attribute__((aligned(64)));
struct late { char c; long l; } __attribute__((packed));
typedef struct { __int128 wide; _Float64 f; } wide_t;
typedef int (*callback_t)(void *, ...);
enum level { LOW = 1 << 2, HIGH = LOW | 1, };
struct node { struct node *next; union { int i; char c[sizeof(long)]; }; unsigned a : 3, b : 5; callback_t f;
              enum { INSIDE = 9 } kind; int grid[2][3]; const char *const name; };
#define FLAG(n) (1UL << (n))
#define FLAGS (FLAG(3) | FLAG(4))
#define LETTER 'A'
#define TEXT "words"
#define SELF SELF
#pragma pack(push, 1)
struct pushed { char c; int i; };
#pragma pack(pop)
struct popped { char c; int i; };
struct nonsense { some_unknown_t +; };
struct after { int a; };
"""


@pytest.fixture
def headers(tmp_path: Path) -> Headers:
    (tmp_path / "hostile.h").write_text(HOSTILE)
    made = Headers(Search((str(tmp_path),)))
    made.directive("", Include("hostile.h", False, NOWHERE))
    return made


def test_types(headers: Headers) -> None:
    names = TypeNames((), None, headers)
    sizes = {name: found.size for name in SIZES if (found := names.find(name)) is not None}
    assert sizes == SIZES


SIZES = {
    "u64_": 8, "args_": 24, "struct tight": 9, "struct loose": 64, "struct late": 9, "wide_t": 32, "callback_t": 8,
    "enum level": 4, "struct node": 72, "struct pushed": 5, "struct popped": 8, "struct after": 4,
}  # fmt: skip


def test_members(headers: Headers) -> None:
    node = TypeNames((), None, headers).find("struct node")
    assert isinstance(node, Struct)
    places = {m.name: (m.offset, m.bit_offset, m.bit_size) for m in node.flat()}
    assert places == {
        "next": (0, 0, 0), "i": (8, 0, 0), "c": (8, 0, 0), "a": (16, 0, 3), "b": (16, 3, 5), "f": (24, 0, 0),
        "kind": (32, 0, 0), "grid": (36, 0, 0), "name": (64, 0, 0),
    }  # fmt: skip
    next_, grid = node.find("next"), node.find("grid")
    assert next_ is not None and next_.type == Pointer(node)
    assert grid is not None and grid.type == Array(Array(Int(4, True), 3), 2)


def test_constants(headers: Headers) -> None:
    names = TypeNames((), None, headers)
    found = {name: names.constant(name) for name in ("LOW", "HIGH", "INSIDE", "NOWHERE")}
    assert {n: c and c[1] for n, c in found.items()} == {"LOW": 4, "HIGH": 5, "INSIDE": 9, "NOWHERE": None}
    level = found["LOW"]
    assert level is not None and isinstance(level[0], Enum) and str(level[0]) == "enum level"


def test_macros(headers: Headers) -> None:
    texts = {n: found.span.text for n in ("FLAGS", "LETTER", "TEXT") if (found := headers.define(n))}
    assert texts == {"FLAGS": "((1UL << (3)) | (1UL << (4)))", "LETTER": "65", "TEXT": '"words"'}
    assert headers.define("SELF") is None and headers.define("FLAG") is None
    flags = headers.define("FLAGS")
    assert flags is not None and flags.span.locate()[0] == 1 + HOSTILE[
        : HOSTILE.index("#define FLAGS")
    ].count("\n")


def test_nothing_is_read_before_a_name_is_mentioned(headers: Headers) -> None:
    assert headers.define("UNHEARD") is None and headers.definition("struct unheard") is None
    assert "read" not in headers.__dict__
    assert headers.define("FLAGS") is not None and "read" in headers.__dict__


def test_names_that_macros_put_together(tmp_path: Path) -> None:
    (tmp_path / "pasted.h").write_text("#define MAKE(x) FUNC_##x\nenum { MAKE(one), MAKE(two) };\n")
    headers = Headers(Search((str(tmp_path),)))
    headers.directive("", Include("pasted.h", False, NOWHERE))
    assert TypeNames((), None, headers).constant("FUNC_two") == (
        TypeNames((), None, headers).constant("FUNC_one")[0],
        1,
    )  # type: ignore[index]


def test_directives_before_an_include_count(tmp_path: Path) -> None:
    (tmp_path / "sized.h").write_text(
        "struct sized { char c[SIZE]; };\n#if SIZE > 4\n#define BIG 1\n#endif\n"
    )
    made = Headers(Search((str(tmp_path),)))
    made.directive("#define SIZE 6")
    made.directive("", Include("sized.h", False, NOWHERE))
    found = TypeNames((), None, made).find("struct sized")
    assert found is not None and found.size == 6 and made.define("BIG") is not None


def test_include_next_and_own_headers(tmp_path: Path) -> None:
    (tmp_path / "limits.h").write_text(
        "#include_next <limits.h>\n#include <stddef.h>\n#define MINE INT_MAX\n"
    )
    made = Headers(search(get("x86_64"), "0", {"CPATH": str(tmp_path)}))
    made.directive("", Include("limits.h", False, NOWHERE))
    mine = made.define("MINE")
    assert mine is not None and mine.span.text.strip("()") in ("2147483647", "0x7fffffff")


def test_kernel_tree(tmp_path: Path) -> None:
    (tmp_path / "include/linux").mkdir(parents=True)
    (tmp_path / "arch/x86/include/asm").mkdir(parents=True)
    (tmp_path / "include/linux/thing.h").write_text(
        "#include <asm/part.h>\nstruct thing { struct part p[2]; };\n"
    )
    (tmp_path / "arch/x86/include/asm/part.h").write_text(
        "#ifdef __KERNEL__\nstruct part { long x; };\n#endif\n"
    )
    made = Headers(search(get("x86_64"), "0", {"BPFTRACE_KERNEL_SOURCE": str(tmp_path)}))
    made.directive("", Include("linux/thing.h", False, NOWHERE))
    found = TypeNames((), None, made).find("struct thing")
    assert found is not None and found.size == 16


def checked(text: str, folder: Path, include: tuple[str, ...] = ()) -> None:
    options = Options(environment={}, headers=HeaderOptions((str(folder),), include))
    run(Source("script", text), Target.live(), options, until="check")


def test_scripts(tmp_path: Path) -> None:
    (tmp_path / "mine.h").write_text("#define O_RDONLY 77\n#define SIZE 3\nstruct mine { int a[SIZE]; };\n")
    checked('#include <mine.h>\nBEGIN { static_assert(sizeof(struct mine) == 12, "size"); }', tmp_path)
    checked('#include <mine.h>\nBEGIN { static_assert(O_RDONLY == 77, "own headers first"); }', tmp_path)
    checked('BEGIN { static_assert(SIZE == 3, "--include"); }', tmp_path, (str(tmp_path / "mine.h"),))
    checked("#include <mine.h>\n#if SIZE == 3\nBEGIN { }\n#endif", tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("#include <absent.h>\nBEGIN { print(sizeof(struct absent)); }", "<absent.h> was not found: -I DIR"),
        ('#include "absent.h"\nBEGIN { print(ABSENT); }', '"absent.h" was not found: -I DIR'),
        ("#include <half.h>\nBEGIN { print(sizeof(struct half)); }", 'half.h:1:1: ERROR: Cannot resolve unknown type "absent_t"'),
        ("#include <half.h>\nBEGIN { print(BROKEN); }", "half.h:2:"),
    ],
)  # fmt: skip
def test_what_is_missing_is_named(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "half.h").write_text("struct half { absent_t a; int b; };\n#define BROKEN )\n")
    with pytest.raises(Exception) as caught:
        checked(text, tmp_path)
    assert message in str(caught.value)


def test_a_file_to_include_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ScriptError, match="there is no file"):
        checked("BEGIN { }", tmp_path, ("nowhere.h",))
