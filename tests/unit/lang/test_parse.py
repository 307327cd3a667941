"""Text → tree: precedence, literals, casts, predicates, attach points, statements, errors."""

from __future__ import annotations

import pytest

from pbt.lang import ast
from pbt.source import ScriptError, ScriptErrors
from tests.unit.lang.shown import expression, parsed, shown, statements

LOOSEST_FIRST = ("||", "&&", "|", "^", "&", "==", "<", "<<", "+", "*")


@pytest.mark.parametrize("index", range(len(LOOSEST_FIRST) - 1))
def test_precedence(index: int) -> None:
    loose, tight = LOOSEST_FIRST[index : index + 2]
    assert expression(f"$a {loose} $b {tight} $c") == f"($a {loose} ($b {tight} $c))"
    assert expression(f"$a {tight} $b {loose} $c") == f"(($a {tight} $b) {loose} $c)"


@pytest.mark.parametrize(
    "operator",
    ["||", "&&", "|", "^", "&", "==", "!=", "<", ">", "<=", ">=", "<<", ">>", "+", "-", "*", "/", "%"],
)
def test_binary_operators_bind_to_the_left(operator: str) -> None:
    assert expression(f"$a {operator} $b {operator} $c") == f"(($a {operator} $b) {operator} $c)"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$a ? $b : $c ? $d : $e", "($a ? $b : ($c ? $d : $e))"),
        ("$a ? $b ? $c : $d : $e", "($a ? ($b ? $c : $d) : $e)"),
        ("$a || $b ? 1 : 2", "(($a || $b) ? 1 : 2)"),
        ("-$a + $b", "((-$a) + $b)"),
        ("!$a == $b", "((!$a) == $b)"),
        ("~$a & $b", "((~$a) & $b)"),
        ("- -$a", "(-(-$a))"),
        ("$a - -$b", "($a - (-$b))"),
        ("$a - - 1", "($a - -1)"),
        ("*$p.x", "(*$p.x)"),
        ("*$p + 1", "((*$p) + 1)"),
        ("$a * *$p", "($a * (*$p))"),
        ("&$p", "(&$p)"),
        ("$p->a.b->c", "$p.a.b.c"),
        ("$p[1].x[2]", "$p[1].x[2]"),
        ("++$a + $b++", "((++$a) + ($b++))"),
        ("$a-- - --$b", "(($a--) - (--$b))"),
        ("@m[$a, 2]++", "(@m[$a, 2]++)"),
        ("@", "@"),
        ("@[1]", "@[1]"),
        ("$t.0.1", "$t.0.1"),
        ("(1, 2).1", "tuple(1, 2).1"),
        ("(1,)", "tuple(1)"),
        ("()", "tuple()"),
        ("(1, 2,)", "tuple(1, 2)"),
        ("((1, 2), 3)", "tuple(tuple(1, 2), 3)"),
        ("f()", "f()"),
        ("$1 + $#", "($1 + $#)"),
        ("sizeof(struct x)", "sizeof(struct x)"),
        ("sizeof(uint64)", "sizeof(uint64)"),
        ("sizeof($x)", "sizeof($x)"),
        ("offsetof(struct x, a.b)", "offsetof(struct x, a.b)"),
        ("true && !false", "(True && (!False))"),
        ("$a+1", "($a + 1)"),
        ("$a-1", "($a - 1)"),
        ("$a<<1>>2", "(($a << 1) >> 2)"),
    ],
)  # fmt: skip
def test_expressions(text: str, expected: str) -> None:
    assert expression(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(uint8)$a + 1", "(<uint8>$a + 1)"),
        ("(uint8)($a + 1)", "<uint8>($a + 1)"),
        ("(int32)-1", "<int32>-1"),
        ("(uint64)*$p", "<uint64>(*$p)"),
        ("(struct sock *)arg0", "<struct sock*>arg0"),
        ("((struct sock *)arg0)->sk", "<struct sock*>arg0.sk"),
        ("(struct sock **)arg0", "<struct sock**>arg0"),
        ("(uint8[4])$a", "<uint8[4]>$a"),
        ("(uint8[])$a", "<uint8[]>$a"),
        ("(unsigned long)$a", "<unsigned long>$a"),
        ("(unsigned long *)$a", "<unsigned long*>$a"),
        ("(char *)arg0", "<char*>arg0"),
        ("(size_t)arg0", "<size_t>arg0"),
        ("(string[8])$a", "<string[8]>$a"),
        ("(a)", "a"),
        ("(a) + 1", "(a + 1)"),
        ("(a) - 1", "(a - 1)"),
        ("(a) * 2", "(a * 2)"),
        ("(pid) & 1", "(pid & 1)"),
        ("(nsecs) / 5", "(nsecs / 5)"),
        ("(a) == 1", "(a == 1)"),
        ("(a) != 1", "(a != 1)"),
        ("(a * 2)", "(a * 2)"),
        ("(a) ? 1 : 2", "(a ? 1 : 2)"),
        ("((pid))", "pid"),
        ("(pid, tid)", "tuple(pid, tid)"),
    ],
)  # fmt: skip
def test_casts_and_parentheses(text: str, expected: str) -> None:
    assert expression(text) == expected


