import struct

from pbt.bundle import Event
from pbt.output.text import PLAIN, Style, drawer
from pbt.printf import Format
from pbt.record import Record
from pbt.runtime import events
from pbt.sys.ring import Run
from pbt.types import BOOL, I32, U32, U64, Buffer, Pointer, Str

HEADER = [("id", U32), ("_", U32)]


def printf(text: str, *types) -> Event:
    fields = [(f"arg{i}", type_) for i, type_ in enumerate(types)]
    return Event("printf", Record.of([*HEADER, *fields]), text)


def draw(type_):
    return drawer(type_, PLAIN)


def slowly(event: Event, records) -> bytes:
    types = [field.type for field in event.record.fields[2:]]
    form = Format.parse(event.text)
    return b"".join(form.format(events.values(event, r), types, [draw(t) for t in types]) for r in records)


def run_of(records, padding: int = 0) -> Run:
    """Records of one length as they lie in a ring buffer."""
    stride = 8 + len(records[0]) + padding
    return Run(len(records[0]), stride, b"".join(bytes(8) + record + bytes(padding) for record in records))


def test_bulk_text_is_the_text_of_each_record():
    event = printf("%-6s|%d|%x|%p|%s|%s%%\n", Str(8), I32, U64, Pointer(U32), BOOL, U64)
    assert event.record.struct is not None
    pack = event.record.struct.pack
    records = [pack(0, 0, name + b"\0junk", n, 1 << 63, n % 7, n % 2 == 1, n * n)
               for n, name in enumerate([b"a", b"bcd", b"", b"x"])]  # fmt: skip
    bulk = events.bulk(event, draw)
    assert bulk is not None and b"".join(bulk(run_of(records))) == slowly(event, records)
    assert b"".join(bulk(run_of(records[:1]))) == slowly(event, records[:1])
    assert run_of(records, 8).records() == records


def test_bulk_ignores_padding_behind_records():
    event = printf("%d\n", U64)
    records = [struct.pack("<IIQ", 0, 0, n) for n in range(3)]
    bulk = events.bulk(event, draw)
    assert bulk is not None and bulk(run_of(records, 4)) == bulk(run_of(records)) == [b"0\n", b"1\n", b"2\n"]


def test_bulk_repeats_constant_text_and_leaves_odd_records_alone():
    constant = events.bulk(printf("hi\n"), draw)
    assert constant is not None and constant(run_of([bytes(8)] * 2)) == [b"hi\n"] * 2
    assert events.bulk(printf("%r\n", Buffer(8)), draw) is None


def test_full_strings_are_marked_in_bulk_too():
    event = printf("%s\n", Str(4))
    bulk = events.bulk(event, lambda type_: drawer(type_, Style(limit=4)))
    assert bulk is not None and event.record.struct is not None
    records = [event.record.struct.pack(0, 0, text) for text in (b"abc", b"ab")]
    assert bulk(run_of(records)) == [b"abc..\n", b"ab\n"]


def test_parts_keep_the_order_and_cut_long_runs():
    records = [struct.pack("<II", n, i) for i, n in enumerate([1, 1, 2, 1] + [3] * 3000)]
    found = list(events.parts(run_of(records)))
    assert [(number, len(run.records())) for number, run in found[:3]] == [(1, 2), (2, 1), (1, 1)]
    assert sum(len(run.records()) for number, run in found if number == 3) == 3000 and len(found) > 4
    assert [record for _, run in found for record in run.records()] == records


def test_numbers_that_do_not_fit_the_conversion_are_cut_in_bulk_too():
    event = printf("%d %u\n", U32, I32)
    for rows, expected in (
        ([(7, 8), (9, 0)], [b"7 8\n", b"9 0\n"]),
        ([(7, -1), (0xFFFFFFFE, 5)], [b"7 4294967295\n", b"-2 5\n"]),
    ):
        bulk = events.bulk(event, draw)
        assert bulk is not None
        assert bulk(run_of([struct.pack("<IIIi", 0, 0, *row) for row in rows])) == expected
