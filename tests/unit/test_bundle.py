"""What every compiled script's bundle promises to its readers."""

from __future__ import annotations

import pytest

from pbt.bundle import Bundle
from pbt.isa.disasm import malformed
from pbt.isa.insn import decode
from tests.unit.lower.machine import compiled

SCRIPTS = (
    "BEGIN { @a = 1; @b[pid, comm] = count(); print(@b); printf(\"%s\\n\", comm); }",
    "kprobe:do_* { @[kstack, probe] = hist(arg0); } interval:s:1 { print(@, 5); clear(@); exit(); }",
    "tracepoint:test:go { @m[1] = args.prio; for ($kv : @m) { print($kv); } }",
    "BEGIN { @s = str(pid); @t[@s] = (1, @s); printf(\"%d %s\\n\", elapsed, str(tid)); }",
)  # fmt: skip


@pytest.fixture(params=SCRIPTS)
def bundle(request: pytest.FixtureRequest) -> Bundle:
    made = compiled(request.param).bundle
    assert made is not None
    return made


def test_relocations_stand_at_wide_loads_and_name_what_is_there(bundle: Bundle) -> None:
    maps = {m.name: m for m in bundle.maps}
    for program in bundle.programs:
        insns, functions = decode(program.code.insns), dict(program.code.functions)
        for reloc in program.code.relocs:
            assert insns[reloc.insn].is_wide
            if reloc.kind == "func":
                assert reloc.name in functions
            elif reloc.kind in ("map_fd", "map_value"):
                assert reloc.name in maps
                assert reloc.kind == "map_fd" or 0 <= reloc.offset < maps[reloc.name].value_size


def test_code_is_well_formed_and_holds_no_kernel_numbers(bundle: Bundle) -> None:
    for program in bundle.programs:
        insns = decode(program.code.insns)
        assert list(malformed(insns)) == [] and insns[-1].opcode in (0x95, 0x05)
        for reloc in program.code.relocs:
            if reloc.kind != "func" and insns[reloc.insn].is_wide:
                assert insns[reloc.insn].imm == 0 and insns[reloc.insn + 1].imm == reloc.offset
        assert len(program.code.spans) == len(insns)
        assert program.code.functions[0][1] == 0


def test_names_are_unique_and_spans_lie_in_the_source(bundle: Bundle) -> None:
    names = [m.name for m in bundle.maps]
    assert len(names) == len(set(names)) and bundle.map(names[0]) is bundle.maps[0]
    places = (
        [p.span for p in bundle.programs] + [m.span for m in bundle.maps] + [e.span for e in bundle.events]
    )
    places += [span for p in bundle.programs for span in p.code.spans]
    assert all((-1 <= s.start <= s.end <= len(bundle.source)) for s in places)


def test_maps_are_as_large_as_their_layouts(bundle: Bundle) -> None:
    for map_ in bundle.maps:
        if map_.name.startswith("@"):
            assert map_.key is not None and map_.key_size == max(map_.key.size, 4)
            assert map_.aggregation or (map_.value is not None and map_.value_size >= map_.value.size)


def test_an_unknown_map_is_no_map(bundle: Bundle) -> None:
    with pytest.raises(StopIteration):
        bundle.map("@nothing")
