"""One small function in, the machine's instructions out."""

from pbt.backend.pipeline import compile_program
from pbt.backend.select import select
from pbt.ir.build import Builder
from pbt.ir.core import BINARY, OPS, Program
from pbt.isa.disasm import listing
from pbt.isa.insn import decode

HELPERS = {
    "map_lookup_elem": 1,
    "map_update_elem": 2,
    "get_current_comm": 16,
    "ktime_get_ns": 5,
    "ringbuf_reserve": 131,
}
V4 = frozenset({"cpu_v4"})


def code(b, features=frozenset()):
    compiled = compile_program(Program("p", (b.finish(),)), features, HELPERS)
    symbols = {r.insn: f"{r.kind}[{r.name}][{r.offset}]" for r in compiled.code.relocs}
    return [text for _, text in listing(decode(compiled.code.insns), None, symbols)]


def word(b, at=0):
    return b.load(b.ctx(), 8 * at, 8)


def test_every_operation_has_a_rule_or_is_made_where_it_is_read():
    from pbt.backend.select import _MADE, RULES

    assert set(RULES) | set(_MADE) == set(OPS)
    assert set(BINARY) <= set(RULES)


def test_counting_by_comm_takes_25_slots():
    b = Builder("main")
    key = b.slot(16, "key")
    b.call("get_current_comm", key, 16)
    cell = b.call("map_lookup_elem", b.map("@"), key, kind="value")
    found, missing, after = b.block("found"), b.block("missing"), b.block("after")
    b.branch("ne", cell, 0, found, missing)
    b.place(found)
    b.store(cell, 0, 8, b.add(b.load(cell, 0, 8), 1))
    b.jump(after)
    b.place(missing)
    one = b.slot(8, "new")
    b.store(one, 0, 8, 1)
    b.call("map_update_elem", b.map("@"), key, one, 1)
    b.jump(after)
    b.place(after)
    b.ret()
    compiled = compile_program(Program("p", (b.finish(),)), frozenset(), HELPERS)
    assert len(compiled.code.insns) // 8 == 25
    assert not compiled.allocation.functions[0].spills


def test_a_constant_store_needs_no_register():
    b = Builder("main")
    b.store(b.slot(8, "x"), 0, 8, 5)
    b.ret()
    assert code(b) == ["*(u64 *)(r10 -8) = 5", "r0 = 0", "exit"]
    b = Builder("main")
    b.store(b.slot(8, "x"), 0, 8, 1 << 40)
    b.ret()
    assert code(b)[:-2] == ["*(u32 *)(r10 -8) = 0", "*(u32 *)(r10 -4) = 256"]
    b = Builder("main")
    b.store(b.call("ringbuf_reserve", b.map("m"), 8, 0, kind="mem"), 0, 8, 1 << 40)  # nobody reads it yet
    b.ret()
    assert code(b)[-4:-2] == ["*(u32 *)(r0 +0) = 0", "*(u32 *)(r0 +4) = 256"]
    b = Builder("main")
    b.store(b.map_value("m"), 0, 8, 1 << 40)  # others read it: in one piece
    b.ret()
    assert "*(u64 *)(r0 +0) = r1" in code(b)


def test_offsets_are_folded_into_loads():
    b = Builder("main")
    b.ret(b.load(b.add(b.sub(b.ctx(), -24), 8), 8, 4))
    assert code(b) == ["r0 = *(u32 *)(r1 +40)", "exit"]


def test_far_offsets_are_not():
    b = Builder("main")
    b.ret(b.load(b.add(b.ctx(), 40000), 0, 4))
    assert code(b) == ["r1 += 40000", "r0 = *(u32 *)(r1 +0)", "exit"]


def test_a_comparison_that_only_branches_is_one_jump():
    b = Builder("main")
    with b.when("ne", b.compare("slt", word(b), 7)):
        b.ret(1)
    b.ret(2)
    assert code(b) == ["r0 = *(u64 *)(r1 +0)", "if r0 s>= 0x7 goto pc+2", "r0 = 1", "exit", "r0 = 2", "exit"]


def test_bits_are_tested_in_place():
    b = Builder("main")
    with b.when("eq", b.op("and", word(b), 4)):
        b.ret(1)
    b.ret(2)
    assert code(b)[1] == "if r0 & 0x4 goto pc+2"


