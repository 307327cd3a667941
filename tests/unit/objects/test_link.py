from __future__ import annotations

import re
from pathlib import Path

import pytest

from pbt.host.btf import Btf
from pbt.isa.insn import Insn
from pbt.objects.link import ObjectFile, Program, read
from pbt.source import UsageError
from pbt.uapi import btf
from pbt.verifier_sim import Verdict
from tests.unit.objects.made import GRAPH, HEAD, LOOKUP, MIXED, UNCHECKED, Part, assembled, clang, legacy


def judged(found: ObjectFile, program: Program, kernel: str = "6.18") -> Verdict:
    return found.judge(program, kernel=kernel)


def kinds(found: ObjectFile) -> dict[str, str]:
    return {program.name: judged(found, program).kind for program in found.programs}


def test_maps_and_lines() -> None:
    parts = Part("socket", "good", LOOKUP, [(3, "counts")]), Part("tc", "bad", UNCHECKED, [(3, "counts")])
    found = read("x.o", assembled(*parts))
    assert kinds(found) == {"good": "accept", "bad": "reject"}
    (map_,) = found.maps
    assert (map_.name, map_.map_type, map_.key_size, map_.value_size, map_.max_entries) == (
        "counts", "HASH", 4, 8, 16,
    )  # fmt: skip
    bad = found.programs[1]
    assert bad.sort.prog_type == "SCHED_CLS"
    story = judged(found, bad).story(place=bad.place)
    assert story.startswith("program.c:17:3: ERROR: instruction 7: r0 may be null") and "line of bad" in story


def test_functions_of_other_sections_are_put_behind() -> None:
    parts = (
        Part("kprobe/f", "main", "r1 = 4; .insn 0x85 0 1 0 -1; exit", [(1, "inner")]),
        Part("uprobe.s", "other", ".insn 0x85 0 1 0 -1; r0 = 0; exit", [(0, "inner")]),
        Part(".text", "inner", "r0 = r1; r0 += 1; exit"),
    )
    found = read("x.o", assembled(*parts))
    main, other = found.programs
    assert [insn.imm for insn in main.insns[1:2]] == [1] and len(main.insns) == 6
    assert main.attach_name == "f" and other.sort == ("KPROBE", "", True)
    assert main.declared is not None and sorted(main.declared.functions) == [0, 3]
    assert kinds(found)["main"] == "accept"


def test_variables_that_nobody_writes_are_known() -> None:
    """The program reads a register that nobody set if the variable were not 8."""
    text = "r1 = 0 ll; r1 = *(u32 *)(r1 +4); r0 = 0; if r1 == 8 goto out; r0 = r9; out: exit"
    found = read(
        "x.o", assembled(Part("socket", "p", text, [(0, "limits")]), data=bytes((7, 0, 0, 0, 8, 0, 0, 0)))
    )
    assert kinds(found) == {"p": "accept"}
    assert found.maps[-1].name == ".rodata" and found.maps[-1].value_size == 8
    other = read("x.o", assembled(Part("socket", "p", text, [(0, "limits")]), data=bytes(8)))
    assert kinds(other) == {"p": "reject"}


def test_maps_by_numbers() -> None:
    assert kinds(read("x.o", legacy((1, 4, 8, 16, 0)))) == {"look": "accept"}
    assert kinds(read("x.o", legacy((1, 4, 4, 16, 0)))) == {"look": "reject"}
    with pytest.raises(UsageError, match="map counts has type 99"):
        read("x.o", legacy((99, 4, 4, 16, 0)))


