"""Functions that are passed to helpers or called, with types: what random programs found, made small.

A case: its name, the program, the function whose address it takes (if it does), and why Linux 6.18.44 refuses it.
"""

from __future__ import annotations

import pytest

from pbt.isa.asm import assemble
from pbt.isa.insn import Insn
from pbt.runtime.funcinfo import describe
from pbt.uapi.helpers import HELPERS
from pbt.verifier_sim import MapInfo, verify
from pbt.verifier_sim.functions import Declared, declared
from pbt.verifier_sim.progbtf import ProgramTypes, functions
from tests.unit.verifier_sim import objects

_IDS = {name: helper.id for name, helper in HELPERS.items()}
_MAPS = (MapInfo("array", "ARRAY", 4, 16, 4),)
_LOOP = "r2 = func[0][0]; r3 = r10; r4 = 0; call loop; r0 = 0; exit"
_EACH = "r1 = map_fd[0][0]; r2 = func[0][0]; r4 = 0; call for_each_map_elem; r0 = 0; exit"
_LOAD = "r6 = r1; .insn 0x20 0 0 0 0; exit"  # the old packet load
_STORE = "r1 = r10; r1 += r7; *(u64 *)(r1 +0) = 0; r0 = 0; exit"

CASES = (
    ("no round", f"r1 = 0; {_LOOP}", "r0 = r9; r0 = 0; exit", ""),
    ("no round, with functions left", f"call f; r1 = 0; {_LOOP}; f: r0 = 0; exit", "r0 = 0; exit",
     "No program to jit at insn"),
    ("one round", f"r1 = 1; {_LOOP}", "r0 = 0; exit", ""),
    ("rounds that nobody counts", f"{_LOOP}", "r0 = 0; exit", "backtracking misuse"),
    ("a function that was moved", f"r1 = 1; {_LOOP.replace('r3 =', 'r2 += -8; r3 =', 1)}", "r0 = 0; exit",
     "negative offset func ptr R2"),
    ("a place above the stack that is not used", f"r3 = r10; r3 += 7; {_EACH}", "r0 = 0; exit", ""),
    ("a place above the stack that is used", f"r3 = r10; r3 += 8; {_EACH}", "r0 = *(u64 *)(r4 +0); r0 = 0; exit",
     "invalid read from stack R4 off=8"),
    ("only passed", "r2 = func[0][0]; r0 = 0; exit", "r0 = 0; exit", ""),
    ("a load that may return", f"call f; r0 = 0; exit; {_LOAD.replace('r6', 'f: r6', 1)}", "", ""),
    ("a number from before such a load", f"r7 = -8; call f; {_STORE}; {_LOAD.replace('r6', 'f: r6', 1)}", "",
     "subprog exit from frame 0"),
    ("a number from after it", f"call f; r7 = -8; {_STORE}; {_LOAD.replace('r6', 'f: r6', 1)}", "", ""),
)  # fmt: skip


def _build(text: str, passed: str) -> tuple[list[Insn], tuple[int, ...]]:
    """Slots, and where the functions begin."""
    insns = assemble(text.replace(";", "\n"), _IDS)
    starts = [
        0,
        *sorted({at + 1 + i.imm for at, i in enumerate(insns) if i.opcode == 0x85 and i.src_reg == 1}),
    ]
    if passed:
        starts.append(len(insns))
        at = next(at for at, insn in enumerate(insns) if insn.is_wide and insn.src_reg == 4)
        insns[at] = insns[at]._replace(imm=len(insns) - at - 1)
        insns += assemble(passed.replace(";", "\n"), _IDS)
    return insns, tuple(starts)


@pytest.mark.parametrize(("name", "text", "passed", "reason"), CASES, ids=[case[0] for case in CASES])
def test_functions(name: str, text: str, passed: str, reason: str) -> None:
    insns, starts = _build(text, passed)
    types, (rows,) = describe([("main", [(f"f{at}", at) for at in starts])])
    ids = [int.from_bytes(rows[at + 4 : at + 8], "little") for at in range(0, len(rows), 8)]
    known = declared({"raw": types.hex()}, list(zip(starts, ids, strict=True)))
    maps = {at: (0, "map_fd", 0) for at, insn in enumerate(insns) if insn.is_wide and insn.src_reg == 1}
    verdict = verify(
        insns, prog_type="SOCKET_FILTER", maps=_MAPS, map_of=maps, declared=known, kernel="6.18.44"
    )
    assert not verdict.unsupported
    found = verdict.error.reason if verdict.error else ""
    assert found.startswith(reason) and bool(found) == bool(reason), found


def test_without_types_there_are_no_such_loads() -> None:
    insns, _ = _build(f"call f; r0 = 0; exit; {_LOAD.replace('r6', 'f: r6', 1)}", "")
    error = verify(insns, prog_type="SOCKET_FILTER", kernel="6.18.44").error
    assert error is not None and error.reason == "LD_ABS is not allowed in subprogs without BTF"


@pytest.mark.parametrize(("end", "reason"), [("r0 = 0; exit", ""), ("exit", "R0 !read_ok")])
def test_a_global_function_that_returns_nothing(end: str, reason: str) -> None:
    types = objects.Types()
    silent = types.function("silent", 0, linkage=1)
    insns, (main, start) = _build(f"call f; {end}; f: exit", "")
    parsed = ProgramTypes.parse(types.maker.bytes())
    known = Declared(functions(parsed, [(main, types.main), (start, silent)]), parsed, {})
    error = verify(insns, prog_type="TRACEPOINT", declared=known, kernel="7.3").error
    assert (error.reason if error else "") == reason
