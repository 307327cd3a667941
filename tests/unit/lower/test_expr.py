"""Expressions compiled and run: numbers, their signs and widths, conditions, what is evaluated when."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.lower.machine import Ran

M64 = (1 << 64) - 1


def value(expression: str, before: str = "", **inputs: Any) -> Any:
    """What print() sends of an expression whose operands are not known beforehand."""
    (made,) = Ran(f"BEGIN {{ {before} print({expression}); }}", times=[inputs]).printed
    return made


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("pid + 1", 12), ("pid - 20", -9), ("pid * 3", 33), ("pid / 2", 5), ("pid % 4", 3), ("pid & 2", 2),
        ("pid | 4", 15),
        ("pid ^ 1", 10), ("pid << 2", 44), ("pid >> 1", 5), ("~pid", 0xFFFFFFFF - 11), ("-pid", (1 << 32) - 11), ("-(int64)pid", -11),
        ("!pid", False), ("!!pid", True),
        ("(int8)-pid / 2", -5), ("-(int64)pid % 4", -3), ("-(int64)pid / 2", -5), ("-(int64)pid >> 1", -6),
        ("(int64)pid / -2", -5), ("-(int64)pid / -(int64)tid", 0), ("nsecs / 1000000", 5000),
        ("pid == 11", True), ("pid != 11", False), ("pid < 11", False), ("pid <= 11", True),
        ("pid > -1", True),
        ("-(int64)pid < 0", True), ("(uint64)-pid > pid", True), ("-(int64)pid < pid", True),
        ("(uint32)-1 == 0xffffffff", True),
        ("pid == 11 && tid == 12", True), ("pid == 1 || tid == 12", True), ("pid == 1 && tid", False),
        ("pid > 5 ? tid : uid", 12), ("pid > 50 ? tid : uid", 1000), ("(pid > 5 ? -1 : 1) < 0", True),
        ("pid + tid * 2", 35), ("(pid + tid) * 2", 46), ("1 << pid", 2048), ("pid / 2 * 2", 10),
        ("sizeof(uint32) + pid", 15),
        ("(bool)pid", True), ("(bool)(pid - 11)", False), ("1e3 + pid", 1011), ("100ms / 1us", 100000),
    ],
)  # fmt: skip
def test_operators(expression: str, expected: object) -> None:
    assert value(expression) == expected


@pytest.mark.parametrize(
    ("kind", "number", "expected"),
    [
        ("int8", 200, -56), ("uint8", 300, 44), ("int16", 40000, -25536), ("uint16", 65537, 1),
        ("int32", 1 << 31, -(1 << 31)),
        ("uint32", (1 << 32) + 5, 5), ("int64", 1 << 63, -(1 << 63)), ("uint64", M64, M64),
        ("uint8", -1, 255), ("int8", -1, -1),
        ("bool", 256, True),
    ],
)  # fmt: skip
def test_casts(kind: str, number: int, expected: int) -> None:
    assert value(f"({kind})nsecs", nsecs=number & M64) == expected
    assert value(f"({kind}){number}") == expected  # and so for what is known beforehand


@pytest.mark.parametrize(
    ("expression", "expected"),
    [("(uint8)(int8)nsecs", 200), ("(int8)(uint8)nsecs", -56),
     ("(uint64)(int8)nsecs", M64 - 55), ("(int64)(uint8)nsecs", 200),
     ("(uint16)(int8)nsecs", 65480), ("(uint32)(int16)(int8)nsecs", (1 << 32) - 56)],
)  # fmt: skip
def test_casts_of_casts(expression: str, expected: int) -> None:
    assert value(expression, nsecs=200) == expected


def test_a_declared_type_cuts_what_is_assigned() -> None:
    assert value("$x", "let $x: uint8 = (int8)nsecs;", nsecs=200) == 200
    assert value("$x", "let $x: int8 = (uint8)nsecs;", nsecs=200) == -56
    assert value("$x + 0", "let $x: uint16 = (uint16)nsecs;", nsecs=(1 << 16) + 3) == 3


def test_and_and_or_evaluate_what_they_need() -> None:
    ran = Ran("BEGIN { if (pid == 1 && @a++) { } if (pid == 11 || @b++) { } if (pid == 11 && @c++) { } }")
    assert ran.maps == {"@c": 1}


def test_a_ternary_evaluates_one_side() -> None:
    ran = Ran("BEGIN { $x = pid == 11 ? @a++ : @b++; pid == 1 ? print(1) : print(2); }")
    assert ran.maps == {"@a": 1} and ran.printed == [2]


def test_steps() -> None:
    ran = Ran("BEGIN { $x = (uint64)pid; print($x++); print(++$x); print($x--); print(--$x); print($x); }")
    assert ran.printed == [11, 13, 13, 11, 11]
    ran = Ran("BEGIN { print(@x++); print(++@x); print(@k[1]--); print(--@k[1]); }")
    assert ran.printed == [0, 2, 0, -2] and ran.maps == {"@x": 2, "@k": {1: -2}}


@pytest.mark.parametrize(
    ("operator", "expected"),
    [("+=", 14), ("-=", 8), ("*=", 33), ("/=", 3), ("%=", 2),
     ("&=", 3), ("|=", 11), ("^=", 8), ("<<=", 88), (">>=", 1)],
)  # fmt: skip
def test_compound_assignments(operator: str, expected: int) -> None:
    script = (
        f"BEGIN {{ $x = (uint64)pid; $x {operator} 3; @s = (uint64)pid; @s {operator} 3; "
        f"@k[1] = (uint64)pid; @k[1] {operator} 3; print($x) }}"
    )
    ran = Ran(script)
    assert ran.printed == [expected] and ran.maps == {"@s": expected, "@k": {1: expected}}


def test_operands_are_evaluated_from_left_to_right() -> None:
    assert Ran("BEGIN { $x = 1; $y = $x++ + $x; print($y); }").printed == [3]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [("1 || 0", True), ("0 || 0", False), ("1 && 0", False), ("2 && 1", True), ("3 > 2", True), ("-1 < 1", True),
     ("!5", False),
     ("1 == 1 ? 7 : 8", 7), ("~0", (1 << 64) - 1), ("2 < 2", False), ("2 <= 2", True)],
)  # fmt: skip
def test_conditions_known_beforehand(expression: str, expected: int) -> None:
    assert value(expression) == expected


def test_constants_fold_as_they_would_run() -> None:
    """The same expression of literals and of variables gives the same number."""
    for expression in (
        "{a} / {b}",
        "{a} % {b}",
        "{a} >> {b}",
        "{a} << 2",
        "{a} - {b}",
        "{a} * {b}",
        "{a} ^ {b}",
    ):
        for a, b in ((7, 2), (-7, 2), (7, -2), (-7, -2), (1 << 60, 3)):
            known = value(expression.format(a=a, b=b))
            ran = value(
                expression.format(a="$a", b="$b"),
                f"$a = {a}; $b = {b}; $a += (int64)pid - 11; $b += (int64)pid - 11;",
            )
            assert known == ran, (expression, a, b)


# --- memory


THING = (
    "struct s { uint8_t a; int16_t b; uint32_t lo:3, mid:10, hi:19; int32_t neg:5; "
    "char text[6]; uint16_t arr[3]; struct s *next; }; "
)
BYTES = (
    b"\xfe\0\xfe\xff"
    + (5 | 0x2AA << 3 | 0x12345 << 13).to_bytes(4, "little")
    + b"\x1b"
    + b"abcde\0"
    + b"\0\1\0\2\0\3\0"
)


def test_struct_members() -> None:
    fields = ("a", "b", "lo", "mid", "hi", "neg", "text", "arr[1]", "arr")
    prints = "".join(f"print($p->{field});" for field in fields)
    ran = Ran(f"{THING} BEGIN {{ $p = (struct s *){{s}}; {prints} }}", memory={"s": BYTES.ljust(40, b"\0")})
    assert ran.printed == [0xFE, -2, 5, 0x2AA, 0x12345, -5, b"abcde", 2, [1, 2, 3]]


def test_pointers() -> None:
    memory = {"s": BYTES.ljust(24, b"\0") + (4098 << 32).to_bytes(8, "little"), "t": b"\x07".ljust(32, b"\0")}
    ran = Ran(
        f"{THING} BEGIN {{ $p = (struct s *){{s}}; print($p->next->a); "
        f"print(*(uint16 *)({{s}} + 2)); print(((uint16 *){{s}})[1]);"

                  " $q = (uint16 *){s}; $q += 1; print(*$q); $q++; print(*$q); "
                  "print(*($q - 1)); print(*(1 + $q - 2)); print((uint64)$q - {s}); }"
              ,
              memory=memory)  # fmt: skip
    assert ran.printed == [7, 65534, 65534, 65534, 0xB555, 65534, 65534, 4]


def test_pointers_as_numbers() -> None:
    ran = Ran(
        "BEGIN { $p = (uint64 *)(pid + 0); $q = (uint64 *)(pid + 8); print((uint64)$q - (uint64)$p); "
        "print((uint64)$p & 3); print(1 + $p); print(100 - (uint64)$p); }"
    )
    assert ran.printed == [8, 3, 19, 89]


def test_what_cannot_be_read_is_zero() -> None:
    ran = Ran(
        f"{THING} BEGIN {{ $p = (struct s *)0; print($p->b); print($p->text); "
        f"print($p->next->a); print(*(uint32 *)8); }}"
    )
    assert ran.printed == [0, b"", 0, 0]


def test_arrays() -> None:
    ran = Ran(
        "BEGIN { int a[] = {5, 6, 7}; int b[4] = {1}; print(a[0]); print(a[pid - 9]); "
        "print(b[0]); print(b[3]); print(a[pid]); }"
    )
    assert ran.printed == [5, 7, 1, 0, 0]