# --- literals

NUMBERS = (
    ("0", 0), ("42", 42), ("0x1F", 31), ("0XfF", 255), ("0x1_0", 16), ("010", 8), ("0777", 0o777), ("00", 0),
    ("1_000_000", 10**6), ("1e6", 10**6), ("9e18", 9 * 10**18), ("1e0", 1), ("5u", 5), ("5UL", 5), ("5ll", 5),
    ("5ULL", 5),
    ("0xFFul", 255), ("1ns", 1), ("2us", 2000), ("3ms", 3 * 10**6), ("4s", 4 * 10**9), ("5m", 300 * 10**9),
    ("1h", 3600 * 10**9), ("1d", 86400 * 10**9), ("18446744073709551615", 2**64 - 1),
    ("0xffffffffffffffff", 2**64 - 1),
    ("-1", -1), ("-9223372036854775808", -(2**63)),
)  # fmt: skip


@pytest.mark.parametrize(("text", "value"), NUMBERS)
def test_numbers(text: str, value: int) -> None:
    assert expression(text) == str(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("08", "a leading 0 means octal"),
        ("18446744073709551616", "does not fit 64 bits"),
        ("0x10000000000000000", "does not fit 64 bits"),
        ("1e20", "does not fit 64 bits"),
        ("9e19", "does not fit 64 bits"),
        ("12e3", "one digit before e"),
        ("5x", "invalid number: 5x"),
        ("0xg", "invalid number"),
        ("1_", "invalid number"),
        ("1_000d3", "invalid number"),
        ("-9223372036854775809", "does not fit 64 bits"),
        ("999999999999d", "does not fit 64 bits"),
    ],
)
def test_bad_numbers(text: str, message: str) -> None:
    with pytest.raises((ScriptError, ScriptErrors), match=message):
        expression(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r'"a\nb\tc\rd"', "a\nb\tc\rd"), (r'"\"\\"', '"\\'), (r'"\x41\x7e"', "A~"), (r'"\101\60"', "A0"),
        (r'"\0"', "\0"),
        ('"// no comment"', "// no comment"), ('"/* none */"', "/* none */"),
        ('"{ }"', "{ }"),
        ('""', ""), ('"ü€"', "ü€"), ('"%d%%"', "%d%%"), (r'"\x4"', "\x04"), (r'"\x414"', "A4"),
        (r'"\1234"', "S4"),
    ],
)  # fmt: skip
def test_strings(text: str, value: str) -> None:
    assert expression(text) == repr(value)


def test_unknown_escapes_are_errors() -> None:
    with pytest.raises(ScriptError, match=r"invalid escape sequence \\q"):
        expression(r'"\q"')


# --- comments


@pytest.mark.parametrize(
    "text",
    [
        "// first\nBEGIN { $x = 1; }",
        "#!/usr/bin/env pbt\nBEGIN { $x = 1; }",
        "/* a\n b */ BEGIN /* c */ { /* d */ $x /* e */ = 1; // f\n }",
        "BEGIN { $x = 1; // }\n }",
        "BEGIN { $x = 1 /* { */ ; }",
        "BEGIN { $x = 1; }\n/* end */",
        "BEGIN { $x = 1; } // end",
        "# a shell comment\nBEGIN {\n  # another\n  $x = 1;\n}",
    ],
)
def test_comments(text: str) -> None:
    probe = parsed(text).script.probes[0]
    assert shown(probe.body) == "{$x = 1}"


def test_comments_with_a_hash_are_warned_of_once() -> None:
    made = parsed("# one\n# two\nBEGIN { $x = 1; }")
    assert len(made.warnings) == 1 and "comment" in made.warnings[0].message


# --- probes


