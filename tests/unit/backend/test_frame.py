import pytest

from pbt.backend.pipeline import compile_program
from pbt.ir.build import Builder
from pbt.ir.core import Program
from pbt.source import ScriptError, Source, Span

HELPERS = {"get_current_comm": 16, "for_each_map_elem": 164}


def frame(b):
    return compile_program(Program("p", (b.finish(),)), frozenset(), HELPERS).frames[0]


def use(b, size, label="x"):
    slot = b.slot(size, label)
    b.call("get_current_comm", slot, size)
    return b.load(slot, 0, 1)


def test_slots_one_after_another_share_room():
    b = Builder("main")
    use(b, 64)
    use(b, 32)
    b.ret()
    assert frame(b).size == 64


def test_slots_in_use_together_do_not():
    b = Builder("main")
    one, two = b.slot(64, "a"), b.slot(32, "b")
    b.call("get_current_comm", one, 64)
    b.call("get_current_comm", two, 32)
    b.ret(b.add(b.load(one, 0, 8), b.load(two, 0, 8)))
    f = frame(b)
    assert f.size == 96 and sorted(f.offsets) == [-96, -64]
    assert "64 bytes  a" in str(f)


def test_both_sides_of_a_branch_share():
    b = Builder("main")
    b.choose("eq", b.load(b.ctx(), 0, 8), 0, lambda: use(b, 200), lambda: use(b, 400))
    b.ret()
    assert frame(b).size == 400


def test_an_address_that_went_through_a_parameter_keeps_its_slots():
    b = Builder("main")
    one, two, three = b.slot(16, "a"), b.slot(16, "b"), b.slot(16, "c")
    for slot in (one, two):
        b.zero(slot, 0, 16)
    at = b.choose("eq", b.load(b.ctx(), 0, 8), 0, lambda: one, lambda: two)
    b.call("get_current_comm", three, 16)
    b.ret(b.add(b.load(at, 0, 8), b.load(three, 0, 8)))
    assert frame(b).size == 48


def test_an_address_in_memory_keeps_its_slot_to_itself():
    b = Builder("main")
    one, two = b.slot(16, "a"), b.slot(8, "b")
    b.zero(one, 0, 16)
    b.store(two, 0, 8, one)
    hidden = b.load(two, 0, 8)
    use(b, 64)
    b.ret(b.load(hidden, 0, 8))
    assert frame(b).size == 16 + 64


def test_a_slot_in_a_loop_lasts_for_the_whole_loop():
    b = Builder("main")
    one, two = b.slot(16, "a"), b.slot(16, "b")
    b.zero(one, 0, 16)
    b.assign("i", 0)
    head, inside, after = b.block("head"), b.block("inside"), b.block("after")
    b.jump(head)
    b.place(head, sealed=False)
    b.branch("ult", b.read("i"), 4, inside, after)
    b.place(inside)
    b.store(one, 0, 8, b.add(b.load(one, 0, 8), 1))
    b.call("get_current_comm", two, 16)
    b.assign("i", b.add(b.read("i"), 1))
    b.jump(head)
    b.seal(head)
    b.place(after)
    b.ret(0)
    assert frame(b).size == 32


def test_too_large_a_frame_names_the_slots():
    source = Source("s.bt", "a b\nc")
    b = Builder("main")
    with b.at(Span(source, 4, 5)):
        one = b.slot(400, "str c")
    two = b.slot(120, "key @x")
    b.call("get_current_comm", one, 400)
    b.call("get_current_comm", two, 120)
    b.ret(b.add(b.load(one, 0, 8), b.load(two, 0, 8)))
    with pytest.raises(ScriptError) as caught:
        frame(b)
    text = str(caught.value)
    assert "520 bytes of stack, BPF has 512" in text
    assert "400 bytes for str c (line 2); 120 bytes for key @x" in text
    assert "s.bt:2:1" in text


def test_frames_add_up_over_a_callback():
    main, sub = Builder("main"), Builder("each", ("map", "stack", "value", "int"))
    use(main, 300)
    main.call("for_each_map_elem", main.map("@"), main.func("each"), 0, 0)
    main.ret()
    use(sub, 300)
    sub.ret()
    with pytest.raises(ScriptError, match="bytes of stack"):
        compile_program(Program("p", (main.finish(), sub.finish())), frozenset(), HELPERS)
