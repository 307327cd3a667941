import pytest

from pbt.backend.pipeline import compile_program
from pbt.backend.shapes import Form, filled, shared
from pbt.bundle import Place
from pbt.ir.build import Builder
from pbt.ir.core import Function, Op, Program
from pbt.isa.insn import decode
from pbt.isa.interp import Machine, run
from pbt.source import Source, Span

SOURCE = Source("s", "0123456789")


def program(key: int, offset: int, start: int, size: int = 8) -> Program:
    b = Builder("main")
    with b.at(Span(SOURCE, start, start + 1)):
        slot = b.slot(16, "key")
        b.store(slot, 0, size, key)
        b.store(slot, 8, 8, 1)
        record = b.call("ringbuf_reserve", b.map("ringbuf"), 16, 0, kind="mem")
        with b.when("ne", record, 0):
            b.store(record, 8, size, key)
            b.call("ringbuf_submit", record, 0)
        b.atomic_add(b.map_value("m", offset), 0, 8, 1)
        b.atomic_add(b.map_value("m", offset + 8), 0, 8, 1)
        b.call("map_delete_elem", b.map("@"), slot)
        b.ret(0)
    return Program(f"p{key}", (b.finish(),))


@pytest.mark.parametrize("size", [1, 2, 4, 8])
@pytest.mark.parametrize("keys", [(7, -1, 300), (1 << 40, 0xDEADBEEF, (1 << 64) - (1 << 40))])
def test_filled_code_is_what_each_program_gives_by_itself(size, keys):
    programs = [program(key, 16 * n, n, size) for n, key in enumerate(keys)]
    kept, forms = shared(programs, ())
    assert kept[0] is kept[1] is kept[2] and all(forms)
    code = compile_program(kept[0]).code
    assert [filled(code, form) for form in forms] == [compile_program(p).code for p in programs]


def test_single_shapes_and_programs_that_must_stay_alone_have_no_form():
    programs = [program(7, 0, 0), program(8, 0, 0), program(9, 0, 0), program(1 << 40, 0, 0)]
    kept, forms = shared(programs, {1})
    assert kept[0] is kept[2] and kept[1] is programs[1] and kept[3] is programs[3]
    assert [form is not None for form in forms] == [True, False, True, False]


def test_a_hole_in_a_register_is_filled_in_whole():
    b = Builder("main")
    b.ret(5)
    function = b.finish()
    (block,) = function.blocks
    hole = Op("hole", (), block.ops[1].result, 1)
    made = Function("main", (block.__class__(block.name, (), (block.ops[0], hole), block.end),))
    code = compile_program(Program("p", (made,))).code
    for number in (5, 0x1234_5678_9ABC_DEF0, (1 << 64) - 1):
        assert run(Machine(), decode(filled(code, Form((0, number), {}, {})).insns)) == number


def test_places_are_the_programs_own():
    programs = [program(7, 0, 2), program(8, 0, 5)]
    kept, forms = shared(programs, ())
    spans = filled(compile_program(kept[0]).code, forms[1]).spans
    assert Place(5, 6) in spans and Place(2, 3) not in spans