@pytest.mark.parametrize(
    ("text", "predicate", "body"),
    [
        ("BEGIN /pid == 1/ { $x = 1; }", "(pid == 1)", "{$x = 1}"),
        ("BEGIN /pid/2 == 1/ { }", "((pid / 2) == 1)", "{}"),
        ("BEGIN /pid / 2 / 3/ { }", "((pid / 2) / 3)", "{}"),
        ("BEGIN/pid/{ $x = 4 / 2; }", "pid", "{$x = (4 / 2)}"),
        ("BEGIN /pid/ // why\n { }", "pid", "{}"),
        ("BEGIN /pid/ /* why */ { }", "pid", "{}"),
        ("BEGIN\n/comm == \"a/b\"/\n{ }", "(comm == 'a/b')", "{}"),
        ("BEGIN /(pid / 2) / 3 && 1/ { }", "(((pid / 2) / 3) && 1)", "{}"),
        ("BEGIN /@a[pid]/ { }", "@a[pid]", "{}"),
    ],
)  # fmt: skip
def test_predicates_and_divisions(text: str, predicate: str, body: str) -> None:
    (probe,) = parsed(text).script.probes
    assert shown(probe.predicate) == predicate and shown(probe.body) == body


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("kprobe:vfs_read", ["kprobe", "vfs_read"]),
        ("kprobe:vfs_*", ["kprobe", "vfs_*"]),
        ("k:f+0x10", ["k", "f+0x10"]),
        ("kprobe:f.isra.0", ["kprobe", "f.isra.0"]),
        ("tracepoint:syscalls:sys_enter_*", ["tracepoint", "syscalls", "sys_enter_*"]),
        ("tracepoint:*:sched_switch", ["tracepoint", "*", "sched_switch"]),
        ("interval:s:1", ["interval", "s", "1"]),
        ("profile:hz:$1", ["profile", "hz", "$1"]),
        ("interval:1s", ["interval", "1s"]),
        ("uprobe:/bin/bash:readline", ["uprobe", "/bin/bash", "readline"]),
        ("uprobe:./a.out:main", ["uprobe", "./a.out", "main"]),
        ("uprobe:bash:readline", ["uprobe", "bash", "readline"]),
        ("uprobe:/bin/bash:0x1234", ["uprobe", "/bin/bash", "0x1234"]),
        ('uprobe:"/with space/x:y":"f(int)"', ["uprobe", "/with space/x:y", "f(int)"]),
        ("uprobe:/lib/lib*.so.6:malloc", ["uprobe", "/lib/lib*.so.6", "malloc"]),
        ("usdt:/usr/bin/x:prov:name", ["usdt", "/usr/bin/x", "prov", "name"]),
        ("uprobe:/x/y-z_1.so:cpp:ns::f", ["uprobe", "/x/y-z_1.so", "cpp", "ns", "", "f"]),
        ("hardware:cache-misses:1000", ["hardware", "cache-misses", "1000"]),
        ("BEGIN", ["BEGIN"]),
        ("kprobe:f_?x", ["kprobe", "f_?x"]),
        ("kprobe:mod:func", ["kprobe", "mod", "func"]),
        ("*:*", ["*", "*"]),
    ],
)
def test_attach_points(text: str, parts: list[str]) -> None:
    (probe,) = parsed(text + " { }").script.probes
    assert list(probe.points[0].parts) == parts


@pytest.mark.parametrize(
    "text",
    ["kprobe:a,kprobe:b { }", "kprobe:a, kprobe:b { }", "kprobe:a,\nkprobe:b,\n{ }", "kprobe:a ,kprobe:b{ }"],
)
def test_several_attach_points(text: str) -> None:
    (probe,) = parsed(text).script.probes
    assert [p.parts[1] for p in probe.points] == ["a", "b"]


def test_a_path_and_a_predicate() -> None:
    (probe,) = parsed("uprobe:/bin/sh:f /pid/ { }").script.probes
    assert probe.points[0].parts == ("uprobe", "/bin/sh", "f") and shown(probe.predicate) == "pid"


def test_an_attach_point_with_a_predicate_without_a_blank() -> None:
    (probe,) = parsed("kprobe:f/pid/{ }").script.probes
    assert probe.points[0].parts == ("kprobe", "f") and shown(probe.predicate) == "pid"


# --- statements


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("if ($a) { $b = 1 }", "if $a {$b = 1}"),
        ("if ($a == 1) { $b = 1; }", "if ($a == 1) {$b = 1}"),
        ("if ($a) { } else if ($b) { } else { $c = 1; }", "if $a {} else if $b {} else {$c = 1}"),
        ("while ($a < 5) { $a++; }", "while ($a < 5) {($a++)}"),
        ("unroll(3) { $a++ }", "unroll 3 {($a++)}"),
        ("unroll ($1) { $a++; };", "unroll $1 {($a++)}"),
        ("for ($i : 0..10) { $a += $i; }", "for $i in 0..10 {$a += $i}"),
        ("for ($i : $a + 1..$b) { }", "for $i in ($a + 1)..$b {}"),
        ("let $a;", "let $a"),
        ("let $a = 1;", "let $a = 1"),
        ("let $a: uint8;", "let $a: uint8"),
        ("let $a : struct x * = 1;", "let $a: struct x* = 1"),
        ("int a[] = {1, 2, 3};", "int a[None] = {1, 2, 3}"),
        ("int a[4] = {1};", "int a[4] = {1}"),
        ("return;", "return"),
        ("{ $a = 1; { $b = 2; } }", "{$a = 1; {$b = 2}}"),
        ("$a <<= 2; $b >>= 3; @c %= 4", "$a <<= 2|$b >>= 3|@c %= 4"),
        ("_ = f(1);", "f(1)"),
        ("@m[1, comm] = count();", "@m[1, comm] = count()"),
        ("if ($a) { break; } else { continue; }", "if $a {break} else {continue}"),
        ("f(); g()", "f()|g()"),
        ("$a = 1; if ($a) { } $b = 2", "$a = 1|if $a {}|$b = 2"),
    ],
)  # fmt: skip
def test_statements(text: str, expected: str) -> None:
    assert "|".join(map(shown, statements(text))) == expected


