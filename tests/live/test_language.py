"""The rows of the language: syntax, expressions and types, maps and aggregations, older spellings.

Each row of ROWS is the body of a BEGIN probe and what it prints; rows run in batches, one session each,
where every row has maps of its own. WRONG has scripts that are refused, with a piece of the message;
WARNED those that run but are warned about; WHOLE scripts that are more than one body.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pytest

import pbt as api
from pbt import lang
from pbt.host.target import Target
from pbt.pipeline import Options, run
from pbt.source import PbtError, Source
from pbt.verifier_sim import verify_bundle

pytestmark = pytest.mark.live

HERE = Path(__file__).parent / "language"
TOP = (HERE / "definitions.bt").read_text()


class Row(NamedTuple):
    name: str
    body: str
    answer: str


def rows(text: str) -> list[Row]:
    r"""`name | body | answer` a line; a blank before or after a bar of the body is written as in ` \| `.

    A newline in the answer, and in a body that begins with `#`, is written as ` / `.
    """
    made = []
    for line in filter(None, text.splitlines()):
        name, body, answer = (part.strip() for part in line.split(" | ", 2))
        body = body.replace(" / ", "\n") if body.startswith("#") else body
        made.append(
            Row(name, body.replace("\\|", "|"), answer.removesuffix(" /").replace(" / ", "\n").strip())
        )
    return made


ROWS = rows((HERE / "rows.txt").read_text())
WRONG = rows((HERE / "wrong.txt").read_text())
WARNED = rows((HERE / "warned.txt").read_text())


def _own_maps(number: int, text: str) -> str:
    """Maps of one row are not those of another."""
    return re.sub(r"@(\w*)", rf"@r{number}_\1", text)


def script_of(numbered: Iterable[tuple[int, Row]]) -> str:
    probes = (
        f'BEGIN {{ printf("#{number}\\n"); {_own_maps(number, row.body)}\n }}' for number, row in numbered
    )
    config = "config = { print_maps_on_exit = false; unstable_typeinfo = enable }\n"
    return config + TOP + "\n".join(probes) + "\nBEGIN { exit(); }"


def _run(numbered: Iterable[tuple[int, Row]]) -> dict[int, str]:
    """What each row prints."""
    with api.trace(script_of(numbered)) as trace:
        text = "".join(message.text for message in trace)
    parts = re.split(r"^#(\d+)\n", text, flags=re.M)
    return {
        int(number): re.sub(r"@r\d+_(\w*)", r"@\1", said).strip()
        for number, said in zip(parts[1::2], parts[2::2], strict=True)
    }


def _words(error: object, script: str) -> str:
    """The text of an error without the lines of the script that it shows."""
    shown = set(script.splitlines())
    return "\n".join(line for line in str(error).splitlines() if line not in shown)


@pytest.mark.parametrize("row", WRONG, ids=lambda row: row.name)
def test_what_is_refused(row: Row) -> None:
    with pytest.raises(PbtError) as raised:
        run(Source("script", row.body), Target.live(), Options(environment={}))
    assert row.answer in _words(raised.value, row.body)


@pytest.mark.parametrize("row", WARNED, ids=lambda row: row.name)
def test_what_is_warned_about(row: Row) -> None:
    text = f"BEGIN {{\n{row.body}\n}}"
    work = run(Source("script", text), Target.live(), Options(environment={}))
    assert any(row.answer in _words(warning, text) for warning in work.warnings)


@pytest.mark.parametrize("text", ["_ = 5 + 3;", "$a = nsecs; print($a > 5);", "@x[1]++; $i = 0; $i++;", "@x = count(); print((uint64)@x); unroll(2) { print(@x); }",
    "$a = 5; print((int64)$a); $a = 3; print(((bool)true, container_of(curtask->tasks.next, struct task_struct, tasks) == 0));"])  # fmt: skip
def test_what_is_not_warned_about(text: str) -> None:
    work = run(Source("script", f"BEGIN {{ {text} }}"), Target.live(), Options(environment={}))
    assert not work.warnings


class Whole(NamedTuple):
    """A script with the words behind it, and what it prints."""

    name: str
    script: str
    params: tuple[str, ...]
    answer: str


WHOLE = (
    Whole("parameters", 'BEGIN { printf("%d %s %d\\n", $1, str($2), $#); exit(); }', ("3", "abc"), "3 abc 2\n"),
    Whole("parameters in other bases", "BEGIN { print($1 + $2 + $3); exit(); }", ("0x10", "010", "-4"), "20\n"),
    Whole("parameter instead of a default", 'BEGIN { print($1 ?: "b"); print(str($1) ?: "b"); print($2 ?: "c"); print($2 ?: 7); if (str($1)) { print(str($1) ? 1 : 2); } exit(); }', ("hello",), "hello\nhello\nc\n7\n1\n"),
    Whole("rest of a parameter", "BEGIN { print(str($1 + 2)); exit(); }", ("hello",), "llo\n"),
    Whole("missing parameter", 'BEGIN { printf("%d[%s]\\n", $1, str($2)); exit(); }', (), "0[]\n"),
    Whole("unroll by a parameter", "BEGIN { unroll($1) { @u++; } print(@u); exit(); }", ("3",), "@u: 3\n@u: 3\n"),
    Whole("options", 'BEGIN { print((getopt("n", 5), getopt("v", false))); exit(); }', ("--n=8", "--v"), "(8, true)\n"),
    Whole("option defaults", 'BEGIN { print((getopt("n", 5), getopt("s", "d"))); exit(); }', (), "(5, d)\n"),
    Whole("lower case", 'begin { print(1); exit(); } end { print(2); }', (), "1\n2\n"),
    Whole("several of a kind", "BEGIN { @++; } BEGIN { @++; exit(); } END { print(@); clear(@); }", (), "@: 2\n"),
    Whole("empty END", "END { } BEGIN { exit(); }", (), ""),
    Whole("maps at exit", "BEGIN { @b = 1; @a[2] = 3; @c = hist(1); clear(@c); exit(); }", (), "@a[2]: 3\n@b: 1\n"),
    Whole("map declaration", "let @m = lruhash(9); BEGIN { @m[1] = 2; exit(); }", (), "@m[1]: 2\n"),
    Whole("declared map without keys", "let @m = hash(9); BEGIN { @m = 2; @m++; exit(); }", (), "@m: 3\n"),
    Whole("unused map", "let @m = lruhash(9); BEGIN { print(1); exit(); }", (), "1\n"),
    Whole("one line", "struct X { int a; } BEGIN { print(sizeof(struct X)); exit(); }", (), "4\n"),
    Whole("headers", "#include <linux/sched.h>\n#include <net/sock.h>\nBEGIN { print(AF_INET); exit(); }", (), "2\n"),
    Whole("conditionals", "#ifndef A\n#define N 4\n#else\n#define N 5\n#endif\nBEGIN { print(N); exit(); }", (), "4\n"),
    Whole("config", 'config = { MAX_STRLEN = 32; BPFTRACE_MISSING_PROBES = "warn"; } BEGIN { exit(); }', (), ""),
    Whole(
        "function returns from a loop",
        "fn f($n : int64) : int64 { for ($kv : @a) { if ($kv.0 == $n) { return $kv.1; } } return -1; }"
        "BEGIN { @a[1] = 11; @a[2] = 12; print(f(2)); print(f(5)); clear(@a); exit(); }", (), "12\n-1\n",
    ),
    Whole(
        "function returns from two loops",
        'fn f($n : int64) : string { for ($i : 0..$n) { for ($j : 0..$n) { if ($i + $j == 5) { return "yes"; } } }'
        'return "no"; } BEGIN { print(f(2)); $n = 40; print(f($n)); exit(); }', (), "no\nyes\n",
    ),
    Whole(
        "function returns from for in while",
        "fn f($n : int64) : int64 { $i = 0; while ($i < 5) { for ($j : 0..$n) { if ($i * $j == 6) {"
        "return $i * 10 + $j; } } $i++; } return 0; } BEGIN { print(f(4)); print(f(1)); exit(); }", (), "23\n0\n",
    ),
    Whole(
        "types of functions",
        "fn u($p : username_t) : username_t { return $p; } fn i() : inet { return ntop(0x0100007f); }"
        "fn t($a : int64) : typeof((1, 2)) { return ($a, $a + 1); } fn n() { print(4); }"
        "BEGIN { print(u(username)); print(i()); print(t(4)); n(); exit(); }", (), "root\n127.0.0.1\n(4, 5)\n4\n",
    ),
    Whole("predicate", "BEGIN /pid > 0 && 1/ { print(1); } BEGIN / 6 / 3 == 1 / { } BEGIN { exit(); }", (), "1\n"),
    Whole("trailing comma", "BEGIN, END, { @++; } interval:ms:1 { exit(); }", (), "@: 2\n"),
    Whole(
        "whole arguments",
        "tracepoint:sched:sched_switch /cpu == 0/ { $a = *args; if (@n++ == 0) { print($a.next_pid == args.next_pid); } exit(); }"
        "END { clear(@n); }", (), "true\n",
    ),
    Whole(
        "whole arguments in maps",
        "tracepoint:sched:sched_switch /cpu == 0/ { if (@n++ == 0) { @a = args; @k[args, 1] = args.next_pid; "
        "print((@a.next_pid == args.next_pid, @k[args, 1] == @a.next_pid)); } exit(); }"
        "END { clear(@n); clear(@a); clear(@k); }", (), "(true, true)\n",
    ),
)  # fmt: skip


@pytest.mark.parametrize("whole", WHOLE, ids=lambda whole: whole.name)
def test_whole_scripts(whole: Whole) -> None:
    with api.trace(whole.script, *whole.params) as trace:
        text = "".join(message.text for message in trace)
    assert text.rstrip("\n") == whole.answer.rstrip("\n")


@pytest.mark.parametrize("script, answer", [
    ("$s = 0; for ($i : 0..100) { $s += $i; } print($s);", "4950\n"),
    ("$n = (int64)(rand % 5) + 20; $s = 0; for ($i : 0..$n) { $s++; } print($s == $n);", "true\n"),
    ("$n = (int64)(rand % 5) + 2000; $s = 0; for ($i : 0..$n) { $s++; } print($s);", "1024\n"),
])  # fmt: skip
def test_ranges_without_bpf_loop(script: str, answer: str) -> None:
    """Bounded loops, which end early where their length is unknown and large; that is said."""
    target = Target.live()
    target.without = frozenset({"bpf_loop"})
    bundle = api.compile(f"BEGIN {{ {script} exit(); }}", target=target)
    assert all(verdict.ok for verdict in verify_bundle(bundle, target))
    assert not any(len(program.code.functions) > 1 for program in bundle.programs)
    with api.load(bundle, target=target) as trace:
        messages = list(trace)
    assert "".join(m.text for m in messages if m.kind != "warnf") == answer
    assert any(m.kind == "warnf" for m in messages) == (answer == "1024\n")


LIBRARY = {
    "ten.bt": "macro ten(x) { x * TEN }\nfn twice($n : int64) : int64 { return $n * 2; }\n#define TEN 10\n",
    "deep/again.bt": 'import "../ten.bt"\n#include "sizes.h"\nmacro wide() { sizeof(struct wide) }\n',
    "deep/sizes.h": "#ifndef SIZES\n#define SIZES 3\nstruct wide { long a[SIZES]; };\n#endif\n",
    "whole.h": '// caf\xe9\n#include "deep/sizes.h"\nstruct pair { int a; struct wide b; };\nenum level { LOWEST = 7 };\n',
    "open.bt": "macro five() { 5 }\n",
}


@pytest.fixture
def library(tmp_path: Path) -> Path:
    (tmp_path / "deep").mkdir()
    for name, text in LIBRARY.items():
        (tmp_path / name).write_text(text, encoding="latin-1")
    return tmp_path


def imported(script: str, folder: Path) -> str:
    with api.trace(Source(str(folder / "main.bt"), script)) as trace:
        return "".join(message.text for message in trace)


def test_imports(library: Path) -> None:
    script = (
        'import "ten.bt"\nimport "./ten.bt"; import "stdlib"\nBEGIN { print(ten(3) + twice(4)); exit(); }'
    )
    assert imported(script, library) == "38\n"


HEADERS = """BEGIN {
    $v = (uint64)0x500000004; $p = (struct pair *)&$v;
    print((SIZES, LOWEST, sizeof(struct pair), offsetof(struct pair, b), $p->a, wide())); exit(); }"""


@pytest.mark.parametrize(
    "names", [('"whole.h"', '"deep"'), ('"deep"', '"whole.h"'), ('"whole.h"', '"deep/again.bt"')]
)
def test_imports_of_headers(names: tuple[str, ...], library: Path) -> None:
    """Alone, in a folder, and included by a script that is imported: relative to where each stands."""
    pytest.importorskip("pcpp")
    pytest.importorskip("pycparser")
    said = imported("".join(f"import {name};\n" for name in names) + HEADERS, library)
    assert said == "(3, LOWEST, 32, 8, 4, 24)\n"


def test_a_header_without_the_packages(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pbt.lang.cpp", None)  # as if pcpp were not there
    monkeypatch.delattr(lang, "cpp", raising=False)
    for line in ('import "whole.h"', '#include "whole.h"'):
        with pytest.raises(PbtError, match=r"(?s)identifier: 'LOWEST'.*pip install 'pbt-bpf\[cpp\]'"):
            imported(f"{line}\nBEGIN {{ print(LOWEST); exit(); }}", library)


@pytest.mark.parametrize(
    "name, shut", [("open.bt", "open.bt"), ("whole.h", "whole.h"), ("deep", "deep"), ("deep/sizes.h", "deep")]
)
def test_what_anybody_may_write_is_not_imported(name: str, shut: str, library: Path) -> None:
    mode = (library / shut).stat().st_mode
    (library / shut).chmod(mode | 0o002)
    with pytest.raises(PbtError, match=f"{shut} may be written by anybody"):
        imported(f'import "{name}"\nBEGIN {{ exit(); }}', library)
    (library / shut).chmod(mode)
    assert imported(f'import "{name}"\nBEGIN {{ exit(); }}', library) == ""


BATCH = 60


@pytest.mark.parametrize("first", range(0, len(ROWS), BATCH))
def test_rows(first: int) -> None:
    numbered = list(enumerate(ROWS))[first : first + BATCH]
    said = _run(numbered)
    wrong = {
        row.name: (row.body, row.answer, said.get(number))
        for number, row in numbered
        if said.get(number) != row.answer
    }
    assert not wrong
