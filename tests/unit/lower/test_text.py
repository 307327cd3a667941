"""Values that lie in memory: strings, tuples and arrays; how they are copied, cut and compared."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.lower.machine import Ran

THING = "BEGIN { $t = (struct thing *){thing}; "
BYTES = (-7 & 0xFFFFFFFF).to_bytes(4, "little") + b"name\0zzz" + bytes(4) + (4097 << 32).to_bytes(8, "little")
BYTES += (5).to_bytes(4, "little") + (3 | 9 << 3).to_bytes(4, "little")


def printed(body: str, **options: Any) -> list[Any]:
    return Ran(f"BEGIN {{ {body} }}", **options).printed


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        ("comm", '"bash"', True), ("comm", '"bas"', False), ("comm", '"bash2"', False),
        ('"bash"', "comm", True), ("comm", "comm", True),
        ("comm", '""', False), ("$s", "comm", True), ("$s", "$l", False),
        ("$l", '"a_text_of_thirty_letters_or_so"', True),
        ("$l", '"a_text_of_thirty_letters_or_s"', False), ('@m["k"]', "comm", True),
        ('@m["none"]', '""', True), ('"a"', '"a"', True),
        ('"a"', '"b"', False), ("$t.1", "comm", True), ("(1, comm)", "(1, $s)", True),
        ("(1, comm)", "(2, $s)", False),
        ("(pid, (tid, 3))", "(11, (12, 3))", True), ("(pid, (tid, 3))", "(11, (12, 4))", False),
    ],
)  # fmt: skip
def test_comparisons(left: str, right: str, same: bool) -> None:
    before = '$s = comm; $l = "a_text_of_thirty_letters_or_so"; @m["k"] = comm; $t = (5, comm);'
    assert printed(
        f"{before} print({left} == {right}); print({left} != {right}); "
        f"if ({left} == {right}) {{ print(9); }}"
    ) == [
        same, not same, *([9] if same else [])]  # fmt: skip


def test_strings_are_cut_to_what_holds_them() -> None:
    assert printed(
        'let $s: string[4] = comm; print($s); $x = comm; $x = "b"; print($x); print($x == "b");'
    ) == [b"bas", b"b", True]


def test_texts_of_a_ternary() -> None:
    assert printed('$s = pid == 11 ? "yes" : "never"; print($s); print(pid == 1 ? "yes" : comm);') == [
        b"yes",
        b"bash",
    ]


def test_characters_of_a_string() -> None:
    assert printed('$s = "AB"; print($s[0]); print($s[1]); print($s[2]);') == [65, 66, 0]


def test_members_of_a_kernel_struct() -> None:
    body = (
        "print($t->id); print($t->name); print($t->next->id); print($t->c == BLUE); "
        "print($t->low); print($t->high); @k[$t->name] = $t->id; @n = $t->name; "
        'print($t->name == "name"); print(*$t); }'
    )
    ran = Ran(THING + body, memory={"thing": BYTES})
    whole = {"id": -7, "name": b"name", "next": 4097 << 32, "c": 5, "low": 3, "high": 9}
    assert ran.printed == [-7, b"name", -7, True, 3, 9, True, whole]
    assert ran.maps == {"@k": {b"name": -7}, "@n": b"name"}


def test_a_struct_kept_in_a_map_and_a_variable() -> None:
    ran = Ran(
        THING + "@t[1] = *$t; print(@t[1].id); $v = *$t; print($v.low); print($v.name); print(@t[2].id); }",
        memory={"thing": BYTES},
    )
    assert ran.printed == [-7, 3, b"name", 0]


def test_tuples() -> None:
    assert printed(
        "$t = (pid, \"x\", (tid, comm)); print($t.0); print($t.1); print($t.2.1); print($t.2); "
        "$u = $t; print($u); print(($t, 1));"
    ) == [
        11, b"x", b"bash", (12, b"bash"), (11, b"x", (12, b"bash")), ((11, b"x", (12, b"bash")), 1)]  # fmt: skip


def test_arrays_of_bytes() -> None:
    assert printed(
        '$a = pton("10.1.2.3"); print($a[3]); print($a == pton("10.1.2.3")); '
        'print($a == pton("10.1.2.4")); @a[$a] = 1; print(@a[pton("10.1.2.3")]);'
    ) == [
        3, True, False, 1]  # fmt: skip


def test_casts_between_numbers_and_bytes() -> None:
    assert printed("$a = (uint8[4])(uint32)0x04030201; print($a[2]); print((uint32)$a);") == [3, 0x04030201]


@pytest.mark.parametrize("limit", [0, 16, 128, 4096])
def test_large_values_leave_the_stack(limit: int) -> None:
    """What a script means does not depend on where its values lie."""
    body = (
        "$s = str({p}); $u = str({p}, 80); @a[$s, $u] = ($s, 1); print(($u, $s)); "
        "if ($s == $u) { @same++; } print(strncmp($s, $u, 20)); "
    )
    text = (
        b"a text that is longer than sixty-four bytes, so that it is copied by a call, and compared in a loop"
    )
    ran = Ran(
        f"config = {{ on_stack_limit = {limit}; max_strlen = 200 }} BEGIN {{ {body} @b[comm] = "
        f"$u; $v = @b[comm]; print($v); }}"
    ,
              memory={"p": text + b"\0"})  # fmt: skip
    cut = text[:79]
    assert ran.printed == [(cut, text), cut] or ran.printed == [(cut, text), 0, cut]
    assert ran.maps["@a"] == {(text, cut): (text, 1)} and ran.maps["@b"] == {b"bash": cut}
    assert ran.maps.get("@same") is None or ran.maps["@same"] == 0