def test_config_block() -> None:
    script = parsed(
        'config = { max_strlen = 200; license = "GPL v2" missing_probes = warn; } BEGIN { }'
    ).script
    assert [(s.name, s.value) for s in script.settings] == [
        ("max_strlen", 200), ("license", "GPL v2"), ("missing_probes", "warn")]  # fmt: skip


# --- errors


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("BEGIN { $x = ; }", (1, 14), "unexpected ';', expecting an expression"),
        ("BEGIN { $x = 1 $y = 2; }", (1, 16), "unexpected '$y'"),
        ("BEGIN {\n  f(1;\n}", (2, 6), "unexpected ';'"),
        ("BEGIN { $x = 1;", (1, 15), "unexpected end of file"),
        ('BEGIN { f("abc); }', (1, 11), "this string has no end"),
        ("BEGIN { $x = 1; /* no end", (1, 17), "this comment has no end"),
        ("BEGIN { 1 = $x; }", (1, 9), "this cannot be assigned to"),
        ("BEGIN { x = 1; }", (1, 9), "'x' cannot be assigned to"),
        ("BEGIN { 5++; }", (1, 9), "needs a variable or a map"),
        ("BEGIN { f($x)++; }", (1, 9), "needs a variable or a map"),
        ("BEGIN { $x == 1 = 2; }", (1, 17), "unexpected '='"),
        ("BEGIN { } config = { a = 1 }", (1, 11), "config must stand before the first probe"),
        ("config = { a = 1 } config = { b = 1 } BEGIN { }", (1, 20), "config stands twice"),
        ("BEGIN /pid { }", (1, 12), ""),
        ("BEGIN { else { } }", (1, 9), "unexpected 'else'"),
        ("{ }", (1, 1), "unexpected '{'"),
        ("BEGIN { } }", (1, 11), "unexpected '}'"),
    ],
)
def test_errors_stand_where_the_mistake_is(text: str, place: tuple[int, int], message: str) -> None:
    with pytest.raises((ScriptError, ScriptErrors)) as caught:
        parsed(text)
    error = caught.value.errors[0] if isinstance(caught.value, ScriptErrors) else caught.value
    assert isinstance(error, ScriptError)
    assert error.span.locate()[:2] == place and message in error.message


def test_each_wrong_probe_is_reported() -> None:
    with pytest.raises(ScriptErrors) as caught:
        parsed("BEGIN { $x = ; }\nEND { $y = 1; }\nkprobe:f { f(; }\nkprobe:g { }")
    assert [e.span.locate()[0] for e in caught.value.errors] == [1, 3]


def test_deep_nesting_is_an_error_not_a_crash() -> None:
    with pytest.raises((ScriptError, ScriptErrors), match="levels deep"):
        expression("(" * 600 + "1" + ")" * 600)
    assert expression("((((((((((1))))))))))") == "1"


@pytest.mark.parametrize("text", ["", "\n", "// nothing\n", "struct x { int a; };"])
def test_a_script_without_probes_is_an_error(text: str) -> None:
    with pytest.raises((ScriptError, ScriptErrors), match="at least one probe"):
        parsed(text)


def test_spans_are_the_text_of_their_nodes() -> None:
    text = 'BEGIN /pid  > 1/ { @a[comm, 2] = (uint8)$x + f(1, "é") ; }'
    (probe,) = parsed(text).script.probes
    texts = {type(node).__name__: node.span.text for node in probe.body.walk()}
    assert texts["Index"] == "@a[comm, 2]" and texts["Cast"] == "(uint8)$x" and texts["Str"] == '"é"'
    assert texts["Call"] == 'f(1, "é")' and probe.predicate is not None
    assert probe.predicate.span.text == "pid  > 1"
    assert isinstance(probe.predicate, ast.Binary)
