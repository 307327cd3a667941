"""Global functions of a program: judged by themselves for all arguments of their types.

A call of one checks only the arguments; its result is any number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pbt.data import NamedTuple
from pbt.isa import opcodes as op
from pbt.isa.insn import Insn
from pbt.typing import Any, Final
from pbt.uapi.progs import ProgType
from pbt.verifier_sim.env import Refuse
from pbt.verifier_sim.kernels import Features
from pbt.verifier_sim.progbtf import INT, PTR, STRUCT, UNION, BadTypes, Function, ProgramTypes, functions
from pbt.verifier_sim.reg import ANY, UNINIT, Reg, names

_NUMBER: Final = "number"
_TAGS = names("ctx nonnull nullable trusted untrusted arena")


class Param(NamedTuple):
    """What a global function takes: "number", "ctx", "mem", "dynptr" or "btf" (a kernel object)."""

    kind: str
    size: int = 0
    struct: str = ""
    null: bool = False
    mods: str = ""


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


def params(function: Function, types: ProgramTypes, prog: ProgType, rules: Features) -> tuple[Param, ...]:
    """What each parameter takes; Refuse if the kernel does not support the function."""
    if len(function.params) > 5:
        raise Refuse(
            f"Global function {function.name}() with {len(function.params)} > 5 args. Buggy compiler."
        )
    if not types.is_scalar(function.result):
        kind = types.plain(function.result)[1].kind
        if kind != 0 or "void_functions" not in rules:
            raise Refuse(
                f"Global function {function.name}() doesn't return scalar. Only those are supported."
            )
    return tuple(_param(function, at, id, types, prog, rules) for at, id in enumerate(function.params))


def _param(
    function: Function, at: int, id: int, types: ProgramTypes, prog: ProgType, rules: Features
) -> Param:
    tags = function.tags[at] & _TAGS if "arg_tags" in rules else frozenset()
    if types.plain(id)[1].kind != PTR:
        if tags:
            raise Refuse(f"arg#{at} has pointer tag, but is not a pointer type")
        if types.is_scalar(id):
            return Param(_NUMBER)
        raise Refuse(f"Arg#{at} type {types.kind_name(id)} in {function.name}() is not supported yet.")
    target, row = types.target(id)
    name = row.name.partition("___")[0]
    if "ctx" in tags or _is_context(prog, row.name):
        return Param("ctx")
    if name == "bpf_dynptr" and "dynptr_params" in rules:
        return Param("dynptr")
    if "arena" in tags and "arenas" in rules:
        return Param("arena")
    null = "nullable" in tags
    if "trusted" in tags:
        return Param("btf", struct=name, null=null, mods="trusted_")
    if "untrusted" in tags and "untrusted_args" in rules:
        if row.kind in (STRUCT, UNION):
            return Param("btf", struct=name, mods="untrusted_")
        return Param("mem", mods="rdonly_untrusted_")
    size = types.size_of(target)
    if "memory_params" not in rules:
        raise Refuse(f"Arg#{at} type PTR in {function.name}() is not supported yet.")
    if size is None or (row.kind == INT and not size):
        kind = types.kind_name(target)
        raise Refuse(f"arg#{at} reference type('{kind} {row.name}') size cannot be determined: -22")
    return Param("mem", size=size, null="nonnull" not in tags)


_TYPES_OF_CONTEXT = {"pt_regs": ("pt_regs", "user_pt_regs", "bpf_user_pt_regs_t")}


def _is_context(prog: ProgType, name: str) -> bool:
    return bool(name) and name in _TYPES_OF_CONTEXT.get(prog.context, (prog.context,))


def arguments(wanted: Sequence[Param], new_id: Any) -> list[Reg]:
    """r1 to r5 when the function is judged by itself."""
    regs = []
    for param in wanted:
        fresh = new_id() if param.null else 0
        if param.kind == "ctx":
            regs.append(Reg("ctx"))
        elif param.kind == "arena":
            regs.append(Reg("arena"))
        elif param.kind == "dynptr":
            regs.append(Reg("dynptr_ptr", obj="LOCAL", id=new_id(), size=1))
        elif param.kind == "mem":
            regs.append(Reg("mem", id=fresh, null=param.null, size=param.size, mods=param.mods))
        elif param.kind == "btf":
            regs.append(Reg("ptr_", id=fresh, null=param.null, obj=param.struct, mods=param.mods))
        else:
            regs.append(ANY)
    return regs + [UNINIT] * (5 - len(regs))


__all__ = ["BadTypes", "Declared", "Param", "arguments", "check_layout", "declared", "params"]
