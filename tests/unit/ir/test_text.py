import pytest

from pbt.ir import text
from pbt.ir.build import Builder
from pbt.ir.core import Program
from pbt.source import ScriptError

SAMPLE = """\
program "kprobe:vfs_read"
function main
slot 16 8 "key @\\"x\\""
entry:
  %0:ctx = ctx
  %1:stack = slot 0
  %2 = const -5
  store %1 %2 8 8
  %3:map = map @x
  %4:value = call map_lookup_elem(%3 %1)
  branch ne %4 %2 found(%2) else "odd name"
found(%5):
  %6 = sload %4 4 -8
  %7 = cmp %6 %5 slt
  jump found(%7)
"odd name":
  return %2
function each[map stack value int]
entry:
  %0:map = param 0
  %1 = const 0
  return %1
"""


def test_round_trip_from_text():
    assert text.dump(text.parse(SAMPLE)) == SAMPLE


def test_round_trip_from_a_builder():
    b = Builder("main")
    b.assign("x", b.load(b.ctx(), 0, 8))
    b.choose("eq", b.read("x"), 0, lambda: b.bswap(b.read("x"), 2), lambda: b.map_value("m", 3))
    b.atomic_add(b.map_value("m"), 8, 4, b.select(b.compare("ugt", b.read("x"), 1), 1, 2))
    b.ret(b.call("ktime_get_ns"))
    program = Program("interval:s:1", (b.finish(),))
    assert text.parse(text.dump(program)) == program


@pytest.mark.parametrize(
    "line",
    ["  %1 = nonsense %0", "  store %0", "  %1 = const x", "  branch xx %0 %0 entry else entry", "  ?", ""],
)
def test_errors_point(line):
    with pytest.raises(ScriptError):
        text.parse(f"program p\nfunction main\nentry:\n{line}")
