"""Statements compiled and run."""

from __future__ import annotations

import pytest

from tests.unit.lower.machine import Ran


@pytest.mark.parametrize(("pid", "expected"), [(1, ["one"]), (2, ["two"]), (3, ["more"])])
def test_if_else(pid: int, expected: list[str]) -> None:
    script = 'BEGIN { if (pid == 1) { print("one"); } else if (pid == 2) { print("two"); } else { print("more"); } }'
    assert Ran(script, times=[{"pid": pid}]).printed == [text.encode() for text in expected]


def test_variables_of_both_arms_meet() -> None:
    script = "BEGIN { if (pid == 1) { $x = 5; } else { $x = tid; } print($x); }"
    assert Ran(script, times=[{"pid": 1}, {"pid": 2}]).printed == [5, 12]


def test_a_variable_that_no_path_set_is_zero() -> None:
    script = 'BEGIN { if (pid == 1) { $x = 5; $s = "set"; } print($x); print($s); }'
    assert Ran(script, times=[{"pid": 1}, {"pid": 2}]).printed == [5, b"set", 0, b""]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("while ($i < 5) { $i++; }", 5),
        ("while (1) { if ($i == 3) { break; } $i++; }", 3),
        ("$n = 0; while ($n < 6) { $n++; if ($n % 2) { continue; } $i += $n; }", 12),
        ("unroll(4) { $i += 2; }", 8),
        ("unroll(4) { $i++; if ($i == 2) { break; } }", 2),
        ("unroll(4) { $i++; if ($i % 2) { continue; } $i += 10; }", 24),
        ("for ($k : 0..4) { $i += $k; }", 6),
        ("for ($k : -2..2) { $i += $k; }", -2),
        ("for ($k : 3..3) { $i = 99; }", 0),
        ("for ($k : 5..2) { $i = 99; }", 0),
        ("for ($k : 0..9) { if ($k == 4) { break; } if ($k == 1) { continue; } $i += $k; }", 5),
        ("for ($k : 0..3) { for ($j : 0..$k) { $i += 10 * $k + $j; } }", 10 + 20 + 21),
        ("$e = 3; for ($k : 0..$e) { $e = 100; $i++; }", 3),
        ("for ($k : 0..5) { $k += 10; $i++; }", 5),
        ("while ($i < 3) { unroll(2) { if ($i == 1) { break; } $i++; } $i++; }", 5),
        ("{ { $i = 7; } }", 7),
    ],
)
def test_loops(body: str, expected: int) -> None:
    assert Ran(f"BEGIN {{ $i = (int64)pid - 11; {body} print($i); }}").printed == [expected]


def test_return_leaves_the_probe() -> None:
    ran = Ran("BEGIN { print(1); if (pid == 11) { return; } print(2); }", times=[{}, {"pid": 1}])
    assert ran.printed == [1, 1, 2] and ran.results == [0, 0]
    assert Ran("BEGIN { for ($i : 0..3) { print($i); return; } print(9); }").printed == [0]
    assert Ran("BEGIN { print(1); return; print(2); }").printed == [1]


def test_predicates() -> None:
    ran = Ran('BEGIN /pid == 11 && comm != "x"/ { print(pid); }', times=[{}, {"pid": 1}, {"comm": b"x"}])
    assert ran.printed == [11]


def test_let() -> None:
    ran = Ran(
        "BEGIN { let $x; print($x + 1); let $y = 5; { let $z = $y; $x = $z; } print($x); "
        "let $s: string[3] = comm; print($s); }"
    )
    assert ran.printed == [1, 5, b"ba"]


def test_underscore_drops_a_value() -> None:
    assert Ran("BEGIN { _ = @x++; }").maps == {"@x": 1}


def test_loops_over_maps() -> None:
    ran = Ran("""BEGIN {
        @m[1] = 10; @m[2] = 20; @m[3] = 30; @two["a", 5] = 7; @c[4] = count();
        $sum = 0;
        for ($kv : @m) { if ($kv.0 == 2) { continue; } $sum += $kv.1; }
        for ($kv : @m) { if ($kv.0 == 2) { break; } print($kv.0); }
        for ($kv : @two) { print($kv); }
        for ($kv : @c) { print($kv.1); }
        print($sum);
    }""")
    assert ran.printed == [1, ((b"a", 5), 7), 1, 40]


def test_return_inside_a_loop_over_a_map_leaves_the_probe() -> None:
    ran = Ran(
        "BEGIN { @m[1] = 1; @m[2] = 2; for ($kv : @m) { if (pid == 11) { return; } print($kv.0); } print(9); }",
        times=[{}, {"pid": 5}],
    )
    assert ran.printed == [1, 2, 9]
