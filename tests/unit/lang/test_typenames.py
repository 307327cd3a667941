"""Type names and the layout of the script's own structs: that of C on 64-bit machines."""

from __future__ import annotations

import ctypes as c

import pytest

from pbt.lang import ast
from pbt.lang.literals import parse_type
from pbt.lang.typenames import TypeNames
from pbt.source import NOWHERE, ScriptError
from pbt.types import BOOL, CHAR, VOID, Array, Buffer, Enum, Int, Pointer, Str, Struct, Type
from tests.unit.lang.shown import parsed


def names(definitions: str = "") -> TypeNames:
    return TypeNames(parsed(definitions + "\nBEGIN { }").script.types, None)


def resolve(text: str, definitions: str = "") -> Type:
    return names(definitions).resolve(parse_type(text, NOWHERE))


def struct(definition: str, name: str = "struct x") -> Struct:
    found = resolve(name, definition)
    assert isinstance(found, Struct)
    return found


def layout(definition: str, name: str = "struct x") -> list[tuple[str, int, int]]:
    """(name, offset, size) of members."""
    return [(m.name, m.offset, m.type.size) for m in struct(definition, name).members]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("uint8", Int(1)), ("int64", Int(8, True)), ("u32", Int(4)), ("__s16", Int(2, True)),
        ("uint64_t", Int(8)),
        ("char", CHAR), ("unsigned char", Int(1)), ("short", Int(2, True)),
        ("unsigned short int", Int(2)),
        ("int", Int(4, True)), ("unsigned", Int(4)), ("unsigned int", Int(4)), ("long", Int(8, True)),
        ("long int", Int(8, True)), ("unsigned long", Int(8)), ("long long", Int(8, True)),
        ("unsigned long long", Int(8)),
        ("long unsigned int", Int(8)), ("signed char", Int(1, True)), ("const char", CHAR),
        ("size_t", Int(8)),
        ("bool", BOOL), ("void", VOID), ("void *", Pointer(VOID)),
        ("char **", Pointer(Pointer(CHAR))),
        ("uint8[4]", Array(Int(1), 4)), ("int32[2][3]", Array(Array(Int(4, True), 3), 2)),
        ("string[16]", Str(16)),
        ("buffer[8]", Buffer(8)), ("__be16", Int(2)), ("pid_t", Int(4, True)),
    ],
)  # fmt: skip
def test_names_of_c(text: str, expected: Type) -> None:
    assert resolve(text) == expected


def test_unknown_names() -> None:
    with pytest.raises(ScriptError, match='Cannot resolve unknown type "struct nowhere"'):
        resolve("struct nowhere")
    with pytest.raises(ScriptError, match="struct nowhere"):
        resolve("struct nowhere *")


def test_structs_without_their_keyword() -> None:
    known = names("struct pair { int a; int b; } union both { long l; } enum colour { RED }")
    for keyword, name in (("struct", "pair"), ("union", "both"), ("enum", "colour")):
        span = parsed("BEGIN { }").script.probes[0].span
        assert known.resolve(ast.TypeName(span, name, ("*",))) == Pointer(known.find(f"{keyword} {name}"))
    with pytest.raises(ScriptError, match='Cannot resolve unknown type "pear"'):
        known.resolve(ast.TypeName(span, "pear", ()))


def test_members_may_point_to_what_nobody_knows() -> None:
    (member,) = struct("struct x { struct nowhere *p; };").members
    assert isinstance(member.type, Pointer) and (str(member.type.target), member.type.size) == (
        "struct nowhere",
        8,
    )


def test_pointers_to_the_struct_itself() -> None:
    made = struct("struct x { int a; struct x *next; struct x **all[2]; struct { struct x *p; } in; };")
    following = made.find("next")
    assert following is not None and isinstance(following.type, Pointer) and following.type.target == made
    assert isinstance(following.type.target, Struct) and following.type.target.find("a") is not None
    assert [m.offset for m in made.members] == [0, 8, 16, 32] and made.size == 40


@pytest.mark.parametrize(
    "definition", ["struct x { struct x in; };", "struct x { struct y in; }; struct y { struct x in[2]; };"]
)
def test_a_struct_cannot_contain_itself(definition: str) -> None:
    with pytest.raises(ScriptError, match="contains itself"):
        struct(definition)


SIMPLE = "struct x { char a; int b; short c; long d; char e; };"


def test_members_are_aligned_naturally() -> None:
    class X(c.Structure):
        _fields_ = [("a", c.c_char), ("b", c.c_int), ("c", c.c_short), ("d", c.c_long), ("e", c.c_char)]

    made = struct(SIMPLE)
    assert [(m.name, m.offset) for m in made.members] == [(n, getattr(X, n).offset) for n in "abcde"]
    assert (made.size, made.align) == (c.sizeof(X), c.alignment(X)) == (32, 8)


def test_packed() -> None:
    definition = SIMPLE.replace("};", "} __attribute__((packed));")
    assert layout(definition) == [("a", 0, 1), ("b", 1, 4), ("c", 5, 2), ("d", 7, 8), ("e", 15, 1)]
    assert (struct(definition).size, struct(definition).align) == (16, 1)


