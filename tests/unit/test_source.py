"""Places in scripts and how diagnostics are drawn."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbt.source import (
    KernelError,
    ScriptError,
    ScriptErrors,
    ScriptWarning,
    Source,
    Span,
    UsageError,
    mistyped,
    nearest,
    show,
)

TEXT = "one\n\ttwo three\n\nfive"
SOURCE = Source("file.bt", TEXT)


@pytest.mark.parametrize(
    ("offset", "place"),
    [
        (0, (1, 1)),
        (2, (1, 3)),
        (3, (1, 4)),
        (4, (2, 1)),
        (5, (2, 2)),
        (15, (3, 1)),
        (16, (4, 1)),
        (20, (4, 5)),
    ],
)
def test_positions(offset: int, place: tuple[int, int]) -> None:
    assert SOURCE.position(offset) == place


@given(st.text("ab\n", max_size=30), st.integers(0, 30))
def test_positions_lead_back(text: str, offset: int) -> None:
    offset = min(offset, len(text))
    source = Source("x", text)
    line, column = source.position(offset)
    assert (
        "\n".join([*text.split("\n")[: line - 1], ""])[: -1 if line == 1 else None]
        == text[: offset - column + 1]
    )
    assert text.split("\n")[line - 1] == source.line(line) and column <= len(source.line(line)) + 1


def test_lines_lose_their_ends() -> None:
    assert [Source("x", "a\r\nb\n").line(n) for n in (1, 2, 3)] == ["a", "b", ""]


def test_spans() -> None:
    span = Span(SOURCE, 5, 8)
    assert span.text == "two" and span.locate() == (2, 2, "\ttwo three") and span.width == 3
    assert span.to(Span(SOURCE, 9, 14)).text == "two three"
    assert Span(SOURCE, 9, 19).width == 5  # to the end of the first line
    assert Span(SOURCE, 20, 20).width == 1


def test_an_error_shows_its_line() -> None:
    assert str(ScriptError("no good", Span(SOURCE, 5, 8), "try four")) == (
        "file.bt:2:2: ERROR: no good\n two three\n ^~~\nHINT: try four")  # fmt: skip
    assert str(ScriptWarning("odd", Span(SOURCE, 0, 1))) == "file.bt:1:1: WARNING: odd\none\n^"


def test_an_error_on_an_empty_line_shows_no_line() -> None:
    assert str(ScriptError("no good", Span(SOURCE, 15, 15))) == "file.bt:3:1: ERROR: no good"


def test_control_characters_do_not_shift_the_caret() -> None:
    source = Source("x", "a\x1b\tb")
    assert str(ScriptError("m", Span(source, 3, 4))).split("\n")[1:] == ["a  b", "   ^"]


def test_errors_are_in_source_order() -> None:
    errors = ScriptErrors(
        [ScriptError("second", Span(SOURCE, 9, 14)), ScriptError("first", Span(SOURCE, 0, 3))]
    )
    assert [e.message for e in errors.errors] == ["first", "second"]
    assert str(errors).index("first") < str(errors).index("second")


def test_other_errors() -> None:
    assert str(UsageError("wrong", "do this")) == "ERROR: wrong\nHINT: do this"
    error = KernelError("cannot load", 1, "be root")
    assert error.name == "EPERM" and str(error).startswith("ERROR: cannot load: EPERM (")
    assert str(error).endswith("HINT: be root") and KernelError("x", 99999).name == "99999"


def test_nearest() -> None:
    assert set(nearest("printg", ["print", "printf", "exit"])) == {"printf", "print"}
    assert nearest("kprob", ["uprobe", "kprobe", "usdt"])[0] == "kprobe"
    assert nearest("zzz", ["print"]) == []
    assert nearest("Pid", ["uid", "pid", "PIDS"])[0] == "pid"
    assert nearest("page-fualts", ["alignment-faults", "page-faults"]) == ["page-faults"]


def test_mistyped() -> None:
    meant = (
        "vfs_raed vfs_read; tcp_sned_msg tcp_sendmsg; udp_send udp_sendmsg; sys_open do_sys_open; kfre kfree"
    )
    other = "malloc mm_alloc; do_something do_nothing; my_function remote_function; open reopen"
    assert all(mistyped(*pair.split()) for pair in meant.split("; "))
    assert not any(mistyped(*pair.split()) for pair in other.split("; "))


def test_nearest_among_very_many() -> None:
    """Those that cannot be meant are dropped before the slow comparison."""
    known = [
        f"{a}_{b}{i}"
        for a in ("tcp", "udp", "vfs")
        for b in ("read", "write", "account")
        for i in range(2000)
    ]
    assert nearest("vfs_raed17", [*known, "vfs_read"])[0] == "vfs_read17"
    assert nearest("tcp_v4_conect", [*known, "tcp_v4_connect"])[0] == "tcp_v4_connect"
    assert nearest("raed", [*known, "read"])[0] == "read"
    assert nearest("nothing_like_it", known, likeness=0.9) == []


def test_a_place_of_several_lines() -> None:
    source = Source("x.bt", "BEGIN {\n\t$a = (1,\n\t  2,\n  3,\n  4,\n  5);\n}\n")
    start, end = source.text.index("(1"), source.text.index(";")
    assert show("ERROR", "odd", Span(source, start, end), "mend it").splitlines() == [
        "x.bt:2:7: ERROR: odd",
        " $a = (1,",
        "      ^~~",
        "   2,",
        "  3,",
        "  4,",
        "...",
        "HINT: mend it",
    ]
