from pbt.backend import proof
from pbt.backend.allocate import AInsn, allocate
from pbt.backend.liveness import live_out, members, ranges
from pbt.backend.machine import CLOBBERED, VIRTUAL, MBlock, MEnd, MInsn
from pbt.backend.select import select
from pbt.ir.build import Builder
from pbt.ir.core import Program
from pbt.isa import insn as isa

HELPERS = {"ktime_get_ns": 5}


def machine(make):
    b = Builder("main")
    make(b)
    return select(Program("p", (b.finish(),)), HELPERS, frozenset())


def many_over_a_call(n):
    def make(b):
        values = [b.load(b.ctx(), 8 * k, 8) for k in range(n)]
        total = b.call("ktime_get_ns")
        for value in values:
            total = b.op("xor", total, value)
        b.ret(total)

    return machine(make)


def test_values_over_a_call_get_kept_registers_first():
    program = many_over_a_call(4)
    function = allocate(program).functions[0]
    assert not function.spills
    assert {6, 7, 8, 9} <= set(function.registers.values())


def test_more_of_them_are_spilled_and_the_proof_holds():
    for n in range(5, 14):
        program = many_over_a_call(n)
        allocation = allocate(program)
        assert len(set(allocation.functions[0].spills.values())) == n - 4
        assert proof.check(program, allocation) == []


def test_the_context_stays_in_r1_when_no_call_comes_between():
    program = machine(lambda b: b.ret(b.add(b.load(b.ctx(), 0, 8), b.load(b.ctx(), 8, 8))))
    insns = [str(i.insn) for i in allocate(program).functions[0].blocks[0].insns]
    assert insns == ["r0 = *(u64 *)(r1 +0)", "r1 = *(u64 *)(r1 +8)", "r0 += r1"]


def test_the_context_is_kept_when_a_call_comes_between():
    def make(b):
        b.call("ktime_get_ns")
        b.ret(b.load(b.ctx(), 0, 8))

    allocation = allocate(machine(make))
    assert [str(i.insn) for i in allocation.functions[0].blocks[0].insns] == [
        "r6 = r1",
        "call 5",
        "r0 = *(u64 *)(r6 +0)",
    ]


def test_the_proof_sees_exchanged_registers():
    """Every single change of a register in allocated code is noticed, or changes nothing that is read."""
    program = many_over_a_call(6)
    allocation = allocate(program)
    (function,) = allocation.functions
    (block,) = function.blocks
    noticed = tried = 0
    for at, (m, origin) in enumerate(block.insns):
        if m.insn.cls not in (isa.op.LDX, isa.op.ALU64) or m.insn.src_reg == 10:
            continue
        wrong = m._replace(insn=m.insn._replace(src_reg=(m.insn.src_reg + 1) % 10))
        insns = (*block.insns[:at], AInsn(wrong, origin), *block.insns[at + 1 :])
        changed = function._replace(blocks=(block._replace(insns=insns),))
        tried += 1
        noticed += bool(proof.check(program, allocation._replace(functions=(changed,))))
    assert tried > 5 and noticed == tried


def test_the_proof_sees_what_is_missing_or_put_in():
    program = many_over_a_call(6)
    allocation = allocate(program)
    (function,) = allocation.functions
    (block,) = function.blocks
    extra = AInsn(MInsn(isa.mov_imm(6, 1)), -1)
    call = next(n for n, i in enumerate(block.insns) if i.insn.arity == 0 and str(i.insn) == "call 5")
    for insns in (
        block.insns[:call] + block.insns[call + 1 :],
        (*block.insns[:call], extra, *block.insns[call:]),
    ):
        changed = function._replace(blocks=(block._replace(insns=insns),))
        assert proof.check(program, allocation._replace(functions=(changed,)))


def test_liveness():
    a, b = VIRTUAL, VIRTUAL + 1
    loop = MEnd(isa.branch("JNE", b, None, 1, 0), "two", "end")
    blocks = (
        MBlock("one", (MInsn(isa.mov_imm(a, 1)), MInsn(isa.mov_imm(b, 1))), MEnd(None, "two")),
        MBlock("two", (MInsn(isa.alu("ADD", a, None, 1)),), loop),
        MBlock("end", (MInsn(isa.mov(0, a)),), MEnd(None, "")),
    )
    out = live_out(blocks)
    assert {name: set(members(bits)) for name, bits in out.items()} == {
        "one": {a, b},
        "two": {a, b},
        "end": set(),
    }
    assert ranges(blocks, out)[b] == (2, 4)
    assert CLOBBERED == (0, 1, 2, 3, 4, 5)
