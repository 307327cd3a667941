"""Types of expressions, maps and variables; what the checker refuses, and where it points."""

from __future__ import annotations

import pytest

from pbt.lang import ast
from pbt.lang.check import check
from pbt.lang.typed import Typed
from pbt.pipeline import Options, run
from pbt.source import ScriptError, ScriptErrors, Source
from pbt.types import (
    BOOL,
    CHAR,
    I8,
    I16,
    I64,
    U32,
    U64,
    Enum,
    Int,
    Natural,
    Pointer,
    Str,
    Struct,
    Tuple,
    Type,
)
from tests.unit.lower.machine import machine

assert check
NATURAL = Natural(1, True)  # the type of a small literal


def typed(script: str, *params: str, unsafe: bool = False) -> Typed:
    made = run(Source("test", script), machine(), Options(params, unsafe, None, {}), "check").typed
    assert made is not None
    return made


def kind(expression: str, before: str = "") -> Type:
    """The type of an expression in `BEGIN`."""
    made = typed(f"kprobe:do_it {{ {before} print({expression}); }}")
    (instance,) = made.instances
    call = instance.probe.body.body[-1]
    assert isinstance(call, ast.ExprStmt) and isinstance(call.value, ast.Call)
    return instance.types[call.value.args[0]]


T = "$t = (struct thing *)arg0;"


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("1", NATURAL), ("300", Natural(2, True)), ("0xffffffffffffffff", U64), ("-1", I8), ('"abc"', Str(4)), ('"ü"', Str(3)),
        ("true", BOOL), ("pid", U32), ("nsecs", U64),
        ("comm", Str(16)), ("pid + 1", U64), ("pid - 1", I64), ("(int8)pid", Int(1, True)),
        ("(int8)pid + 1", I64), ("(int8)pid + pid", I64),
        ("pid + -1", I64), ("pid == 1", BOOL), ("!pid", BOOL), ("~pid", U32), ("-pid", U32), ("-(int8)pid", I64), ("~nsecs", U64), ("~5", U64), ("1 + 2", NATURAL), ("100 + 100", Natural(2, True)), ("(int8)1 + 2", I64),
        ("pid ? 1 : 2", NATURAL), ("pid ? 1 : -300", I16),
        ("pid ? comm : \"x\"", Str(16)), ("pid ? pid : -1", I64), ("(1, comm)", Tuple((NATURAL, Str(16)))),
        ("(pid, 1).0", U32),
        ("sizeof(int)", U64), ("(bool)pid", BOOL), ("arg0", U64), ("(uint64 *)arg0", Pointer(U64, "kernel")),
        ("*(uint32 *)arg0", U32),
        ("((uint32 *)arg0)[5]", U32), ("(char *)arg0 + 5", Pointer(CHAR, "kernel")),
        ("uptr(arg0)", Pointer(CHAR, "user")),
        ("str(arg0)", Str(1024)), ("str(arg0, 10)", Str(10)), ("RED", Enum("color")), ("AF_INET6", NATURAL),
        ("1 ? 2 : 3", NATURAL),
    ],
)  # fmt: skip
def test_types(expression: str, expected: Type) -> None:
    found = kind(expression)
    if isinstance(expected, Enum):
        assert isinstance(found, Enum) and found.name == "color"
    elif expression == "pid":
        assert found in (U32, U64)
    else:
        assert found == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [("$t->id", Int(4, True)), ("$t->name", "int8[8]"), ("$t->next->next->high", U32),
     ("*$t", "struct thing"), ("$t->c", "enum color"),
     ("(*$t).low", U32), ("$t->next", "struct thing *"), ("$t.id", Int(4, True))],
)  # fmt: skip
def test_members(expression: str, expected: Type | str) -> None:
    assert str(kind(expression, T)) == str(expected)


def test_pointers_stay_in_their_space() -> None:
    found = kind("((struct thing *)uptr(arg0))->next")
    assert isinstance(found, Pointer) and found.space == "user"
    found = kind("$t->next", T)
    assert isinstance(found, Pointer) and found.space == "kernel" and isinstance(found.target, Struct)


# --- maps and variables


