from pbt.output.json import Ready, dumps
from pbt.output.table import arrange, json, text
from pbt.output.text import Style
from pbt.types import U8, U32, Opaque, Str, Tuple
from pbt.values import Histogram, Stats, Table


def lines(items, types, rank=None, top=0, draw=None) -> str:
    keys = list(zip(*(key for key, _ in items), strict=True))
    table = Table(keys, [value for _, value in items])
    return text("@m", arrange(table, rank, top), types, draw).decode()


def test_maps_with_and_without_keys():
    assert lines([((), 5)], []) == "@m: 5\n"
    assert lines([((b"a", 1), 5)], [Str(4), U32]) == "@m[a, 1]: 5\n"
    assert lines([((1, (2, 3)), 4)], [U8, Tuple((U8, U8))]) == "@m[1, (2, 3)]: 4\n"
    assert lines([(((2, 3),), 4)], [Tuple((U8, U8))]) == "@m[2, 3]: 4\n"


def test_maps_print_by_rank_then_key_and_top_keeps_the_last():
    items = [((3,), 7), ((1,), 9), ((2,), 7), ((0,), -2)]
    assert lines(items, [U8], rank=int) == "@m[0]: -2\n@m[2]: 7\n@m[3]: 7\n@m[1]: 9\n"
    assert lines(items, [U8], rank=int, top=2) == "@m[3]: 7\n@m[1]: 9\n"
    assert lines(items, [U8]).splitlines()[0] == "@m[0]: -2"


def test_histograms_stand_under_their_heads():
    text = lines([((b"a",), Histogram.log2({1: 1}))], [Str(4)])
    assert text.startswith("@m[a]:\n[0]  ") and text.endswith("|\n\n")
    assert lines([((), Stats(1, 7, 7))], []) == ("@m: { .count = 1, .average = 7, .total = 7 }\n")


def test_what_is_drawn_from_bytes_is_drawn_once():
    drawn = []
    style = Style(opaque=lambda type_, raw: drawn.append(raw) or raw.upper())
    table = Table([[b"a", b"b", b"a"]], [1, 2, 3])
    assert text("@", table, [Opaque("x", 1)], None, style) == b"@[A]: 1\n@[B]: 2\n@[A]: 3\n"
    assert drawn == [b"a", b"b"]


def test_control_characters_in_keys_do_not_reach_a_terminal():
    table = Table([[b"plain", b"\x1b[2J"]], [1, 2])
    assert text("@", table, [Str(8)], None, Style(escape=True)) == b"@[plain]: 1\n@[\\x1b[2J]: 2\n"


def test_json_that_is_ready_says_what_python_data_say():
    for keys, values in (
        ([[b"a", b'"b"'], [1, -2]], [3, 4]), ([[b"gr\xc3\xbcn", b"\xff"], [1, 2]], [1 << 60, (1 << 60) + 1]),
        ([[b"a", b"a"], [1, 1]], [5, 6]), ([[b"x"], [7]], [Histogram.log2({1: 2})]),
        ([[b"\n\x01"], [0]], [Stats(1, 2, 3)]), ([[b"t"], [0]], [b"text"]),
    ):  # fmt: skip
        table, types = Table(keys, values), [Str(8), U32]
        ready = json("@m", table, types, lambda value: value, whole=False)
        data = json("@m", table, types, lambda value: value)
        assert isinstance(ready, Ready) and dumps(ready) == dumps(data)
