"""Maps compiled and run: keys, values, what is not there, deletion, aggregation of several runs."""

from __future__ import annotations

from typing import Any

import pytest

from pbt.bundle import Map
from tests.unit.lower.machine import MODERN, Ran, compiled, machine


def maps(body: str, *times: dict[str, Any], **options: Any) -> dict[str, Any]:
    return Ran(f"BEGIN {{ {body} }}", times=times or ({},), **options).maps


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("@ = 5;", {"@": 5}),
        ("@a = 5; @b = -5;", {"@a": 5, "@b": -5}),
        ("@a = pid;", {"@a": 11}),
        ('@a = "text";', {"@a": b"text"}),
        ("@a = comm;", {"@a": b"bash"}),
        ("@a = (1, \"x\", -2);", {"@a": (1, b"x", -2)}),
        ("@a = ((1, 2), 3);", {"@a": ((1, 2), 3)}),
        ("@a = pid == 11;", {"@a": True}),
        ("@a[1] = 2; @a[-1] = 3;", {"@a": {1: 2, -1: 3}}),
        ("@a[pid, comm] = 1; @a[(1, \"sh\")] = 2;", {"@a": {(11, b"bash"): 1, (1, b"sh"): 2}}),
        ('@a["long_text_here"] = 1; @a["x"] = 2; @a[comm] = 3;', {"@a": {b"long_text_here": 1, b"x": 2, b"bash": 3}}),
        ("@a[(1, 2), 3] = 1;", {"@a": {((1, 2), 3): 1}}),
        ("@a[true] = 1; @a[pid == 1] = 2;", {"@a": {True: 1, False: 2}}),
        ("@a[1] = 1; @a[1] = 2;", {"@a": {1: 2}}),
        ("@a[1] = 0;", {"@a": {1: 0}}),
        ("@a = 0;", {"@a": 0}),
        ('@a = ""; @b[1] = "";', {"@a": b"", "@b": {1: b""}}),
        ("$x = @a; if (0) { @a = 1; }", {}),
        ("@a[1] += 5; @a[1] -= 2; @b |= 4; @b ^= 1;", {"@a": {1: 3}, "@b": 5}),
        ("@a[@b[1]] = 1; @b[1] = 7; @a[@b[1]] = 2;", {"@a": {0: 1, 7: 2}, "@b": {1: 7}}),
        ("@a[1] = 1; @b = @a[1] + @a[2];", {"@a": {1: 1}, "@b": 1}),
    ],
)  # fmt: skip
def test_plain_maps(body: str, expected: dict[str, Any]) -> None:
    assert maps(body) == expected


def test_keys_with_holes_are_equal_when_their_parts_are() -> None:
    """Padding and tails of strings are cleared, whatever the stack held."""
    body = '@a[(uint8)pid, (uint64)2, comm] = 1; $s = comm; @b[$s, 1] = 1; $t = (1, "ab"); @c[$t] = 1;'
    dirty = 'print(("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 0x7777777777777777, "bbbbbbbbbbbbbbbbbbb")); '
    found = Ran("BEGIN { " + body + dirty + body + "}", times=[{}, {"comm": b"bash"}]).maps
    assert found == {"@a": {(11, 2, b"bash"): 1}, "@b": {(b"bash", 1): 1}, "@c": {(1, b"ab"): 1}}


def test_strings_widen_to_the_longest() -> None:
    assert maps('@a = "ab"; @a = "a_longer_text"; @k["xy"] = "q"; @k["xyz_and_more"] = "rst"; @b = @k["xy"];') == {
        "@a": b"a_longer_text", "@k": {b"xy": b"q", b"xyz_and_more": b"rst"}, "@b": b"q"}  # fmt: skip


def test_shorter_texts_leave_nothing_of_longer_ones() -> None:
    found = Ran(
        'BEGIN { @a["k"] = "a_longer_text"; @a["k"] = "b"; '
        'if (@a["k"] == "b") { @same = 1; } @m[@a["k"]] = 1; @m["b"]++; }'
    ).maps
    assert found["@same"] == 1 and found["@m"] == {b"b": 2}


