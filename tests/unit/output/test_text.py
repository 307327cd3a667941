from pbt.output.text import Style, drawer, harmless
from pbt.types import (
    BOOL,
    CHAR,
    I8,
    I64,
    U8,
    U32,
    VOID,
    Array,
    Buffer,
    Enum,
    Member,
    Opaque,
    Pointer,
    Str,
    Struct,
    Tuple,
)

PAIR = Struct("struct pair", 8, 4, lambda: (Member("a", U32, 0), Member("b", U32, 4)))
COLOUR = Enum("colour", values=(("RED", 1), ("CRIMSON", 1), ("BLUE", 2)))


def test_each_type_has_its_text():
    for type_, value, text in (
        (I64, -3, "-3"), (BOOL, True, "true"), (VOID, None, "null"), (Pointer(U8), 16, "0x10"),
        (COLOUR, 1, "CRIMSON"), (COLOUR, 7, "7"), (Str(8), b"abc", "abc"), (Buffer(4), b"a\x00", "a\\x00"),
        (Array(U32, 2), [1, 2], "[1,2]"), (Array(CHAR, 4), b"text", "text"), (Array(I8, 2), [97, 0], "[97,0]"),
        (Tuple((U32, Str(4), Tuple((U8, U8)))), (1, b"two", (3, 4)), "(1, two, (3, 4))"),
        (Tuple((U8,), ("n",)), {"n": 5}, "{ .n = 5 }"), (Tuple((), ()), (), "()"),
        (PAIR, {"a": 1, "b": 2}, "{ .a = 1, .b = 2 }"), (Opaque("x", 2), b"\x01\x02", "0102"),
    ):  # fmt: skip
        assert drawer(type_)(value).decode() == text, type_


def test_full_strings_are_marked_only_at_the_limit():
    style = Style(limit=8, trailer=b"..")
    assert drawer(Str(8), style)(b"1234567") == b"1234567.."
    assert drawer(Str(8), style)(b"123456") == b"123456"
    assert drawer(Str(16), style)(b"123456789012345") == b"123456789012345"


def test_control_characters_do_not_reach_a_terminal():
    assert drawer(Str(16), Style(escape=True))(b"\x1b[2Jx\n") == b"\\x1b[2Jx\n"
    assert drawer(Str(16))(b"\x1b[2J") == b"\x1b[2J"
    assert harmless(b"no \xff\xc3( UTF-8\n") == b"no \\xff\\xc3( UTF-8\n"
    assert harmless("grün \x9b1m".encode()) == "grün ".encode() + b"\\xc2\\x9b1m"