def test_a_comparison_as_a_number():
    b = Builder("main")
    b.ret(b.compare("eq", word(b), 3))
    assert code(b) == ["r1 = *(u64 *)(r1 +0)", "r0 = 1", "if r1 == 0x3 goto pc+1", "r0 = 0", "exit"]


def test_extensions():
    b = Builder("main")
    b.ret(b.add(b.zext(word(b), 4), b.sext(word(b, 1), 2)))
    old = code(b)
    assert any(t.startswith("w") for t in old)
    assert any("<<= 48" in t for t in old) and any("s>>= 48" in t for t in old)
    b = Builder("main")
    b.ret(b.sext(word(b), 2))
    assert "r0 = (s16)r0" in code(b, V4)
    b = Builder("main")
    b.ret(b.load(b.ctx(), 0, 4, signed=True))
    assert code(b, V4) == ["r0 = *(s32 *)(r1 +0)", "exit"]


def test_mask_of_32_bits_is_a_move():
    b = Builder("main")
    b.ret(b.op("and", word(b), 0xFFFFFFFF))
    assert code(b) == ["r0 = *(u64 *)(r1 +0)", "w0 = w0", "exit"]


def test_reserved_immediates_never_appear():
    """The kernel refuses division by an immediate 0 and shifts by 64 or more."""
    for name, right in (("udiv", 0), ("umod", 0), ("sdiv", 0), ("smod", 0), ("shl", 64), ("lshr", -1)):
        b = Builder("main")
        b.ret(b.op(name, word(b), right))
        assert not any(t.endswith(("/= 0", "%= 0", "<<= 64", ">>= -1")) for t in code(b))


def test_signed_division_by_an_unknown_number_is_unsigned_inside():
    for features in (frozenset(), V4):
        b = Builder("main")
        b.ret(b.op("sdiv", word(b), word(b, 1)))
        assert not any("s/=" in t for t in code(b, features))
    b = Builder("main")
    b.ret(b.op("sdiv", word(b), 10))
    assert any("s/= 10" in t for t in code(b, V4))


def test_map_values_share_their_address_until_a_call():
    b = Builder("main")
    b.store(b.map_value("m", 0), 0, 8, 1)
    b.store(b.map_value("m", 8), 0, 8, 2)
    b.call("ktime_get_ns")
    b.store(b.map_value("m", 16), 0, 8, 3)
    b.ret()
    text = code(b)
    assert sum("map_value" in t for t in text) == 2
    assert "*(u64 *)(r0 +8) = 2" in text


def test_what_nobody_reads_is_not_written():
    b = Builder("main")
    b.op("mul", word(b), word(b, 1))
    b.ret(0)
    assert code(b) == ["r0 = 0", "exit"]


def test_parallel_copies_open_cycles():
    b = Builder("main")
    b.assign("x", word(b))
    b.assign("y", word(b, 1))
    b.assign("i", 0)
    head, inside, after = b.block("head"), b.block("inside"), b.block("after")
    b.jump(head)
    b.place(head, sealed=False)
    b.branch("ult", b.read("i"), 3, inside, after)
    b.place(inside)
    x, y = b.read("x"), b.read("y")
    b.assign("x", y)
    b.assign("y", x)
    b.assign("i", b.add(b.read("i"), 1))
    b.jump(head)
    b.seal(head)
    b.place(after)
    b.ret(b.sub(b.read("x"), b.read("y")))
    from pbt.isa.interp import Machine, run

    machine = Machine()
    insns = decode(compile_program(Program("p", (b.finish(),)), frozenset(), {}).code.insns)
    words = (100).to_bytes(8, "little") + (30).to_bytes(8, "little")
    assert run(machine, insns, r1=machine.allocate(words)) == (30 - 100) % (1 << 64)


def test_the_product_prints():
    b = Builder("main")
    b.ret(b.load(b.map_value("m", 4), 4, 8))
    text = str(select(Program("p", (b.finish(),)), {}, frozenset()))
    assert text.split("\n") == [
        "function main",
        "entry:",
        "  v0 = map_value[m][4]",
        "  v1 = *(u64 *)(v0 +4)",
        "  r0 = v1",
        "  exit",
    ]
