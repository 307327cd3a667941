import pytest

from pbt.backend.pipeline import compile_program
from pbt.bundle import Place, Reloc
from pbt.ir.build import Builder
from pbt.ir.core import Program
from pbt.isa import opcodes as op
from pbt.isa.disasm import listing, malformed
from pbt.isa.insn import decode
from pbt.source import ScriptError, Source, Span

HELPERS = {"for_each_map_elem": 164, "ktime_get_ns": 5}


def compiled(*builders, features=frozenset()):
    return compile_program(Program("p", tuple(b.finish() for b in builders)), features, HELPERS).code


def text(code):
    return [t for _, t in listing(decode(code.insns))]


def test_blocks_that_cannot_be_reached_are_left_out():
    b = Builder("main")
    dead, end = b.block("dead"), b.block("end")
    b.jump(end)
    b.place(dead)
    b.store(b.slot(8, "x"), 0, 8, 1)
    b.jump(end)
    b.place(end)
    b.ret()
    assert text(compiled(b)) == ["r0 = 0", "exit"]


def test_the_next_block_is_fallen_into():
    b = Builder("main")
    with b.when("eq", b.load(b.ctx(), 0, 8), 0):
        b.store(b.map_value("m"), 0, 8, 1)
    b.ret()
    assert text(compiled(b))[1] == "if r0 != 0x0 goto pc+3"
    assert not any(t.startswith("goto") for t in text(compiled(b)))


def test_wide_loads_have_relocations_and_every_slot_a_place():
    source = Source("s", "abc")
    b = Builder("main")
    with b.at(Span(source, 1, 3)):
        b.ret(b.load(b.map_value("m", 16), 0, 8))
    code = compiled(b)
    assert code.relocs == (Reloc(0, "map_value", "m", 16),)
    assert len(code.spans) == len(code.insns) // 8
    assert code.spans[0] == Place(1, 3)
    low, high = decode(code.insns)[:2]
    assert (low.src_reg, low.imm, high.imm) == (op.PSEUDO.index("map_value"), 0, 16)


def test_subprograms_follow_and_unused_ones_are_left_out():
    main, each, unused = Builder("main"), Builder("each", ("map",) * 4), Builder("unused", ("map",))
    main.call("for_each_map_elem", main.map("@"), main.func("each"), 0, 0)
    main.ret()
    each.ret(1)
    unused.ret(2)
    code = compiled(main, each, unused)
    (_, start), (name, entry) = code.functions
    assert start == 0 and name == "each"
    insns = decode(code.insns)
    (at,) = (r.insn for r in code.relocs if r.kind == "func")
    assert insns[at].imm == entry - at - 1
    assert len(insns) == entry + 2 and not list(malformed(insns))


def _long(steps):
    b = Builder("main")
    with b.when("eq", b.load(b.ctx(), 0, 8), 0):
        for _ in range(steps):
            b.call("ktime_get_ns")
    b.ret()
    return b


def test_a_jump_too_far_is_the_script_s_mistake():
    with pytest.raises(ScriptError, match="too large"):
        compiled(_long(33000))
