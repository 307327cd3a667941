import json

import pytest

from pbt.output.json import converter, dumps, line, lines, whole_map
from pbt.types import BOOL, I64, U8, Array, Buffer, Opaque, Str, Tuple
from pbt.values import Histogram


def test_objects_have_blanks_and_arrays_have_none():
    assert dumps({"a": [1, 2, {"b": None}], "c": True}) == '{"a": [1,2,{"b": null}], "c": true}'


def test_text_is_escaped_and_always_utf_8():
    assert dumps(b'q"\\\n\t\r\x1b') == '"q\\"\\\\\\n\\t\\r\\u001b"'
    assert dumps("ä".encode()) == '"ä"' and json.loads(dumps(b"\xff")) == "\\xff"


def test_numbers_that_a_double_cannot_hold_are_strings():
    assert dumps(1 << 60) == str(1 << 60) and dumps((1 << 53) + 1) == '"9007199254740993"'


def test_a_message_is_one_line():
    assert line("lost_events", {"events": 2}, count=2) == (
        b'{"type": "lost_events", "count": 2, "data": {"events": 2}}\n'
    )


def same(value):
    return value


def test_maps():
    assert whole_map("@", [], [5]) == {"@": 5}
    assert whole_map("@", [b"a,1"], [5]) == {"@": {"a,1": 5}}
    histogram = Histogram.log2({3: 2})
    assert dumps(whole_map("@h", [], [histogram])) == '{"@h": [{"min": 2, "max": 3, "count": 2}]}'


def test_values_keep_their_shape():
    def opaque(type_, raw):
        return f"{type_.name}:{raw.hex()}"

    for type_, value, data in (
        (I64, -1, -1), (BOOL, True, True), (Str(4), b"ab", b"ab"), (Buffer(4), b"\x01\x02", [1, 2]),
        (Array(U8, 2), [1, 2], [1, 2]), (Tuple((U8, Str(2))), (1, b"x"), [1, b"x"]),
        (Tuple((U8,), ("n",)), {"n": 1}, {"n": 1}), (Opaque("mac", 1), b"\x07", "mac:07"),
    ):  # fmt: skip
        assert converter(type_, opaque)(value) == data


@pytest.mark.parametrize("texts", [[b"a 1\n"], [b'say "hi"\\\n', b"\ttab\r\n", b""], [b"a\0b", b"c"], [b"\x1b[1m", b"x"],
                                   ["ß".encode(), b"\xff", b"plain"], [b"\x7f"]])  # fmt: skip
def test_many_lines_are_those_of_each_text(texts: list[bytes]) -> None:
    assert lines("printf", texts) == b"".join(line("printf", text) for text in texts)


def test_file_names_are_text_to_every_reader():
    """Python has half a pair of surrogates for a byte that is no UTF-8."""
    assert dumps("a\udcff\n") == dumps(b"a\xff\n") == r'"a\\xff\n"'
