"""Global functions of a program: judged by themselves for all arguments of their types.

A call of one checks only the arguments; its result is any number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pbt.data import NamedTuple
from pbt.isa import opcodes as op
from pbt.isa.insn import Insn
from pbt.typing import Any
from pbt.verifier_sim.env import Refuse
from pbt.verifier_sim.params import Param
from pbt.verifier_sim.progbtf import BadTypes, Function, ProgramTypes, functions
from pbt.verifier_sim.reg import ANY, UNINIT, Reg


class Declared(NamedTuple):
    """What the types of a program say of its functions: by first slot; the sizes of its structs."""

    functions: Mapping[int, Function]
    types: ProgramTypes
    sizes: Mapping[str, int]


def types_of(btf: Mapping[str, Any]) -> ProgramTypes:
    """Read {"raw": hex} or {"types": hex, "strings": hex}; BadTypes if malformed."""
    if "raw" in btf:
        return ProgramTypes.parse(bytes.fromhex(btf["raw"]))
    return ProgramTypes(bytes.fromhex(btf["types"]), bytes.fromhex(btf["strings"]))


def declared(btf: Mapping[str, Any], info: Sequence[Sequence[int]]) -> Declared:
    """BTF as for `types_of`, and func_info rows; BadTypes if malformed."""
    types = types_of(btf)
    return Declared(functions(types, info), types, types.struct_sizes())


def check_layout(insns: Sequence[Insn], starts: Sequence[int], known: Declared | None) -> None:
    """The functions that BTF describes are those of the code, and fit what they do."""
    if known is not None and len(known.functions) != len(starts):
        raise Refuse("number of funcs in func_info doesn't match number of subprogs", pc=0)
    if known is not None and sorted(known.functions) != list(starts):
        raise Refuse("func_info BTF section doesn't match subprog layout in BPF program", pc=0)
    for start, end in zip(starts, [*starts[1:], len(insns)], strict=True):
        if start and not (known and known.types.is_scalar(known.functions[start].result)):
            _returns_int(insns[start:end], start, known is not None)


def _returns_int(body: Sequence[Insn], start: int, described: bool) -> None:
    """A function that may end early does so with a number, which BTF has to say."""
    why = (
        "only allowed in functions that return 'int'." if described else "not allowed in subprogs without BTF"
    )
    for at, insn in enumerate(body):
        if insn.opcode & 7 == op.LD and insn.opcode & 0xE0 in (op.ABS, op.IND):
            raise Refuse(f"LD_ABS is {why}", pc=start + at)
        if insn.opcode == op.JMP | op.CALL and not insn.src_reg and insn.imm == 12:
            raise Refuse(f"tail_call is {why}", pc=start + at)


def arguments(wanted: Sequence[Param], new_id: Any) -> list[Reg]:
    """r1 to r5 when the function is judged by itself."""
    regs = []
    for param in wanted:
        fresh = new_id() if param.null else 0
        if param.kind == "ctx":
            regs.append(Reg("ctx"))
        elif param.kind == "dynptr":
            regs.append(Reg("dynptr_ptr", obj="LOCAL", id=new_id(), size=1))
        elif param.kind == "mem":
            regs.append(Reg("mem", id=fresh, null=param.null, size=param.size, mods=param.mods))
        elif param.kind == "btf":
            regs.append(Reg("ptr_", id=fresh, null=param.null, obj=param.struct, mods=param.mods))
        else:
            regs.append(ANY)
    return regs + [UNINIT] * (5 - len(regs))


__all__ = ["BadTypes", "Declared", "arguments", "check_layout", "declared"]
