"""Objects that a program makes itself: bpf_obj_new and bpf_obj_drop, what is read and written in them, references.

Source: check_kfunc_call() and check_ptr_to_btf_access() of kernel/bpf/verifier.c.
"""

from __future__ import annotations

from pbt.typing import TYPE_CHECKING, Final
from pbt.uapi.btf import STRUCT
from pbt.verifier_sim import scalar
from pbt.verifier_sim.env import Env, Refuse, Unsupported
from pbt.verifier_sim.kernelptr import fixed_offset
from pbt.verifier_sim.layout import Layout, find, layout, only_numbers
from pbt.verifier_sim.progbtf import BadTypes
from pbt.verifier_sim.reg import ANY, Reg, number
from pbt.verifier_sim.state import State

if TYPE_CHECKING:
    from pbt.verifier_sim.kfuncargs import Call

OWN_LOCK: Final = "an object of the program"
"""What a lock lies in that lies in no map: identities tell such objects apart."""
_MOST_PERCPU: Final = 512  # BPF_GLOBAL_PERCPU_MA_MAX_SIZE


def is_own(env: Env, struct: str) -> bool:
    """Whether a structure is the program's and not the kernel's (which lists and trees cannot hold)."""
    known = find(struct, env.own_types)
    if known is None:
        return False
    return known.is_node or (env.types is not None and env.types.struct(struct) is None)


def layout_of(env: Env, reg: Reg) -> Layout:
    """The structure that a pointer to an own object points to."""
    known = find(reg.obj, env.own_types)
    if known is None:
        raise Unsupported(f"the layout of struct {reg.obj}, which no type of the program tells")
    return known


# loads and stores -----------------------------------------------------------------------------------


def _touch(env: Env, regno: int, reg: Reg, offset: int, size: int) -> None:
    at = fixed_offset(regno, reg, offset)
    if "percpu_" in reg.mods:
        raise Refuse(f"R{regno} is ptr_{reg.obj} access percpu memory: off={at}")
    try:
        layout_of(env, reg).touch(at, size)
    except BadTypes as error:
        raise Unsupported(f"the types of the program: {error}") from None


def load(env: Env, state: State, regno: int, reg: Reg, offset: int, size: int, sign: bool) -> Reg:
    """Anything but the kernel's own fields, as numbers."""
    _touch(env, regno, reg, offset, size)
    return ANY if size == 8 else number(scalar.of_size(size, sign=sign))


def store(env: Env, regno: int, reg: Reg, offset: int, size: int) -> None:
    if "untrusted_" in reg.mods:
        raise Refuse("only read is supported")
    _touch(env, regno, reg, offset, size)


def by_helper(env: Env, regno: int, reg: Reg, size: int) -> None:
    """Memory that a kernel function reads or writes."""
    _touch(env, regno, reg, 0, size)


# making and giving back -----------------------------------------------------------------------------


def local_type(call: Call) -> Layout:
    """The structure whose id the first argument is."""
    known, id = call.env.declared, call.constant
    if id >> 32:
        raise Refuse("local type ID argument must be in range [0, U32_MAX]")
    if known is None:
        raise Refuse("bpf_obj_new/bpf_percpu_obj_new requires prog BTF")
    if not 0 < id < len(known.types.rows) or known.types.row(id).kind != STRUCT:
        raise Refuse("bpf_obj_new/bpf_percpu_obj_new type ID argument must be of a struct")
    return layout(known.types, id)


def made(call: Call, null: bool, ref: int) -> Reg:
    """r0 of bpf_obj_new and bpf_percpu_obj_new."""
    found = local_type(call)
    percpu = "percpu" in call.row.name
    if percpu:
        if found.size > _MOST_PERCPU:
            raise Refuse(
                f"bpf_percpu_obj_new type size ({found.size}) is greater than {_MOST_PERCPU}",
                "Objects with a copy for each CPU are small.",
            )
        if not only_numbers(found.types, found.id):
            raise Refuse("bpf_percpu_obj_new type ID argument must be of a struct of scalars")
        if found.fields:
            raise Refuse("bpf_percpu_obj_new type ID argument must not contain special fields")
    return Reg("own", id=ref, null=null, obj=found.name, ref=ref, mods="percpu_" if percpu else "")


def given_back(call: Call, regno: int, reg: Reg, _: str) -> None:
    """The argument of bpf_obj_drop and bpf_percpu_obj_drop."""
    call.not_null(regno, reg)
    wanted = "percpu_" if "percpu" in call.row.name else ""
    if reg.kind != "own" or reg.mods not in ("", "percpu_"):
        raise Refuse(f"arg#{regno - 1} expected pointer to allocated object")
    if reg.mods != wanted:
        other = "bpf_percpu_obj_drop_impl" if reg.mods else "bpf_obj_drop_impl"
        raise Refuse(f"arg#{regno - 1} expected for {other}()")
    if not reg.ref:
        raise Refuse("allocated object must be referenced")
    call.fixed(regno, reg)


def counted(call: Call, regno: int, reg: Reg, _: str) -> None:
    """The argument of bpf_refcount_acquire: an object that counts its references."""
    call.not_null(regno, reg)
    if reg.kind != "own" or "untrusted_" in reg.mods or "percpu_" in reg.mods:
        raise Refuse(f"arg#{regno - 1} is neither owning or non-owning ref")
    found = layout_of(call.env, reg)
    if found.find("refcount") is None:
        raise Refuse(f"arg#{regno - 1} doesn't point to a type with bpf_refcount field")
    call.object = reg


def shared(call: Call, null: bool, ref: int) -> Reg:
    """r0 of bpf_refcount_acquire: one more reference, surely so if the program held one already."""
    assert call.object is not None
    sure = "non_own_" not in call.object.mods
    return Reg("own", id=ref, null=null and not sure, obj=call.object.obj, ref=ref)


__all__ = [
    "OWN_LOCK",
    "by_helper",
    "counted",
    "given_back",
    "is_own",
    "layout_of",
    "load",
    "made",
    "shared",
    "store",
]
