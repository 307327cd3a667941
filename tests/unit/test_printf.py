import ctypes
import itertools

import pytest

from pbt.printf import Format, conversions, escaped, stray
from pbt.types import I8, I32, I64, U8, U32, U64, Buffer, Str


def one(text: str, value, type_=I64) -> bytes:
    return Format.parse(text).format([value], [type_], [bytes if isinstance(value, bytes) else b"%d".__mod__])


def libc(text: str, value: int) -> bytes:
    room = ctypes.create_string_buffer(200)
    ctypes.CDLL(None).snprintf(room, 200, text.encode(), ctypes.c_longlong(value))
    return room.value


@pytest.mark.parametrize("name", "diuxXo")
def test_numbers_are_padded_and_signed_as_in_c(name):
    flags = [c for n in range(4) for c in itertools.combinations("-+ #0", n)]
    values = (0, 5, -5, 1 << 40, -(1 << 63))
    for flag, width, precision, length, value in itertools.product(
        flags, ("", "6"), ("", ".0", ".3", "."), ("hh", "h", "ll"), values
    ):
        text = f"%{''.join(flag)}{width}{precision}{length}{name}"
        assert one(text, value) == libc(text, value), text


def test_conversions_name_what_they_take():
    assert conversions("%d %-5s %% %5.2lx %rx%rh%r %i%c%p%u") == [
        "d",
        "s",
        "x",
        "rx",
        "rh",
        "r",
        "d",
        "c",
        "p",
        "u",
    ]


@pytest.mark.parametrize("text", ["%", "%y", "%5", "a %l", "%*d", "%f", "%5.1e"])
def test_what_begins_no_conversion_is_text_and_said(text):
    assert conversions(text + " %d") == ["d"] or text in ("%", "%5", "a %l")
    assert Format.parse(text).template % () == text.encode()
    odd = stray(text)
    assert odd is not None and odd.message and odd.hint


def test_what_does_is_not():
    assert stray("%d %% %-5s %#x %rh") is None and stray("%% %d %!") is not None


def test_wide_numbers_print_in_full_and_short_modifiers_narrow():
    assert one("%d", 5_000_000_000) == b"5000000000"
    assert one("%u", (1 << 64) - 1, U64) == b"18446744073709551615"
    assert one("%d", (1 << 64) - 2, U64) == b"-2"
    assert one("%hd", 65535 + 70000) == libc("%hd", 65535 + 70000)
    assert one("%hhx", 0x1234) == b"34"


def test_numbers_of_small_types_are_read_as_c_reads_them():
    assert one("%u", -1, I32) == b"4294967295" and one("%x", -1, I8) == b"ffffffff"
    assert one("%d", 0xFFFFFFFF, U32) == b"-1" and one("%ld", 0xFFFFFFFF, U32) == b"4294967295"
    assert one("%d", 200, U8) == b"200" and one("%lu", -1, I32) == b"18446744073709551615"


def test_text_is_padded_and_cut():
    assert one("[%-6.3s]", b"abcdef", Str(8)) == b"[abc   ]" and one("[%6s]", b"ab", Str(8)) == b"[    ab]"
    assert one("%s", 42) == b"42" and one("%5.1s|", b"xyz", Str(4)) == b"    x|"


def test_characters_pointers_and_percent():
    assert one("%c%%", 0x141) == b"A%" and one("100%% %d", 1) == b"100% 1"
    assert one("%p", 0xFFFF888000000000, U64) == b"0xffff888000000000" and one("%6p|", 16) == b"  0x10|"
    assert one("%p", 0) == b"0"


def test_buffers():
    data = b"a\x00\xff\\"
    assert one("%r", data, Buffer(8)) == b"a\\x00\\xff\\"
    assert (
        one("%rx", data, Buffer(8)) == b"\\x61\\x00\\xff\\x5c"
        and one("%rh", data, Buffer(8)) == b"61 00 ff 5c"
    )
    assert escaped(b"\x1b[0m\n") == b"\\x1b[0m\\x0a"


def test_texts_without_conversions_keep_their_bytes():
    assert Format.parse("\x1b[31mä%%\n").format([], [], []) == "\x1b[31mä%\n".encode()


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (0xCC0, "GFP_KERNEL"),
        (0x40DC0, "GFP_KERNEL|__GFP_ZERO|__GFP_COMP"),
        (0x820, "GFP_ATOMIC"),
        (0x2800, "GFP_NOWAIT"),
        (0xC40, "GFP_NOFS"),
        (0x100CC2, "GFP_HIGHUSER"),
        (0x400CC0, "GFP_KERNEL_ACCOUNT"),
        (0x3, "GFP_DMA|__GFP_HIGHMEM"),
        (0x80000001, "GFP_DMA|0x80000000"),
        (0, "0"),
    ],
)
def test_flags_of_allocations(flags, text):
    assert one("%gr", flags, U64) == text.encode()
    assert one("%-20gr|", flags, U64).rstrip(b"| ") == text.encode()