def test_unions() -> None:
    made = struct("union x { char a; long b; uint8_t c[12]; };", "union x")
    assert [m.offset for m in made.members] == [0, 0, 0] and (made.size, made.align) == (16, 8)


def test_arrays_pointers_and_several_declarators() -> None:
    made = struct("struct x { char name[5]; int *p, q, r[2][3]; const struct y *next; char tail[]; };")
    assert [(m.name, m.offset) for m in made.members] == [
        ("name", 0), ("p", 8), ("q", 16), ("r", 20), ("next", 48), ("tail", 56)]  # fmt: skip
    assert made.members[3].type == Array(Array(Int(4, True), 3), 2) and made.size == 56


def test_bitfields_share_their_unit() -> None:
    made = struct("struct x { unsigned a : 3; unsigned b : 29; unsigned c : 1; uint8_t d : 4; uint8_t e; };")
    assert [(m.name, m.offset, m.bit_offset, m.bit_size) for m in made.members] == [
        ("a", 0, 0, 3), ("b", 0, 3, 29), ("c", 4, 0, 1), ("d", 4, 1, 4), ("e", 5, 0, 0)]  # fmt: skip
    assert made.size == 8


def test_bitfields_do_not_cross_their_unit() -> None:
    class X(c.Structure):
        _fields_ = [("a", c.c_uint, 20), ("b", c.c_uint, 20), ("c", c.c_ulong, 30), ("d", c.c_ushort)]

    made = struct("struct x { unsigned a : 20; unsigned b : 20; unsigned long c : 30; uint16_t d; };")
    assert made.size == c.sizeof(X)
    assert [(8 * m.offset + m.bit_offset) for m in made.members[:2]] == [0, 32]


def test_a_bitfield_of_width_zero_ends_its_unit() -> None:
    made = struct("struct x { unsigned a : 3; unsigned : 0; unsigned b : 3; };")
    b = made.find("b")
    assert b is not None and 8 * b.offset + b.bit_offset == 32 and made.size == 8
    assert [m.name for m in made.members] == ["a", "b"]


def test_bitfields_without_a_name_are_room() -> None:
    made = struct("struct x { unsigned a : 3; unsigned : 7; unsigned b : 3; };")
    assert [(m.name, m.bit_offset) for m in made.members] == [("a", 0), ("b", 10)] and made.size == 4


def test_anonymous_members_are_reached_directly() -> None:
    made = struct("struct x { int a; union { int b; struct { short c; short d; }; }; int e; };")
    assert {n: made.find(n).offset for n in made.names()} == {"a": 0, "b": 4, "c": 4, "d": 6, "e": 8}  # type: ignore[union-attr]
    assert made.size == 12


def test_named_inner_structs() -> None:
    known = names("struct x { struct y { char a; long b; } in; struct y more[2]; };")
    outer, inner = known.find("struct x"), known.find("struct y")
    assert isinstance(outer, Struct) and isinstance(inner, Struct)
    assert inner.size == 16 and outer.size == 48
    assert [m.offset for m in outer.members] == [0, 16]


def test_inner_structs_without_a_name() -> None:
    made = struct("struct x { int a; struct { char b; int c; } in[2]; };")
    member = made.find("in")
    assert member is not None and (member.offset, member.type.size, made.size) == (4, 16, 20)
    assert made.find("c") is None


def test_function_pointers_are_pointers() -> None:
    assert layout("struct x { char a; int (*f)(int, char *); void (*g)(void); };") == [
        ("a", 0, 1), ("f", 8, 8), ("g", 16, 8)]  # fmt: skip


def test_structs_may_name_later_and_themselves() -> None:
    made = struct("struct x { struct y in; struct y *next; };\nstruct y { long a; struct x *b; };")
    assert [m.offset for m in made.members] == [0, 16]


def test_enums() -> None:
    known = names("enum e { A, B = 5, C, D = -1 };\nenum { F = 0x10 };\nstruct x { enum e v; };")
    assert {n: known.constant(n)[1] for n in "ABCDF"} == {"A": 0, "B": 5, "C": 6, "D": -1, "F": 16}
    kind = known.find("enum e")
    assert isinstance(kind, Enum) and (kind.name, kind.size, kind.signed) == ("e", 4, True)
    assert known.constant("A") == (kind, 0)
    assert known.constant("nothing") is None


def test_parse_type_says_what_it_cannot_read() -> None:
    with pytest.raises(ScriptError, match="cannot read the type"):
        parse_type("uint8 [4", NOWHERE)
    made = parse_type(" struct  x * * [3] ", NOWHERE)
    assert isinstance(made, ast.TypeName) and (made.words, made.shape) == ("struct x", ("*", "*", 3))
    made = parse_type("int8[2] [3]*", NOWHERE)
    assert isinstance(made, ast.TypeName) and made.shape == (3, 2, "*")
