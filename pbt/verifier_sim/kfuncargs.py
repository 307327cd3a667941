"""Arguments of kernel functions: one judge for each kind of argument in the table of their prototypes.

Source: check_kfunc_args() of kernel/bpf/verifier.c.
"""

from __future__ import annotations

from collections.abc import Callable

from pbt.typing import Final
from pbt.uapi.kfuncs import Kfunc
from pbt.verifier_sim import dynptr, graph, iterators, locks, owned
from pbt.verifier_sim.demands import MEM, Given, constant_text, helper_memory, same_struct
from pbt.verifier_sim.env import Env, Refuse, Unsupported
from pbt.verifier_sim.fields import place
from pbt.verifier_sim.reg import Field, MapInfo, Reg, names
from pbt.verifier_sim.resources import acquire, release
from pbt.verifier_sim.state import State

SOCKETS: Final = {"sock": "sock", "sock_common": "sock_common", "tcp_sock": "tcp_sock"}


class Call:
    """One call, and what its arguments told so far."""

    __slots__ = (
        "callback", "constant", "dynptr", "env", "held", "map", "memory", "object", "pc", "root", "row", "state", "uid",
    )  # fmt: skip

    def __init__(self, env: Env, state: State, pc: int, row: Kfunc) -> None:
        self.env, self.state, self.pc, self.row = env, state, pc, row
        self.held = 0  # the reference that the function takes over
        self.memory: tuple[int, Reg] | None = None  # whose size is the next argument
        self.constant = 0  # the known number
        self.dynptr: Reg | None = None  # the dynptr that is used
        self.object: Reg | None = None  # the object of the program that is counted, put in or taken out
        self.root: Field | None = None  # the list or tree
        self.map: MapInfo | None = None  # the map of a workqueue or the like, and which of several
        self.uid = 0
        self.callback = -1  # the first slot of a function of the program

    def __contains__(self, flag: str) -> bool:
        return flag in self.row.flags

    def not_null(self, regno: int, reg: Reg) -> None:
        if reg.null or (reg.kind == "scalar" and reg.num.const == 0):
            raise Refuse(f"Possibly NULL pointer passed to trusted arg{regno - 1}")

    def fixed(self, regno: int, reg: Reg) -> None:
        """check_func_arg_reg_off(): what is given back is not moved, and nothing is moved by unknown amounts."""
        if "release" in self and reg.off and not reg.num.mask and reg.off >= 0:
            raise Refuse(f"R{regno} must have zero offset when passed to release func")
        if reg.off < 0:
            raise Refuse(f"negative offset {reg.type_name} ptr R{regno} off={reg.off} disallowed")
        if reg.num.mask:
            raise Refuse(
                f"variable {reg.type_name} access var_off=({reg.num.value:#x}; {reg.num.mask:#x}) disallowed"
            )


def judge(call: Call) -> None:
    """Judge r1 to r5, in their order."""
    for at, kind in enumerate(call.row.args):
        _argument(call, at + 1, kind)
    if "release" in call and not call.held:
        raise Refuse(f"release kernel function {call.row.name} expects refcounted PTR_TO_BTF_ID")


def _argument(call: Call, regno: int, kind: str) -> None:
    reg = call.state.frames[-1].regs[regno]
    name, _, parameter = kind.removesuffix("?").partition(":")
    if name == "ignored":
        return
    if reg.mods.startswith("?"):
        raise Unsupported(
            f"r{regno}, which was read through a pointer whose type only the BTF of that kernel tells"
        )
    null = reg.kind == "scalar" and reg.num.const == 0
    if name in ("num", "const", "size"):
        _number(call, regno, reg, name)
    elif null and kind.endswith("?"):
        call.memory = None
    elif name == "mem" and not parameter:
        call.memory = (regno, reg)
    else:
        _JUDGES[name](call, regno, reg, parameter)
        if "release" in call and not kind.endswith("?"):
            call.held = reg.ref or call.held


def _number(call: Call, regno: int, reg: Reg, name: str) -> None:
    if reg.kind != "scalar":
        raise Refuse(f"R{regno} is not a scalar")
    if name == "num":
        return
    if name == "const":
        if reg.num.mask:
            raise Refuse(f"R{regno} must be a known constant")
        call.constant = reg.num.value
    call.env.precise(reg)
    if call.memory is None:
        return
    if reg.num.smin < 0:
        raise Refuse(f"R{regno} min value is negative, either use unsigned or 'var &= const'")
    if reg.num.umax >= 1 << 29:
        raise Refuse(f"R{regno} unbounded memory access, use 'var &= const' or 'if (var < const)'")
    at, pointer = call.memory
    call.memory = None
    if pointer.null:
        raise Refuse(f"R{at} type={pointer.type_name} expected=fp")
    helper_memory(call.env, call.state, at, pointer, reg.num.umax, True, False, Given(), True)


