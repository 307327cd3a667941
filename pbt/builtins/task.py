"""The kernel's own record of a thread: curtask, and what is read from it or another one."""

from __future__ import annotations

from collections.abc import Callable

from pbt.builtins.process import TASK_COMM_LEN
from pbt.feature import Builtin, Call, Mem, Presentation
from pbt.types import U32, U64, Member, Opaque, Pointer, Str, Struct, Type, is_integral
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.host.target import Target
    from pbt.ir.core import Value
    from pbt.views import Checks, Gen, World

COMM_OF = Opaque("comm_of", 8)
FIELDS = {  # builtin → way through struct task_struct: pointers first, then the value
    "ppid": ("real_parent", "tgid"),
    "pcomm": ("real_parent", "comm"),
    "leader_tid": ("group_leader", "pid"),
    "leader_comm": ("group_leader", "comm"),
}
READS = {name: tuple(("struct task_struct", member) for member in way) for name, way in FIELDS.items()}


def _check_curtask(checks: Checks, call: Call) -> Type:
    task = checks.target.types.struct("struct task_struct") if checks.target.types else None
    return Pointer(task, "kernel") if task else U64


def _curtask(gen: Gen) -> Value:
    task = gen.target.types.struct("struct task_struct") if gen.target.types else None
    if task is None or not gen.has("get_current_task_btf"):
        return gen.b.call("get_current_task")
    return gen.known_pointer(gen.b.call("get_current_task_btf", kind="btf"), task)


def _way(target: Target, path: tuple[str, ...]) -> list[Member] | None:
    """The members on a way through struct task_struct; None if BTF does not know one."""
    struct: Type | None = target.types.struct("struct task_struct") if target.types else None
    way = []
    for name in path:
        member = struct.find(name) if isinstance(struct, Struct) else None
        if member is None:
            return None
        way.append(member)
        struct = member.type.target if isinstance(member.type, Pointer) else None
    return way


def _check(type_: Type) -> Callable[[Checks, Call], Type]:
    def check(checks: Checks, call: Call) -> Type:
        if call.args and not is_integral(call.types[0]):
            raise checks.error(
                f"{call.name}() expects a task ({call.types[0]} provided)",
                checks.span(call.args[0]),
                "a struct task_struct *, such as curtask",
            )
        if _way(checks.target, FIELDS[call.name]) is None:
            raise checks.error(
                f"{call.name} needs the kernel's BTF for struct task_struct",
                call.span,
                "this kernel has no /sys/kernel/btf/vmlinux; name a BTF file with BPFTRACE_BTF=FILE",
            )
        return type_

    return check


def _last(gen: Gen, call: Call) -> tuple[Value, int]:
    """The last structure on the way to a field, from the given task or the current one; where the field is in it."""
    way = _way(gen.target, FIELDS[call.name])
    assert way is not None
    at = gen.value(call.args[0]) if call.args else _curtask(gen)
    for member in way[:-1]:
        at = gen.load(at, member.offset, member.type)
    return at, way[-1].offset


def _number(gen: Gen, call: Call) -> Value:
    return gen.load(*_last(gen, call), U32)


def _text(gen: Gen, call: Call, to: Mem) -> None:
    """Up to its NUL: behind it some kernels leave what was there before."""
    at, offset = _last(gen, call)
    gen.zero_text(to, TASK_COMM_LEN)
    gen.read_str(to, TASK_COMM_LEN, gen.b.add(at, offset), "kernel")


def _check_comm(checks: Checks, call: Call) -> Type:
    if not call.args:
        return Str(TASK_COMM_LEN)
    if not is_integral(call.types[0]):
        raise checks.error(f"comm() expects a process id ({call.types[0]} provided)", call.span)
    return COMM_OF


def _comm(gen: Gen, call: Call, to: Mem) -> None:
    if call.args:
        gen.b.store(to.base, to.offset, 8, gen.value(call.args[0]))
    else:
        if not gen.has("comm_padded"):
            gen.zero_text(to, TASK_COMM_LEN)
        gen.b.call("get_current_comm", gen.address(to), TASK_COMM_LEN)


def _draw_comm(world: World, raw: bytes, detail: str) -> bytes:
    """The name a process has when it is printed; nothing for one that is gone."""
    try:
        with open(f"/proc/{int.from_bytes(raw, 'little')}/comm", "rb") as file:
            return file.read().removesuffix(b"\n")
    except OSError:
        return b""


CURTASK = Builtin(
    "curtask", "() -> struct task_struct *", "The kernel's task_struct of the current thread.",
    _check_curtask, lambda gen, call: _curtask(gen), variable=True,
)  # fmt: skip
COMM = Builtin(
    "comm", "([pid]) -> string[16]", "Name of the current thread, or (looked up when printed) of a process.",
    _check_comm, into=_comm, variable=True,
)  # fmt: skip
PPID = Builtin(
    "ppid", "([task]) -> uint32", "Process id of the parent.",
    _check(U32), _number, variable=True, reads=READS["ppid"],
)  # fmt: skip
PCOMM = Builtin(
    "pcomm", "([task]) -> string[16]", "Name of the parent process.",
    _check(Str(TASK_COMM_LEN)), into=_text, variable=True, reads=READS["pcomm"],
)  # fmt: skip
LEADER_TID = Builtin(
    "leader_tid", "([task]) -> uint32", "Thread id of the thread group's leader.",
    _check(U32), _number, variable=True, reads=READS["leader_tid"],
)  # fmt: skip
LEADER_COMM = Builtin(
    "leader_comm", "([task]) -> string[16]", "Name of the thread group's leader.",
    _check(Str(TASK_COMM_LEN)), into=_text, variable=True, reads=READS["leader_comm"],
)  # fmt: skip
DRAW_COMM = Presentation(
    "comm_of",
    _draw_comm,
    lambda world, raw, detail: _draw_comm(world, raw, detail).decode("utf-8", "replace"),
)