def test_the_license_counts() -> None:
    text = "r1 = r10; r1 += -8; r2 = 8; r3 = 0; call probe_read_kernel; r0 = 0; exit"
    for license, kind in (
        ("GPL", "accept"),
        ("Dual MIT/GPL", "accept"),
        ("GPLv2", "reject"),
        ("BSD", "reject"),
    ):
        found = read("x.o", assembled(Part("kprobe/f", "p", text), license=license))
        assert kinds(found) == {"p": kind}, license


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x7fELF", "is not an ELF file"),
        (b"\x7fELF\2\1\1" + bytes(9), "cut off"),
        (Path("/bin/sh").read_bytes(), "not for BPF"),
        (assembled(Part("nothing_known", "p", "r0 = 0; exit")), "section nothing_known does not tell"),
        (assembled(Part("socket", "p", LOOKUP, [(1, "counts")])), "instruction 1 cannot refer to counts"),
        (assembled(Part("socket", "p", ".insn 0x85 0 1 0 7; exit")), "calls what is no function"),
    ],
)
def test_bad_objects_are_told(data: bytes, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read("x.o", data)


def test_a_type_given_is_for_sections_that_do_not_tell() -> None:
    data = assembled(Part("mine", "p", "r0 = 0; exit"), Part("xdp", "q", "r0 = 1; exit"))
    found = read("x.o", data, prog_type="SCHED_CLS")
    assert [program.sort.prog_type for program in found.programs] == ["SCHED_CLS", "XDP"]


# --- made by clang --------------------------------------------------------------------------------


def test_programs_of_all_kinds(tmp_path: Path) -> None:
    found = read("program.o", clang(tmp_path, MIXED))
    names = kinds(found)
    assert len(names) == 10
    assert {
        n: k for n, k in names.items() if k != {"good": "accept", "bad": "reject"}[n.split("_")[-1]]
    } == {}
    bad = next(program for program in found.programs if program.name == "xdp_bad")
    assert "return data[12] == 8 ? 2 : 1;" in judged(found, bad).story(place=bad.place)
    locks = next(map_ for map_ in found.maps if map_.name == "locks")
    assert [field[:3] for field in locks.fields] == [("spin_lock", 0, 4)]
    outer = next(map_ for map_ in found.maps if map_.name == "outer")
    assert outer.inner is not None and outer.inner.value_size == 8


def test_calls_of_kernel_functions(tmp_path: Path) -> None:
    text = 'extern void bpf_rcu_read_lock(void) SEC(".ksyms"); SEC("tc") int p(void *c) { bpf_rcu_read_lock(); return 0; }'
    (program,) = read("program.o", clang(tmp_path, HEAD + text)).programs
    assert program.kfuncs == {0: "bpf_rcu_read_lock"} and program.insns[0].src_reg == 2


def test_lists_and_trees(tmp_path: Path) -> None:
    found = read("program.o", clang(tmp_path, GRAPH))
    expected = {"good": "accept", "bad": "reject"}
    assert {name: kind for name, kind in kinds(found).items() if kind != expected[name.split("_")[-1]]} == {}
    (held,) = [info for info in found.maps if info.name == ".data.A"]
    roots = {field.kind: (field.struct, field.node) for field in held.fields if field.struct}
    assert roots == {"list_head": ("item", 8), "rb_root": ("item", 32)}
    lost = next(program for program in found.programs if program.name == "lost_bad")
    assert "reference leak" in judged(found, lost).story(place=lost.place)


CORE = HEAD + """
struct there { int gone_before; int pid; unsigned flags : 3; } __attribute__((preserve_access_index));
struct missing { int x; } __attribute__((preserve_access_index));
enum colour { RED = 1, GREEN = 2 };
int out[9];
SEC("socket") int offsets(void *ctx) {
  struct there *t = 0;
  out[0] = __builtin_preserve_field_info(t->pid, 0);
  out[1] = __builtin_preserve_field_info(t->pid, 1);
  out[2] = __builtin_preserve_field_info(t->pid, 2);
  out[3] = __builtin_preserve_field_info(t->gone_before, 2);
  out[4] = __builtin_preserve_type_info(*(struct there *)0, 1);
  out[5] = __builtin_preserve_type_info(*(struct missing *)0, 0);
  out[6] = __builtin_preserve_enum_value(*(typeof(enum colour) *)GREEN, 1);
  return 0;
}
SEC("raw_tp/sys_enter") int reads(void *ctx) {
  int x;
  bpf_probe_read_kernel(&x, 4, &((struct missing *)bpf_get_current_task())->x);
  out[8] = x;
  return 0;
}
"""  # fmt: skip


def kernel() -> Btf:
    """Types of a kernel in which `pid` is 8 bytes at byte 24, and GREEN is 12."""
    types = btf.Types()
    wide = types.integer("unsigned long", 8)
    types.struct("there", 40, [("before", wide, 0), ("pid", wide, 24)])
    names = b"".join(
        types.string(name).to_bytes(4, "little") + n.to_bytes(4, "little")
        for name, n in (("RED", 11), ("GREEN", 12))
    )
    types._add("colour", 6, 2, 4, names)
    return Btf(types.data())


def stored(insns: list[Insn]) -> list[int]:
    """Constants that the program puts into `out`, in order."""
    known: dict[int, int] = {}
    out = []
    for insn in insns:
        if insn.opcode in (0xB7, 0xB4) or (insn.is_wide and not insn.src_reg):
            known[insn.dst_reg] = insn.imm
        elif insn.opcode == 0x63:
            out.append(known.get(insn.src_reg, -1))
    return out


def test_what_depends_on_the_kernels_types(tmp_path: Path) -> None:
    data = clang(tmp_path, CORE)
    found = read("program.o", data, kernel())
    offsets, reads = found.programs
    assert stored(offsets.insns)[:7] == [24, 8, 1, 0, 40, 0, 12]
    verdict = judged(found, reads)
    assert verdict.kind == "reject" and "this kernel has no struct missing" in verdict.story(
        place=reads.place
    )
    untyped = read("program.o", data)
    assert kinds(untyped) == {"offsets": "unsupported", "reads": "unsupported"}


def test_damaged_objects_are_told_or_read(tmp_path: Path) -> None:
    """Every object cut off somewhere, or with a byte changed, gives a verdict or words."""
    import random

    good = assembled(Part("socket", "p", LOOKUP, [(3, "counts")]), Part(".text", "q", "r0 = 0; exit"))
    rng = random.Random(1)
    for number in range(400):
        data = bytearray(good)
        for _ in range(rng.choice((1, 1, 4))):
            data[rng.randrange(len(data))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        if number % 4 == 0:
            del data[rng.randrange(len(data)) :]
        try:
            found = read("x.o", bytes(data))
            for program in found.programs:
                judged(found, program).story(place=program.place)
        except UsageError as error:
            assert re.search("x.o|instruction|object", str(error)), number