def test_tuples_widen_element_by_element() -> None:
    assert maps('@a[1] = (1, "x"); @a[2] = (pid, "longer"); @b = @a[1]; $t = @a[2]; @c = $t.1;') == {
        "@a": {1: (1, b"x"), 2: (11, b"longer")}, "@b": (1, b"x"), "@c": b"longer"}  # fmt: skip


def test_deletion() -> None:
    found = Ran(
        "BEGIN { @a[1] = 1; @a[2] = 2; print(delete(@a[1])); print(delete(@a, 2)); "
        "print(delete(@a, 2)); @b = 5; print(delete(@b)); print(delete(@b)); }"
    )
    assert found.maps == {} and found.printed == [True, True, False, True, False]


def test_has_key() -> None:
    ran = Ran(
        'BEGIN { @a[1] = 0; @b[1, "x"] = 1; print(has_key(@a, 1)); print(has_key(@a, 2)); '
        'print(has_key(@b, (1, "x"))); print(has_key(@b, (1, "y"))); }'
    )
    assert ran.printed == [True, False, True, False]


RUNS = tuple({"pid": pid, "nsecs": n & (1 << 64) - 1} for pid, n in ((1, 10), (1, -30), (2, 7), (1, 5)))


@pytest.mark.parametrize(
    ("call", "scalar", "keyed"),
    [
        ("count()", 4, {1: 3, 2: 1}),
        ("sum((int64)nsecs)", -8, {1: -15, 2: 7}),
        ("sum(nsecs)", -8 & (1 << 64) - 1, {1: -15 & (1 << 64) - 1, 2: 7}),
        ("min((int64)nsecs)", -30, {1: -30, 2: 7}),
        ("max((int64)nsecs)", 10, {1: 10, 2: 7}),
        ("min(nsecs)", 5, {1: 5, 2: 7}),
        ("max(nsecs)", -30 & (1 << 64) - 1, {1: -30 & (1 << 64) - 1, 2: 7}),
        ("avg((int64)nsecs)", -2, {1: -5, 2: 7}),
        ("stats((int64)nsecs)", (4, -2, -8), {1: (3, -5, -15), 2: (1, 7, 7)}),
    ],
)
def test_aggregations(call: str, scalar: Any, keyed: Any) -> None:
    found = maps(f"@s = {call}; @k[pid] = {call};", *RUNS)
    shown = {key: tuple(v) if isinstance(v, tuple) else v for key, v in found["@k"].items()}
    assert (
        tuple(found["@s"]) if isinstance(found["@s"], tuple) else found["@s"]
    ) == scalar and shown == keyed


@pytest.mark.parametrize(
    ("bits", "number", "bucket"),
    [
        (0, -1, 0), (0, 0, 1), (0, 1, 2), (0, 2, 3), (0, 3, 3), (0, 4, 4), (0, 1023, 11), (0, 1024, 12),
        (0, (1 << 63) - 1, 64),
        (2, -5, 0), (2, 0, 1), (2, 3, 4), (2, 4, 5), (2, 5, 6), (2, 7, 8), (2, 8, 9), (2, 9, 9), (2, 10, 10),
        (2, 15, 12), (2, 16, 13),
        (5, 31, 32), (5, 32, 33), (5, 63, 64), (5, 64, 65), (5, 66, 66),
    ],
)  # fmt: skip
def test_hist(bits: int, number: int, bucket: int) -> None:
    """0: below zero; then 2^bits values of their own, then 2^bits buckets for each power of two."""
    inputs = {"nsecs": number & (1 << 64) - 1}
    assert maps(f"@h = hist((int64)nsecs, {bits}); @k[1] = hist((int64)nsecs, {bits});", inputs) == {
        "@h": {bucket: 1}, "@k": {1: {bucket: 1}}}  # fmt: skip


