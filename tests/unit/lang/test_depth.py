"""Nesting without end: refused with its place, and quickly; what is deep but not too deep compiles."""

from __future__ import annotations

import time

import pytest

from pbt.host.target import Target
from pbt.pipeline import Options, run
from pbt.source import PbtError, Source

DEEP = {
    "parentheses": ("BEGIN { print(", "(", "1", ")", "); }"),
    "blocks": ("BEGIN { ", "{", " print(1); ", "}", " }"),
    "values": ("BEGIN { print(", "{", "1", "}", "); }"),
    "operators": ("BEGIN { print(", "!", "1", "", "); }"),
    "sums": ("BEGIN { $a = 1; print(", "$a + ", "1", "", "); }"),
    "casts": ("BEGIN { print(", "(uint8)", "1", "", "); }"),
    "tuples": ("BEGIN { print(", "(", "1", ",)", "); }"),
    "ternaries": ("BEGIN { print(", "1 ? 2 : ", "3", "", "); }"),
    "else if": ("BEGIN { $a = 1; if ($a == 0) { }", " else if ($a == 1) { print(1); }", "", "", " }"),
    "structs": ("struct A { ", "struct { ", "int x; ", "};", " } BEGIN { }"),
    "stars": ("BEGIN { let $x: uint8", "*", "", "", "; }"),
    "dimensions": ("struct A { int x", "[2]", "", "", "; } BEGIN { }"),
}


def script(name: str, count: int) -> str:
    head, before, middle, after, tail = DEEP[name]
    return head + before * count + middle + after * count + tail


@pytest.mark.parametrize("name", DEEP)
def test_too_deep(name: str) -> None:
    start = time.process_time()
    with pytest.raises(PbtError) as raised:
        run(Source("deep", script(name, 5000)), Target.live(), Options(environment={}))
    assert str(raised.value).startswith("deep:1:")
    assert time.process_time() - start < 20


@pytest.mark.parametrize("name", [n for n in DEEP if n not in ("stars", "dimensions", "structs")])
def test_deep(name: str) -> None:
    assert run(Source("deep", script(name, 200)), Target.live(), Options(environment={})).bundle is not None


def test_calls_without_end() -> None:
    chain = "".join(f"macro m{n}() {{ m{n - 1}() + 1 }} " for n in range(1, 100))
    for text, message in (
        ("macro m(x) { m(x) } BEGIN { m(1); }", "Recursive macro call detected. Call chain: m"),
        ("macro m0() { 1 } " + chain + "BEGIN { print(m99()); }", "nested more than 64 deep"),
    ):
        with pytest.raises(PbtError, match=message):
            run(Source("deep", text), Target.live(), Options(environment={}))
