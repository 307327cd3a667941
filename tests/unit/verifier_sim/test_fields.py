"""Locks, kernel pointers, maps in maps, frozen data, and the types of programs."""

from __future__ import annotations

import struct

import pytest

from pbt.isa.asm import assemble
from pbt.uapi.btf import CONST, FUNC, FUNC_PROTO, INT
from pbt.uapi.helpers import HELPERS
from pbt.verifier_sim import MapInfo, verify
from pbt.verifier_sim.progbtf import BadTypes, ProgramTypes
from pbt.verifier_sim.reg import Field

_IDS = {name: helper.id for name, helper in HELPERS.items()}
_INNER = MapInfo("inner", "ARRAY", 4, 8, 4)
_MAPS = (
    MapInfo(
        "locked", "HASH", 4, 16, 8, fields=(Field("spin_lock", 0, 4), Field("kptr", 8, 8, "task_struct"))
    ),
    MapInfo("outer", "ARRAY_OF_MAPS", 4, 4, 4, inner=_INNER),
    MapInfo("rodata", "ARRAY", 4, 8, 1, flags=1 << 7, data=bytes([7, 0, 0, 0, 1, 0, 0, 0])),
)
_LOOK = "*(u32 *)(r10 -4) = 1; r2 = r10; r2 += -4; r1 = {map}; call map_lookup_elem; if r0 == 0 goto out"
_END = "out: r0 = 0; exit"


def _reason(text: str, prog_type: str = "XDP", kernel: str = "6.18") -> str:
    for at, info in enumerate(_MAPS):
        way = "map_value" if info.name == "rodata" else "map_fd"
        text = text.replace(info.name.upper(), f"{way}[{at}][0]")
    insns = assemble(text.replace(";", "\n"), _IDS)
    loads = {at: i for at, i in enumerate(insns) if i.is_wide and i.src_reg in (1, 2)}
    references = {at: (i.imm, "map_fd" if i.src_reg == 1 else "map_value", 0) for at, i in loads.items()}
    verdict = verify(insns, prog_type=prog_type, maps=_MAPS, map_of=references, kernel=kernel)
    assert not verdict.unsupported
    return verdict.error.reason if verdict.error else ""


_HOLD = f"{_LOOK.format(map='LOCKED')}; r6 = r0; r1 = r6; call spin_lock"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"{_HOLD}; r1 = r6; call spin_unlock; {_END}", ""),
        (f"{_HOLD}; {_END}", "BPF_EXIT instruction in main prog cannot be used inside bpf_spin_lock-ed region"),
        (f"{_HOLD}; call ktime_get_ns; {_END}", "function calls are not allowed while holding a lock"),
        (f"{_LOOK.format(map='LOCKED')}; r1 = r0; call spin_unlock; {_END}", "bpf_spin_unlock without taking a lock"),
        (f"{_LOOK.format(map='LOCKED')}; r1 = *(u32 *)(r0 +0); {_END}",
         "bpf_spin_lock cannot be accessed directly by load/store"),
        (f"{_LOOK.format(map='LOCKED')}; r1 = *(u64 *)(r0 +8); {_END}", ""),
        (f"{_LOOK.format(map='LOCKED')}; r1 = *(u32 *)(r0 +8); {_END}", "kptr access size must be BPF_DW"),
        (f"{_LOOK.format(map='LOCKED')}; *(u64 *)(r0 +8) = 0; {_END}", "store to referenced kptr disallowed"),
    ],
)  # fmt: skip
def test_fields_of_values(text: str, reason: str) -> None:
    assert _reason(text) == reason


def test_locks_are_not_for_tracing() -> None:
    assert _reason(f"{_HOLD}; {_END}", "KPROBE") == "tracing progs cannot use bpf_spin_lock yet"


def test_a_map_in_a_map() -> None:
    outer = _LOOK.format(map="OUTER")
    inner = "r1 = r0; r2 = r10; r2 += -4; call map_lookup_elem"
    assert _reason(f"{outer}; {inner}; if r0 == 0 goto out; r0 = *(u64 *)(r0 +0); {_END}") == ""
    assert "or_null" in _reason(f"{outer.replace('; if r0 == 0 goto out', '')}; r0 = *(u64 *)(r0 +0); {_END}")


def test_frozen_data_is_known() -> None:
    assert _reason(f"r1 = RODATA; r0 = *(u32 *)(r1 +0); if r0 == 7 goto out; r10 = 1; {_END}") == ""
    assert _reason("r1 = RODATA; *(u32 *)(r1 +0) = 1; r0 = 0; exit").startswith("write into map forbidden")


# types ----------------------------------------------------------------------------------------------


def _types(*rows: tuple[int, int, int, tuple[int, ...]]) -> ProgramTypes:
    words = b"".join(
        struct.pack(f"<{3 + len(more)}I", 0, kind << 24 | vlen, size, *more)
        for kind, vlen, size, more in rows
    )
    return ProgramTypes(words, b"\0")


def test_functions_are_read() -> None:
    types = _types((INT, 0, 4, (32,)), (FUNC_PROTO, 1, 1, (0, 1)), (FUNC, 1, 2, ()))
    function = types.function(3)
    assert function.is_global and function.params == (1,) and types.is_scalar(function.result)


def test_cycles_and_fragments_are_errors() -> None:
    loop = _types((CONST, 0, 1, ()))
    with pytest.raises(BadTypes):
        loop.plain(1)
    with pytest.raises(BadTypes):
        ProgramTypes(b"\1\2\3\4\5\6\7\x08", b"\0")
    with pytest.raises(BadTypes):
        ProgramTypes.parse(b"garbage")
    with pytest.raises(BadTypes):
        loop.function(9)


def test_the_tag_of_kernel_pointers_was_renamed() -> None:
    """Before Linux 6.4 "kptr" made a pointer without reference, which kptr_xchg does not take."""
    text = f"{_LOOK.format(map='LOCKED')}; r1 = r0; r1 += 8; r2 = 0; call kptr_xchg; r0 = 0; {_END}"
    assert _reason(text, "SCHED_CLS", "6.1") == "off=8 kptr isn't referenced kptr"
    assert (
        _reason(text, "SCHED_CLS", "6.12") == "BPF_EXIT instruction in main prog would lead to reference leak"
    )