@pytest.mark.parametrize(
    ("number", "bucket"),
    [(-11, 0), (-10, 1), (-1, 1), (0, 2), (9, 2), (10, 3), (19, 3), (20, 4), (21, 4), (999, 4)],
)
def test_lhist(number: int, bucket: int) -> None:
    inputs = {"nsecs": number & (1 << 64) - 1}
    assert maps("@h = lhist((int64)nsecs, -10, 20, 10);", inputs) == {"@h": {bucket: 1}}


def test_histograms_of_keys_are_deleted_with_all_their_buckets() -> None:
    found = Ran(
        "BEGIN { @h[1] = hist(pid); @h[1] = hist(nsecs); @h[2] = hist(5); print(delete(@h[1])); print(delete(@h[3])); }"
    )
    assert found.maps == {"@h": {2: {4: 1}}} and found.printed == [True, False]


def test_aggregations_are_numbers_in_expressions() -> None:
    ran = Ran("BEGIN { @c = count(); @c = count(); @s[1] = sum(-5); @a = avg(7); @m = max(3); @n = min(-9); "
                  "print(@c); print(@c + 1); print(@s[1] * 2); print(@a == 7); "
                  "print((int64)@m); print(-@n); print(@s[2] + 0); }"
              )  # fmt: skip
    assert ran.sent[0] == ("print",)  # a map by itself is printed as a map
    assert [record[1] for record in ran.sent[1:]] == [3, -10, True, 3, 9, 0]


def declared(script: str) -> dict[str, Map]:
    bundle = compiled(script).bundle
    assert bundle is not None
    return {m.name: m for m in bundle.maps}


def test_kinds_of_bpf_maps() -> None:
    found = declared(
        "BEGIN { @s = 1; @k[1] = 1; @c = count(); @kc[1, 2] = count(); @h = hist(1); @kh[1] = hist(1); @t = comm; }"
    )
    shape = {
        n: (m.map_type, m.key_size, m.value_size, m.max_entries) for n, m in found.items() if n[0] == "@"
    }
    assert shape == {
        "@s": ("ARRAY", 4, 16, 1), "@k": ("HASH", 8, 8, 4096), "@c": ("PERCPU_ARRAY", 4, 16, 1),
        "@kc": ("PERCPU_HASH", 8, 8, 4096), "@h": ("PERCPU_ARRAY", 4, 8, 67),
        "@kh": ("PERCPU_HASH", 8, 8, 4096),
        "@t": ("ARRAY", 4, 24, 1),
    }  # fmt: skip


def test_declared_maps() -> None:
    found = declared("let @a = lruhash(7); let @b = percpulruhash(8); BEGIN { @a[1] = 1; @b[1] = count(); }")
    assert (found["@a"].map_type, found["@a"].max_entries) == ("LRU_HASH", 7)
    assert (found["@b"].map_type, found["@b"].max_entries) == ("LRU_PERCPU_HASH", 8)


def test_config_max_map_keys() -> None:
    assert declared("config = { max_map_keys = 9 } BEGIN { @a[1] = 1; @b = 1; }")["@a"].max_entries == 9


def test_a_full_hash_loses_the_update_and_nothing_else() -> None:
    """An update that finds no room leaves the program running."""

    class Full(Ran):
        def _map_update_elem(
            self, machine: Any, map_: int, key: int, value: int, flags: int, *rest: int
        ) -> int:
            return -7 & (1 << 64) - 1 if self.handles[map_].map_type.endswith("HASH") else super()._map_update_elem(
                machine, map_, key, value, flags, *rest)  # fmt: skip

    ran = Full("BEGIN { @a[1] = 1; @b[1] = count(); @c[1]++; print(@a[1]); print(@c[1]); }")
    assert ran.maps == {} and ran.printed == [0, 0]


def test_without_per_cpu_lookups_aggregations_cannot_be_read() -> None:
    from pbt.source import ScriptErrors

    target = machine(tuple(f for f in MODERN if f != "map_lookup_percpu_elem"))
    with pytest.raises(ScriptErrors, match=r"came with Linux 5\.19"):
        compiled("BEGIN { @c = count(); print(@c + 1); }", target=target)