@pytest.mark.parametrize(
    ("body", "key", "value"),
    [
        ("@m = 1;", (), NATURAL), ("@m = pid;", (), U32), ("@m = 1; @m = pid;", (), U32),
        ("@m = 1; @m = -300;", (), I16), ("@m = 1; @m = 0x1ffffffff;", (), Natural(8, True)),
        ("@m = (int8)pid;", (), I8), ("@m = pid == 1;", (), BOOL), ("@m = 1; @m++;", (), I64),
        ("@m = pid == 1; @m = 5;", (), NATURAL), ("@m = 1; @m += pid;", (), U64), ('@m = "ab"; @m = "abcd";', (), Str(5)),
        ("@m[1] = 1;", (NATURAL,), NATURAL), ("@m[pid, comm] = 1;", (U32, Str(16)), NATURAL),
        ("@m[(pid, comm)] = 1;", (U32, Str(16)), NATURAL),
        ("@m[(1, 200), 3] = 1;", (Tuple((NATURAL, Natural(2, True))), NATURAL), NATURAL),
        ('@m["a"] = 1; @m["abc"] = 1;', (Str(4),), NATURAL),
        ("@m[pid] = 1; @m[-1] = 1;", (I64,), NATURAL),
        ("@m = (1, \"a\"); @m = (pid, comm);", (), Tuple((U32, Str(16)))),
        ("@n = @m[1]; @m[1] = pid;", (NATURAL,), U32), ("@m++;", (), I64), ("@m += pid;", (), U64),
        ("$x = comm; @m[$x] = $x;", (Str(16),), Str(16)),
        ("@m = @n; @n = comm;", (), Str(16)), ("@m[@n] = 1; @n = comm;", (Str(16),), NATURAL),
        ("@m = nsecs; @m = 5;", (), None),
    ],
)  # fmt: skip
def test_maps_take_their_types_from_all_uses(body: str, key: tuple[Type, ...], value: Type | None) -> None:
    found = typed(f"BEGIN {{ {body} }}").maps["@m"]
    assert found.key == key and found.value in ((value,) if value else (I64, U64))


def test_maps_take_their_types_from_all_probes() -> None:
    maps = typed(
        'BEGIN { print(@a["x"]); } kprobe:do_it { @a[comm] = (pid, "longer than that"); } END { @a["y"] = (1, "q"); }'
    ).maps
    assert maps["@a"].key == (Str(16),) and maps["@a"].value == Tuple((U32, Str(17)))


def test_aggregations() -> None:
    maps = typed(
        "BEGIN { @c = count(); @s[pid] = sum(-1); @u = max(nsecs); @h = hist(1, 3); @l[comm] = lhist(pid, 1, 9, 2); }"
    ).maps
    assert {n: (m.aggregation, m.args, m.signed) for n, m in maps.items()} == {
        "@c": ("count", (), False), "@s": ("sum", (), True), "@u": ("max", (), False),
        "@h": ("hist", (3,), True),
        "@l": ("lhist", (1, 9, 2), False)}  # fmt: skip


def test_variables_widen() -> None:
    made = typed(
        'BEGIN { $x = "a"; $x = "abc"; $y = (int8)1; $y = pid; $z = (uint16)pid; '
        'if (1) { $q = 1; } if (1) { $q = "t"; } }'
    ).instances[0]
    kinds = {name: str(kind) for name, kind in made.variables.items()}
    assert kinds["$x"] == "string[4]" and kinds["$y"] == "int64" and kinds["$z"] == "uint16"
    assert kinds["$q"] == "int8" and kinds["$q#2"] == "string[2]"


@pytest.mark.parametrize(
    ("first", "second", "kind"),
    [("(uint8)pid", "127", "uint8"), ("(uint8)pid", "255", "uint16"), ("(int8)pid", "127", "int8"),
     ("(int8)pid", "128", "int16"),
     ("(int8)pid", "-128", "int8"), ("(uint8)pid", "-1", "int16"), ("pid", "-1", "int64"),
     ("nsecs", "5", "uint64"), ("(int16)pid", "-40000", "int32")],
)  # fmt: skip
def test_literals_widen_as_far_as_they_must(first: str, second: str, kind: str) -> None:
    made = typed(f"BEGIN {{ $x = {first}; $x = {second}; }}").instances[0]
    assert str(made.variables["$x"]) == kind


def test_one_body_for_each_context() -> None:
    made = typed("kprobe:do_*, BEGIN { @ = 1; }").instances
    assert sorted(len(i.places) for i in made) == [1, 2]
    assert len(typed("kprobe:do_* { @ = probe; }").instances) == 2


def test_defines_enums_and_parameters() -> None:
    script = (
        "#define TWO 2\n#define SUM (TWO + $1)\nenum e { A = 7 };\nBEGIN { @a = SUM; @b = A; "
        "@c = $2; @d = str($2); @e = $#; }"
    )
    maps = typed(script, "40", "text").maps
    assert [str(maps[n].value) for n in ("@a", "@c", "@d", "@e")] == [
        "int8",
        "string[5]",
        "string[5]",
        "int8",
    ]


# --- errors


