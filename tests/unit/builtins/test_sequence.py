"""Formats as the calls that write them into a file of the kernel's."""

from __future__ import annotations

import pytest

from pbt.builtins.sequence import Piece, plan
from pbt.printf import FormatError
from pbt.types import I32, U64, Array, Char, Opaque, Str

TEXT = Str(64)


@pytest.mark.parametrize(
    ("text", "types", "pieces"),
    [
        ("", [], []),
        ("100%%\n", [], [Piece(b"100%%\n")]),
        ("%d|%-5s|%04x", [I32, TEXT, U64], [Piece(b"%lld|%-5s|%04llx", (0, 1, 2))]),
        ("%i %u %X %hd", [I32] * 4, [Piece(b"%lld %llu %llX %lld", (0, 1, 2, 3))]),
        ("%s %s", [I32, U64], [Piece(b"%lld %llu", (0, 1))]),
        ("%c%p %-20p %020p", [I32, U64, U64, U64], [Piece(b"%s0x%llx 0x%-18llx 0x%018llx", (0, 1, 2, 3))]),
        ("é%d%%", [I32], [Piece("é".encode(), raw=True), Piece(b"%lld%%", (0,))]),
        ("%sé", [Array(Char(1, True), 16)], [Piece(b"%s", (0,)), Piece("é".encode(), raw=True)]),
        ("%s-%s", [Str(1024)] * 2, [Piece(b"%s-", (0,)), Piece(b"%s", (1,))]),
    ],
)
def test_plan(text, types, pieces):
    assert plan(text, types) == pieces


def test_no_call_takes_more_than_twelve_arguments_or_six_texts():
    assert [len(piece.args) for piece in plan("%d" * 26, [I32] * 26)] == [12, 12, 2]
    assert [len(piece.args) for piece in plan("%s" * 7, [Str(16)] * 7)] == [6, 1]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("%o", I32),
        ("%#x", I32),
        ("%.2d", I32),
        ("%r", TEXT),
        ("%gr", I32),
        ("%10p", U64),
        ("%s", Opaque("kstack", 8)),
    ],
)
def test_what_the_kernel_cannot_write(text, kind):
    with pytest.raises(FormatError):
        plan(text, [kind])
