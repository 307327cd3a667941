from pbt.ir.shape import shape
from pbt.ir.text import parse

KEY = """\
program {name}
function main
slot 8 8 "key"
slot 8 8 "value"
entry:
  %0:stack = slot 0
  %1 = const {key}
  store %0 %1 8 0
  %2:stack = slot 1
  %3 = const {value}
  store %2 %3 8 0
  %4 = load %2 8 0
  %5:value = map_value m {offset}
  store %5 %4 8 0
  %6:value = map_value m {offset}
  %7:map = map @
  %8 = call map_delete_elem(%7 %0)
  return %4
"""


def made(name="p", key=5, value=7, offset=16):
    return shape(parse(KEY.format(name=name, key=key, value=value, offset=offset)))


def test_what_is_written_into_keys_and_where_bytes_of_maps_start_is_a_programs_own():
    one, other = made(), made("q", 1 << 20, 7, 48)
    assert one.common == other.common
    assert (one.numbers, one.starts) == ((5,), {"m": 16})
    assert (other.numbers, other.starts) == ((1 << 20,), {"m": 48})


def test_what_is_read_again_is_part_of_the_shape():
    assert made(value=7).common != made(value=8).common


def test_numbers_that_take_other_instructions_are_of_another_shape():
    assert made(key=-(1 << 31)).common == made(key=(1 << 64) - 1).common == made(key=(1 << 31) - 1).common
    assert made(key=1 << 31).common != made(key=5).common


def test_two_equal_numbers_are_one_hole():
    text = KEY.replace("  return %4", "  %9 = const {again}\n  store %0 %9 8 0\n  return %4")
    same, others = (
        shape(parse(text.format(name="p", key=5, value=7, offset=0, again=again))) for again in (5, 6)
    )
    assert same.numbers == (5,) and others.numbers == (5, 6) and same.common != others.common


RECORD = """\
program p
function main
entry:
  %0:map = map ringbuf
  %1 = const 16
  %2 = const 0
  %3:mem = call ringbuf_reserve(%0 %1 %2)
  branch ne %3 %2 room else end
room:
  %4 = const {number}
  store %3 %4 8 0{load}
  %5 = call ringbuf_submit(%3 %2)
  jump end
end:
  return %2
"""


def test_what_is_written_into_records_is_a_programs_own():
    one, other = (shape(parse(RECORD.format(number=number, load=""))) for number in (5, 6))
    assert one.common == other.common and (one.numbers, other.numbers) == ((5,), (6,))


def test_what_is_read_from_a_record_again_is_part_of_the_shape():
    one, other = (shape(parse(RECORD.format(number=n, load="\n  %6 = load %3 8 0"))) for n in (5, 6))
    assert one.common != other.common
