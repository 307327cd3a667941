"""Text and bytes from memory: str buf strncmp join kptr uptr, addresses and byte order."""

from __future__ import annotations

from typing import Any

import pytest

from pbt.source import ScriptErrors
from tests.unit.lower.machine import Ran, compiled

TEXT = {"p": b"hello world\0tail", "nul": b"\0rest"}


def one(expression: str, before: str = "", **options: Any) -> Any:
    return Ran(f"BEGIN {{ {before} print({expression}); }}", memory=TEXT, **options).printed[0]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("str({p})", b"hello world"), ("str({p}, 6)", b"hello"), ("str({p} + 6)", b"world"),
        ("str({nul})", b""), ("str(0)", b""),
        ("str({p}, 64)", b"hello world"), ("str({p}, pid)", b"hello worl"), ("str({p}, 1)", b""),
        ("str({p}, pid - 11)", b""),
        ("str(comm)", b"bash"), ("str((uint8 *){p})", b"hello world"), ("str((char *){p}, 3)", b"he"),
        ("str(str({p}))", b"hello world"),
        ("str(kptr({p}))", b"hello world"), ("str(uptr({p}), 4)", b"hel"),
        ("buf({p}, 5)", b"hello"), ("buf({p}, 16)", b"hello world\0tail"), ("buf({p}, pid - 7)", b"hell"),
        ("buf(0, 3)", b"\0\0\0"),
        ('strncmp(str({p}), "hello", 5)', 0), ('strncmp(str({p}), "hello", 6)', 1),
        ('strncmp("abc", "abd", 2)', 0),
        ('strncmp("abc", "abd", 3)', 1), ('strncmp(comm, "bash_and_more", 4)', 0),
        ('strncmp(comm, "bash", 16)', 0), ('strncmp(comm, "x", 0)', 0),
    ],
)  # fmt: skip
def test_values(expression: str, expected: object) -> None:
    assert one(expression) == expected


def test_the_longest_string() -> None:
    long = b"x" * 300
    ran = Ran(
        "config = { max_strlen = 100 } BEGIN { print(str({q})); print(str({q}, 200)); "
        "print(str({q}, 50)); print(str({q}, 1000 + pid)); }",
        memory={"q": long + b"\0"},
    )
    assert [len(text) for text in ran.printed] == [99, 99, 49, 99]


def test_positional_parameters_are_text_when_asked() -> None:
    ran = Ran(
        "BEGIN { print(str($1)); print($2 + 1); print(str($2)); print($#); print(str($3)); @[str($1)] = 1; }",
        "abc",
        "0x10",
    )
    assert ran.printed == [b"abc", 17, b"0x10", 2, b""] and ran.maps == {"@": {b"abc": 1}}


def test_join() -> None:
    words = b"".join((4098 + i << 32).to_bytes(8, "little") for i in range(3)) + bytes(8)
    memory = {"argv": words, "a": b"ls\0", "b": b"-l\0", "c": b"/\0"}
    ran = Ran('BEGIN { join({argv}); join({argv}, "+"); }', memory=memory)
    assert [record[:5] for record in ran.sent] == [("join", 3, b"ls", b"-l", b"/")] * 2
    assert [event.text for event in ran.made.events] == [" ", "+"]


def test_join_stops_at_sixteen_words() -> None:
    words = b"".join((4098 << 32).to_bytes(8, "little") for _ in range(20)) + bytes(8)
    ran = Ran("BEGIN { join({argv}); }", memory={"argv": words, "a": b"w\0"})
    assert ran.sent[0][1] == 16 and ran.sent[0][2:] == (b"w",) * 16


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("bswap((uint16)0x1234)", 0x3412),
        ("bswap((uint32)nsecs)", int.from_bytes((705032704).to_bytes(4, "little"), "big")),
        ("bswap((uint8)pid)", 11), ("bswap((uint64)pid)", 11 << 56), ("bswap((int16)0x00ff)", 0xFF00),
        ("ntop((uint32)0x04030201)", b"\2\0\0\0\1\2\3\4" + bytes(12)),
        ('ntop(pton("::1"))', b"\x0a\0\0\0" + bytes(15) + b"\1"),
        ('ntop(pton("1.2.3.4"))', b"\2\0\0\0\1\2\3\4" + bytes(12)),
        ("ntop(AF_INET, (uint32)5)", b"\2\0\0\0\5\0\0\0" + bytes(12)),
        ("macaddr({p})", b"hello "),
        ("ksym(pid)", (11).to_bytes(8, "little")),
        ("usym(tid)", (12).to_bytes(8, "little") + (11).to_bytes(8, "little")),
        ("kstack", (400).to_bytes(4, "little") + bytes(4)),
        ("ustack", (500).to_bytes(4, "little") + (11).to_bytes(4, "little")),
        ("ustack(perf, 5)", (500).to_bytes(4, "little") + (11).to_bytes(4, "little")),
        ('strftime("%H", nsecs)', (5_000_000_000).to_bytes(8, "little")),
    ],
)  # fmt: skip
def test_opaque_values(expression: str, expected: object) -> None:
    assert one(expression) == expected


def test_stacks_have_a_map_for_each_depth() -> None:
    bundle = compiled("BEGIN { @[kstack] = 1; @b[kstack(3)] = 1; @c[ustack(raw, 3)] = 1; }").bundle
    assert bundle is not None
    found = {m.name: m.value_size for m in bundle.maps if m.map_type == "STACK_TRACE"}
    assert found == {"stack_127": 8 * 127, "stack_3": 24}


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("str()", "str.. requires"), ("str(comm, 1, 2)", "str.. takes up to 2 arguments"),
        ("str((1, 2))", "str.. expects"),
        ("buf(pid)", "buf.. expects a length"), ("strncmp(comm, 5, 2)", "strncmp.. expects strings"),
        ("strncmp(comm, comm, pid)", "integer literal"),
        ("strncmp(comm, comm, -1)", "must not be negative"), ('ntop("x")', "ntop.. expects"),
        ('pton("300.1.1.1")', "Invalid address"),
        ("pton(comm)", "expects a string literal"), ("macaddr(comm)", "macaddr.. expects"),
        ("bswap(comm)", "bswap.. expects"),
        ("kstack(-1)", "must not be negative"), ("kstack(deep)", "Unknown stack mode"),
        ("ksym(comm)", "expects an address"),
        ("strftime(comm, 1)", "expects a string literal"), ("join(comm)", "join.. expects"),
    ],
)  # fmt: skip
def test_errors(script: str, message: str) -> None:
    with pytest.raises(ScriptErrors, match=message):
        compiled(f"BEGIN {{ @x = {script}; }}" if not script.startswith("join") else f"BEGIN {{ {script}; }}")
