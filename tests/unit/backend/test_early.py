from pbt.backend.early import set_early
from pbt.backend.select import select
from pbt.ir.build import Builder
from pbt.ir.core import Program


def machine(make):
    b = Builder("main")
    make(b)
    return select(Program("p", (b.finish(),)), {"ktime_get_ns": 5}, frozenset())


def shapes(program):
    return {b.name: ([str(m) for m in b.insns], str(b.end)) for b in program.functions[0].blocks}


def test_a_number_is_set_before_the_branch_that_chose_it():
    def make(b):
        one, two = b.load(b.ctx(), 0, 8), b.load(b.ctx(), 8, 8)
        b.ret(b.choose("eq", one, 0, lambda: b.add(two, 1), lambda: 7))

    before, after = machine(make), set_early(machine(make))
    assert len(after.functions[0].blocks) == len(before.functions[0].blocks)
    (insns, end), *_ = shapes(after).values()
    assert insns[-1].endswith("= 7") and not any(m.endswith("= 7") for m in shapes(before)["entry"][0])
    assert "goto then" in end


def test_of_two_numbers_one_is():
    program = set_early(
        machine(lambda b: b.ret(b.choose("eq", b.load(b.ctx(), 0, 8), 0, lambda: 1, lambda: 2)))
    )
    found = {name: [m.partition(" = ")[2] for m in insns] for name, (insns, _) in shapes(program).items()}
    assert found["entry"][-1] == "2" and [found["then"], found["else"]] == [["1"], []]


def test_what_the_other_way_needs_stays():
    """In a loop the counter is read by the way that goes on: it cannot be set before that is decided."""

    def make(b):
        b.assign("n", 0)
        head, more, done = b.block("head"), b.block("more"), b.block("done")
        b.jump(head)
        b.place(head, sealed=False)
        b.branch("ult", b.read("n"), 5, more, done)
        b.place(more)
        again, skip = b.block("again"), b.block("skip")
        b.branch("eq", b.load(b.ctx(), 0, 8), 0, again, skip)
        b.place(again)
        b.assign("n", 9)
        b.jump(head)
        b.place(skip)
        b.assign("n", b.add(b.read("n"), 1))
        b.jump(head)
        b.seal(head)
        b.place(done)
        b.ret(b.read("n"))

    found = shapes(set_early(machine(make)))
    assert not any(m.endswith("= 9") for m in found["more"][0])
    assert any(m.endswith("= 9") for m in found["again"][0])