def _pointer(call: Call, regno: int, reg: Reg, struct: str) -> None:
    """A pointer to a structure of the kernel, as far trusted as the function's flags ask for."""
    counted = "trusted" in call or "release" in call
    call.not_null(regno, reg)
    if reg.kind in SOCKETS:
        reg = reg._replace(kind="ptr_", obj=SOCKETS[reg.kind], mods="trusted_")
    types = call.env.types
    numbers = types.numbers(struct) if types is not None and types.exact and "release" not in call else 0
    if numbers and reg.kind in MEM and reg.kind != "ptr_":
        helper_memory(call.env, call.state, regno, reg, numbers, True, False, Given(), True)
        return
    if reg.kind != "ptr_":
        raise Refuse(
            f"arg#{regno - 1} pointer type STRUCT {struct} must point to scalar, or struct with scalar"
        )
    call.fixed(regno, reg)
    trusted = reg.ref or reg.mods.startswith("trusted_")
    if "kfunc_trust" in call.env.rules and not trusted:
        if counted and "rcu" not in call:
            raise Refuse(f"R{regno} must be referenced or trusted")
        if "rcu" in call and not reg.mods.startswith("rcu_"):
            raise Refuse(f"R{regno} must be a rcu pointer")
    if "release" in call and reg.ref:
        if reg.obj != struct:
            raise Refuse(
                f"kernel function {call.row.name} args#{regno - 1} expected pointer to STRUCT {struct} "
                f"but R{regno} has a pointer to STRUCT {reg.obj}"
            )
        return
    if struct == "cpumask" and reg.obj == "bpf_cpumask":
        return
    same_struct(call.env, regno, reg, struct)


def _sized(call: Call, regno: int, reg: Reg, size: str) -> None:
    if reg.null or reg.kind == "scalar":
        raise Refuse(f"R{regno} type={reg.type_name} expected=fp")
    helper_memory(call.env, call.state, regno, reg, int(size), True, False, Given(), True)


_NO_PACKETS = names("TRACEPOINT PERF_EVENT KPROBE RAW_TRACEPOINT")


def _context(call: Call, regno: int, reg: Reg, struct: str) -> None:
    """The program's context; `struct`: what tracing programs hand over in its place."""
    call.not_null(regno, reg)
    if struct and call.env.prog.name in ("TRACING", "LSM"):
        _pointer(call, regno, reg, struct)
    elif reg.kind != "ctx":
        raise Refuse(f"arg#{regno - 1} expected pointer to ctx, but got {reg.type_name}")
    elif struct == "sk_buff" and call.env.prog.name in _NO_PACKETS:
        raise Refuse(
            f"arg#{regno - 1} pointer type STRUCT __sk_buff must point to scalar, or struct with scalar"
        )
    else:
        call.fixed(regno, reg)
        if reg.off:
            raise Refuse(f"dereference of modified ctx ptr R{regno} off={reg.off} disallowed")


def _socket(call: Call, regno: int, reg: Reg, _: str) -> None:
    if reg.kind not in (*SOCKETS, "ptr_") or reg.null:
        raise Refuse(f"R{regno} type={reg.type_name} expected=sock")


def _map(call: Call, regno: int, reg: Reg, _: str) -> None:
    call.not_null(regno, reg)
    if reg.kind != "map_ptr":
        raise Refuse(f"R{regno} type={reg.type_name} expected=map_ptr")
    checked = any(field.kind in ("wq", "task_work") for field in reg.obj.fields)
    what = "bpf_task_work" if "task_work" in call.row.name else "workqueue"
    if checked and call.map is not None and (call.map != reg.obj or call.uid != reg.id):
        raise Refuse(
            f"{what} pointer in R1 map_uid={call.uid} doesn't match map pointer in R{regno} map_uid={reg.id}"
        )


def _field(call: Call, regno: int, reg: Reg, kind: str) -> None:
    """A field of a map's value that the kernel works with later."""
    call.not_null(regno, reg)
    if reg.kind != "map_value":
        raise Refuse(f"arg#{regno - 1} doesn't point to a map value")
    place(reg.obj, regno, reg, kind)
    call.map, call.uid = reg.obj, reg.id if reg.obj.inner_of else 0