ERRORS = (
    ("@a = 1; @a = comm", "comm",
        "Type mismatch for @a: trying to assign value of type 'string[16]' when map already "
        "has a type"
    ),
    ("@a = 1; @a[1] = 1", "@a[1]", "previously used without one"),
    ("@a[1] = 1; @a = 1", "@a", "previously used with one"),
    ("@a[1] = 1; @a[1, 2] = 1", "@a[1, 2]", "Argument mismatch for @a"),
    ("@a[1] = 1; @a[comm] = 1", "@a[comm]", "Argument mismatch for @a"),
    ("@a = count(); @a = 1", "1", "'count_t'"),
    ("@a = 1; @a = count()", "count()", "'count_t'"),
    ("@a = count(); @a = sum(1)", "sum(1)", "'sum_t'"),
    ("print(@a + 1)", "@a", "Undefined map: @a"),
    ("@count = 1; print(@coumt + 1)", "@coumt", "Undefined map: @coumt"),
    ("$x = 1; $x = comm", "comm", "Type mismatch for $x"),
    ("print($x)", "$x", "Undefined or undeclared variable: $x"),
    ("print(foo)", "foo", "Unknown identifier: 'foo'"),
    ("foo()", "foo()", "Unknown function: 'foo'"),
    ("print(strlen)", "strlen", ""),
    ("$x = 1 / 0", "0", "division by zero"),
    ("$x = pid % (2 - 2)", "2 - 2", "division by zero"),
    ("$x = comm + 1", "comm + 1", "+ operator can not be used"),
    ("if (comm == 5) { }", "comm == 5", "Type mismatch for '=='"),
    ("if ((1, 2)) { }", "(1, 2)", "Invalid condition"),
    ("print((1, 2).5)", "5", "Invalid tuple index"),
    ("print(pid.x)", "pid", "Can not access field 'x'"),
    ("print(((struct thing *)0)->nxt)", "nxt", "does not contain a field named 'nxt'"),
    ("print((struct nothing *)0)", "(struct nothing *)", "Cannot resolve unknown type"),
    ("print((struct thing)0)", "(struct thing)", "Cannot cast from"),
    ("print((int32)comm)", "(int32)comm", "Cannot cast from"),
    ("print(*comm)", "*comm", "The * operator can not be used"),
    ("print(*(void *)0)", "*(void *)0", "void pointer"),
    ("print(&pid)", "&pid", "address"),
    ("break", "break", "outside of a loop"),
    ("unroll(0) { }", "0", "minimum value is 1"),
    ("unroll(101) { }", "101", "maximum value is 100"),
    ("unroll(pid) { }", "pid", "must be an integer literal"),
    ("for ($i : 0..comm) { }", "comm", "a range goes from one integer to another"),
    ("$x = exit()", "exit()", "no value to assign"),
    ("$x = pid ? 1 : comm", "pid ? 1 : comm", "must return the same type"),
    ("int a[2] = {1, 2, 3}", "int a[2] = {1, 2, 3}", "3 values for an array of 2"),
    ("int a[2] = {1}; print(a[2])", "a[2]", "out of bounds"),
    ("@a[exit()] = 1", "exit()", "cannot be used as a map key"),
    ("$x = -comm", "-comm", "can not be used on expressions of type"),
    ("$x = comm; $x++", "$x++", "can not be used on expressions of type"),
    ("let $x: uint8 = comm", "comm", "Type mismatch for $x"),
    ("print(offsetof(struct thing, q))", "offsetof(struct thing, q)", "does not contain"),
    ("for ($kv : @a) { } @a = 1", "@a", "has no keys"),
    ("print(1, 2)", "2", "only for a whole map"),
    ("print(pid.0)", "pid", "Can not access field"),
    ("@a = hist(1); print(@a + 1)", "@a", "can only be printed"),
)  # fmt: skip


@pytest.mark.parametrize(("body", "text", "message"), ERRORS, ids=[body for body, _, _ in ERRORS])
def test_errors_point_at_the_mistake(body: str, text: str, message: str) -> None:
    with pytest.raises((ScriptError, ScriptErrors)) as caught:
        typed(f"BEGIN {{ {body}; }}")
    errors = caught.value.errors if isinstance(caught.value, ScriptErrors) else (caught.value,)
    assert len(errors) == 1, [str(e) for e in errors]
    assert errors[0].span.text == text and message in errors[0].message


def test_hints() -> None:
    for body, hint in (
        ("print(@coumt); @count = 1", ""), ("print(((struct thing *)0)->nxt)", "did you mean next"),
        ("print(foo)", "variables are written $name"),
        ("print(AF_INT)", "did you mean AF_INET"), ("print(prnt(1))", "did you mean print"),
    ):  # fmt: skip
        if not hint:
            continue
        with pytest.raises((ScriptError, ScriptErrors)) as caught:
            typed(f"BEGIN {{ {body}; }}")
        assert hint in str(caught.value), body


def test_independent_mistakes_are_reported_together() -> None:
    with pytest.raises(ScriptErrors) as caught:
        typed("BEGIN {\n print(foo);\n $x = comm + 1;\n if (1) { nothing(); }\n}\nEND { @ = bar; }")
    assert [e.span.locate()[0] for e in caught.value.errors] == [2, 3, 4, 6]


def test_defines_that_contain_themselves() -> None:
    with pytest.raises((ScriptError, ScriptErrors), match="contains itself"):
        typed("#define A B\n#define B A\nBEGIN { @ = A; }")


def test_errors_in_a_define_point_into_it() -> None:
    with pytest.raises((ScriptError, ScriptErrors)) as caught:
        typed("#define A (1 + nothing)\nBEGIN { @ = A; }")
    error = caught.value.errors[0] if isinstance(caught.value, ScriptErrors) else caught.value
    assert isinstance(error, ScriptError) and error.span.text == "nothing" and error.span.locate()[0] == 1


def test_missing_parameters_are_warned_of() -> None:
    made = typed("BEGIN { @ = $1; @s = str($2); }")
    assert [w.span.text for w in made.warnings] == ["$1", "$2"]
