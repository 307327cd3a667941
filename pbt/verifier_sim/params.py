"""Parameters of global functions: what the tags ("arg:…") and types of each make of it.

Source: btf_prepare_func_args() and btf_validate_prog_ctx_type() of kernel/bpf/btf.c.
"""

from __future__ import annotations

from pbt.data import NamedTuple
from pbt.typing import TYPE_CHECKING, Final
from pbt.uapi.btf import INT, PTR, STRUCT, TYPEDEF, UNION
from pbt.verifier_sim.env import Env, Refuse
from pbt.verifier_sim.progbtf import Function, ProgramTypes, Row, chain
from pbt.verifier_sim.reg import names

if TYPE_CHECKING:
    from pbt.verifier_sim.kernels import Features
    from pbt.verifier_sim.kerneltypes import KernelTypes

_NUMBER: Final = "number"
_TAGS: Final = {
    "ctx": "",
    "nonnull": "",
    "nullable": "",
    "trusted": "",
    "arena": "arenas",
    "untrusted": "untrusted_args",
}
"""Tag → the rule of kernels that know it, "" if they know it as long as they know tags."""


class Param(NamedTuple):
    """What a global function takes: "number", "ctx", "mem", "dynptr", "arena" or "btf" (a kernel object)."""

    kind: str
    size: int = 0
    struct: str = ""
    null: bool = False
    mods: str = ""


def params(function: Function, types: ProgramTypes, env: Env) -> tuple[Param, ...]:
    """What each parameter takes; Refuse if the kernel does not support the function."""
    if len(function.params) > 5:
        raise Refuse(
            f"Global function {function.name}() with {len(function.params)} > 5 args. Buggy compiler."
        )
    if not types.is_scalar(function.result):
        kind = types.plain(function.result)[1].kind
        if kind != 0 or "void_functions" not in env.rules:
            raise Refuse(
                f"Global function {function.name}() doesn't return scalar. Only those are supported."
            )
    return tuple(_param(function, at, id, types, env) for at, id in enumerate(function.params))


def _param(function: Function, at: int, id: int, types: ProgramTypes, env: Env) -> Param:
    tags = _tags(function.tags[at], at, env.rules)
    if types.plain(id)[1].kind != PTR:
        if tags:
            raise Refuse(f"arg#{at} has pointer tag, but is not a pointer type")
        if types.is_scalar(id):
            return Param(_NUMBER)
        raise Refuse(f"Arg#{at} type {types.kind_name(id)} in {function.name}() is not supported yet.")
    target, row = types.target(id)
    name = row.name.partition("___")[0]
    if "ctx" in tags or _is_context(env, row.name):
        _only(at, tags, "ctx")
        if tags:
            _suits(env, types, types.plain(id)[1].size, at)
        return Param("ctx")
    if name == "bpf_dynptr" and "dynptr_params" in env.rules:
        _only(at, tags)
        return Param("dynptr")
    if "trusted" in tags:
        _only(at, tags, "trusted", "nullable")
        _in_kernel(env.types, at, row, name)
        return Param("btf", struct=name, null="nullable" in tags, mods="trusted_")
    if "untrusted" in tags:
        _only(at, tags, "untrusted")
        return _untrusted(env, at, row, name)
    if "arena" in tags:
        _only(at, tags, "arena")
        return Param("arena")
    _only(at, tags, "nonnull")
    size = types.size_of(target)
    if "memory_params" not in env.rules:
        raise Refuse(f"Arg#{at} type PTR in {function.name}() is not supported yet.")
    if size is None or (row.kind == INT and not size):
        kind = types.kind_name(target)
        raise Refuse(f"arg#{at} reference type('{kind} {row.name}') size cannot be determined: -22")
    return Param("mem", size=size, null="nonnull" not in tags)


def _tags(found: frozenset[str], at: int, rules: Features) -> frozenset[str]:
    """The tags of a parameter that a kernel looks at; Refuse those that it does not know."""
    if "arg_tags" not in rules:
        return frozenset()
    if any(tag not in _TAGS or (_TAGS[tag] and _TAGS[tag] not in rules) for tag in found):
        raise Refuse(f"arg#{at} has unsupported set of tags")
    return found


def _only(at: int, tags: frozenset[str], *allowed: str) -> None:
    if not tags <= set(allowed):
        raise Refuse(f"arg#{at} has invalid combination of tags")


def _untrusted(env: Env, at: int, row: Row, name: str) -> Param:
    if not row.kind or row.kind == INT:
        return Param("mem", mods="rdonly_untrusted_")
    _in_kernel(env.types, at, row, name)
    if row.kind not in (STRUCT, UNION):
        raise Refuse(f"arg#{at} has type '{row.name}', but only struct or primitive types are allowed")
    return Param("btf", struct=name, mods="untrusted_")


_KINDS: Final = {STRUCT: "struct", UNION: "union", INT: "int"}


def _in_kernel(types: KernelTypes | None, at: int, row: Row, name: str) -> None:
    """The kernel has to have a type of that kind and name."""
    kind = _KINDS.get(row.kind)
    if kind is None or not name or (types is not None and types.source.find(kind, name) is None):
        raise Refuse(f"arg#{at} reference type('{row.name}') has no matches")


_TYPES_OF_CONTEXT: Final = {"pt_regs": ("pt_regs", "user_pt_regs", "bpf_user_pt_regs_t")}
_ANY_TYPE: Final = names("TRACEPOINT SYSCALL EXT")
_WORDS: Final = names("RAW_TRACEPOINT RAW_TRACEPOINT_WRITABLE LSM STRUCT_OPS")
_NO_STRUCT: Final = names("LIRC_MODE2 LSM STRUCT_OPS TRACING")


def _is_context(env: Env, name: str) -> bool:
    context = env.prog.context
    return bool(name) and name in _TYPES_OF_CONTEXT.get(context, (context,))


def _suits(env: Env, types: ProgramTypes, id: int, at: int) -> None:
    """The type of a parameter that is tagged as the context has to be the context's, or void."""
    prog, attach = env.prog.name, env.attach
    *names_, (_, row) = chain(types.row, id, Refuse)
    if not row.kind or prog in _ANY_TYPE:
        return
    if prog in ("KPROBE", "PERF_EVENT"):
        user = any(step.kind == TYPEDEF and step.name == "bpf_user_pt_regs_t" for _, step in names_)
        if user or (row.kind == STRUCT and row.name == "pt_regs"):
            return
    words = prog in _WORDS or (prog == "TRACING" and attach != "TRACE_ITER")
    if words and row.kind == INT and row.size == 8:
        return
    if attach == "TRACE_ITER" and row.kind == STRUCT and row.name.startswith("bpf_iter__"):
        return
    if attach == "TRACE_RAW_TP" and row.kind == STRUCT and row.name == "bpf_raw_tracepoint_args":
        return
    if prog in _NO_STRUCT:
        raise Refuse(f"arg#{at} should be void pointer")
    if row.kind != STRUCT or row.name != env.prog.context:
        raise Refuse(f"arg#{at} should be `struct {env.prog.context} *`")


__all__ = ["Param", "params"]