def _text(call: Call, regno: int, reg: Reg, _: str) -> None:
    if reg.kind != "map_value" or reg.null:
        raise Refuse(f"arg#{regno - 1} doesn't point to a const string")
    constant_text(call.env, regno, reg)


def _old_dynptr(call: Call, regno: int, reg: Reg, _: str) -> None:
    if reg.kind not in ("fp", "dynptr_ptr"):
        raise Refuse(f"arg#{regno - 1} expected pointer to stack or const struct bpf_dynptr")
    found = dynptr.existing(call.state, regno, reg, "")
    call.dynptr = call.dynptr or found


def _new_dynptr(call: Call, regno: int, reg: Reg, kind: str) -> None:
    """`kind`: of the dynptr that is made; "" makes another one like the dynptr before it."""
    if reg.kind != "fp":
        raise Refuse(f"arg#{regno - 1} expected pointer to stack or const struct bpf_dynptr")
    index = dynptr.prepare(call.env, call.state, regno, reg)
    like = call.dynptr
    ref = acquire(call.env, call.state, call.pc) if dynptr.counted(kind) else 0
    if not kind:
        assert like is not None
        kind, ref = like.obj, like.ref
    dynptr.create(call.env, call.state, reg, index, kind, ref)


def _given_dynptr(call: Call, regno: int, reg: Reg, kind: str) -> None:
    """A dynptr that ends here."""
    if reg.kind not in ("fp", "dynptr_ptr"):
        raise Refuse(f"arg#{regno - 1} expected pointer to stack or const struct bpf_dynptr")
    dynptr.releasable(call.state, regno, reg)
    release(call.state, dynptr.existing(call.state, regno, reg, kind).ref)


def _new_iterator(call: Call, regno: int, reg: Reg, kind: str) -> None:
    guarded = "rcu_protected" in call
    ref = acquire(call.env, call.state, call.pc)
    iterators.create(call.env, call.state, regno, reg, kind, ref, guarded)


def _iterator(call: Call, regno: int, reg: Reg, kind: str) -> None:
    found = iterators.existing(call.state, regno, reg, kind)
    if call.row.name.endswith("_destroy"):
        iterators.destroy(call.env, call.state, reg, kind)
        release(call.state, found.ref)


def _refused(call: Call, regno: int, reg: Reg, _: str) -> None:
    raise Refuse(f"arg#{regno - 1} pointer type must point to scalar, or struct with scalar")


def _new_irq(call: Call, regno: int, reg: Reg, _: str) -> None:
    if reg.kind != "fp":
        raise Refuse(f"arg#{regno - 1} expected pointer to stack")
    ref = acquire(call.env, call.state, call.pc)
    iterators.create(call.env, call.state, regno, reg, iterators.IRQ, ref, False)


def _irq(call: Call, regno: int, reg: Reg, _: str) -> None:
    state = call.state
    found = iterators.existing(state, regno, reg, iterators.IRQ)
    saved = [ref for ref, _ in state.refs if ref in iterators.irqs(state)]
    if saved and saved[-1] != found.ref:
        raise Refuse(f"cannot restore irq state out of order, expected id={saved[-1]}")
    iterators.destroy(call.env, state, reg, iterators.IRQ)
    release(state, found.ref)


def _function(call: Call, regno: int, reg: Reg, _: str) -> None:
    call.not_null(regno, reg)
    if reg.kind != "func":
        raise Refuse(f"arg{regno - 1} expected pointer to func")
    call.callback = reg.obj


Judge = Callable[[Call, int, Reg, str], None]
_JUDGES: Final[dict[str, Judge]] = {
    "ptr": _pointer, "mem": _sized, "ctx": _context, "sock": _socket, "map": _map, "dynptr": _old_dynptr,
    "new_dynptr": _new_dynptr, "new_iter": _new_iterator, "iter": _iterator, "refused": _refused,
    "new_irq": _new_irq, "irq": _irq, "text": _text,
    "own": owned.given_back, "counted": owned.counted, "root": graph.root, "node": graph.node,
    "new_node": graph.new_node, "old_dynptr": _given_dynptr,
    "field": _field, "func": _function, "res_lock": locks.resilient,
}  # fmt: skip


__all__ = ["Call", "judge"]
