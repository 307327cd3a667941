from types import SimpleNamespace

import pytest

from pbt.bundle import Bundle, Code, Place, Program, Reloc
from pbt.isa.insn import decode, encode, wide
from pbt.runtime.load import LoadError, btf_id, place, refusal, relocate, ring_size
from pbt.source import KernelError, UsageError


def target(byteorder: str = "little", **ids):
    types = SimpleNamespace(find=lambda kind, name: ids.get(f"{kind}_{name}"))
    return SimpleNamespace(arch=SimpleNamespace(byteorder=byteorder), types=types)


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize(
    "reloc, src, low, high",
    [
        (Reloc(0, "map_fd", "@m"), 1, 7, 0),
        (Reloc(0, "map_value", "@m", 24), 2, 7, 24),
        (Reloc(0, "btf_id", "runqueues"), 3, 99, 0),
        (Reloc(0, "func", "each"), 4, 9, 0),
    ],
)
def test_relocations(order, reloc, src, low, high):
    code = Code(encode(wide(3, 0), order), (reloc,), (), (("main", 0), ("each", 10)))
    first, second = decode(relocate(code, {"@m": 7}, target(order, var_runqueues=99)), order)
    assert (first.dst_reg, first.src_reg, first.imm, second.imm) == (3, src, low, high)


def test_a_type_that_the_kernel_lacks_is_a_usage_error():
    with pytest.raises(UsageError, match="no func nosuch"):
        btf_id(target(), "func", "nosuch")
    with pytest.raises(UsageError) as caught:
        btf_id(SimpleNamespace(types=None), "func", "f")
    assert "CONFIG_DEBUG_INFO_BTF" in caught.value.hint


LOG = """func#0 @0
0: R1=ctx() R10=fp0
0: (b7) r0 = 0                        ; R0_w=0
1: (79) r1 = *(u64 *)(r2 +0)
R2 !read_ok
processed 2 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
"""


def test_the_reason_and_its_instruction_are_found_in_the_log():
    assert refusal(LOG) == ("R2 !read_ok", 1)
    assert refusal("") == ("", None)
    assert refusal("unreachable insn 3\nprocessed 0 insns\n") == ("unreachable insn 3", None)


def bundle(*spans: Place) -> tuple[Bundle, Program]:
    program = Program("kprobe:f", "kprobe", "KPROBE", Code(b"", (), spans), {}, span=Place(0, 8))
    return Bundle("a.bt", "kprobe:f\n{ @ = 1 }", (program,), (), (), "x86_64", "6.1"), program


def test_a_refusal_shows_the_line_of_its_instruction():
    script, program = bundle(Place(11, 16), Place(-1, -1))
    inside, outside = place(script, program, 0), place(script, program, 1)
    assert inside is not None and inside.text == "@ = 1"
    assert outside is not None and outside.text == "kprobe:f"
    error = LoadError(KernelError("cannot load", 13, "", LOG), program, "R2 !read_ok", inside)
    assert str(error).splitlines()[:2] == [
        "a.bt:2:3: ERROR: the kernel refused the program of kprobe:f (EACCES): R2 !read_ok",
        "{ @ = 1 }",
    ]


def test_a_refusal_without_a_reason_is_plain():
    error = LoadError(KernelError("cannot load", 1, "be root"), bundle()[1], "", None)
    assert str(error) == "ERROR: cannot load: EPERM (Operation not permitted)\nHINT: be root"


def test_a_refusal_without_a_reason_shows_the_probe():
    script, program = bundle()
    error = LoadError(KernelError("cannot load", 1, "be root"), program, "", place(script, program, None))
    said = "cannot load: EPERM (Operation not permitted)\nkprobe:f\n^~~~~~~~\nHINT: be root"
    assert str(error) == f"a.bt:1:1: ERROR: {said}"


def test_the_ring_buffer_is_a_power_of_two():
    assert ring_size(4 << 20, 0) == 4 << 20 and ring_size(4 << 20, 3) == 16384 and ring_size(0, 0) == 4096
