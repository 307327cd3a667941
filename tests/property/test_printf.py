"""printf: many records at once give the text of each, and that text is C's."""

import ctypes

from hypothesis import given
from hypothesis import strategies as st

from pbt.bundle import Event
from pbt.output.text import drawer
from pbt.printf import Format
from pbt.record import Record
from pbt.runtime import events
from pbt.sys.ring import Run
from pbt.types import BOOL, I8, I16, I32, I64, U8, U16, U32, U64, Int, Str

NUMBERS = (I8, I16, I32, I64, U8, U16, U32, U64)
SNPRINTF = ctypes.CDLL(None).snprintf

flags = st.sets(st.sampled_from("-+ #0")).map("".join)
width = st.sampled_from(("", "1", "7", "25"))
precision = st.sampled_from(("", ".", ".0", ".2", ".20"))


@given(flags, width, precision, st.sampled_from(("hh", "h", "ll")), st.sampled_from("diuxXo"),
       st.integers(-(1 << 63), (1 << 63) - 1))  # fmt: skip
def test_numbers_are_those_of_c(flag, wide, cut, length, name, value):
    text, room = f"<%{flag}{wide}{cut}{length}{name}>", ctypes.create_string_buffer(80)
    SNPRINTF(room, len(room), text.encode(), ctypes.c_longlong(value))
    assert Format.parse(text).format([value], [I64], [bytes]) == room.value


@st.composite
def printf_events(draw):
    """A printf event whose fields can be unpacked in bulk, and some of its records."""
    types = draw(st.lists(st.sampled_from((*NUMBERS, BOOL, Str(8), Str(16))), max_size=5))
    names = [draw(st.sampled_from("duxXocps")) if isinstance(t, Int) else "s" for t in types]
    items = [draw(flags) + draw(width) + name for name in names]
    text = "|".join(f"%{item}" for item in items) + "%%\n"
    fields = [("id", U32), ("_", U32), *((f"arg{i}", t) for i, t in enumerate(types))]
    event = Event("printf", Record.of(fields), text)
    body = st.binary(min_size=event.record.size - 8, max_size=event.record.size - 8)
    return event, [bytes(8) + data for data in draw(st.lists(body, min_size=1, max_size=5))]


@given(printf_events(), st.sampled_from((0, 8)))
def test_bulk_is_one_by_one(made, padding):
    event, records = made
    types = [field.type for field in event.record.fields[2:]]
    drawers = [drawer(type_) for type_ in types]
    form, bulk = Format.parse(event.text), events.bulk(event, drawer)
    assert bulk is not None
    stride = 8 + event.record.size + padding
    block = b"".join(bytes(8) + record + bytes(padding) for record in records)
    expected = [form.format(events.values(event, record), types, drawers) for record in records]
    assert list(bulk(Run(event.record.size, stride, block))) == expected
