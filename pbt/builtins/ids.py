"""Ids of processes: pid tid cpid has_cpid, as the process that runs the script sees them."""

from __future__ import annotations

from pbt.builtins.process import always
from pbt.feature import Builtin, Call
from pbt.types import BOOL, U32, Type
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.ir.core import Value
    from pbt.views import Checks, Gen

NAMESPACES = ("init", "curr_ns")


def tgid(gen: Gen) -> Value:
    """The process id as the whole machine knows it."""
    return gen.b.op("lshr", gen.b.call("get_current_pid_tgid"), 32)


def _check(checks: Checks, call: Call) -> Type:
    """Which namespace counts: ours, unless `init` is asked for; only a nested one needs translation."""
    name = "curr_ns"
    if call.args:
        name = checks.identifier(call.args[0], f"{call.name}() namespace")
        if name not in NAMESPACES:
            raise checks.error(
                f"Invalid PID namespace mode: {name}", checks.span(call.args[0]), "init or curr_ns"
            )
    inner = checks.target.pid_namespace if name == "curr_ns" else None
    if inner is not None and not checks.target.has("get_ns_current_pid_tgid"):
        raise checks.error(
            f"{call.name} cannot be translated into this PID namespace by this kernel",
            call.span,
            f"{call.name}(init) is the id outside; the translation came with Linux 5.7",
        )
    checks.keep(call.node, inner)
    return U32


def _translated(gen: Gen, inner: tuple[int, int], offset: int) -> Value:
    """A field of struct bpf_pidns_info (u32 pid, u32 tgid); 0 for processes outside the namespace."""
    room = gen.temp(8, "pidns_info")
    gen.zero(room, 8)
    gen.b.call("get_ns_current_pid_tgid", *inner, gen.address(room), 8)
    return gen.b.load(room.base, room.offset + offset, 4)


def _pid(gen: Gen, call: Call) -> Value:
    inner = gen.kept(call.node)
    return _translated(gen, inner, 4) if inner else tgid(gen)


def _tid(gen: Gen, call: Call) -> Value:
    inner = gen.kept(call.node)
    return _translated(gen, inner, 0) if inner else gen.b.zext(gen.b.call("get_current_pid_tgid"), 4)


def _has_cpid(gen: Gen, call: Call) -> Value:
    return gen.b.compare("ne", gen.start("cpid"), 0)


PID = Builtin(
    "pid", "([namespace]) -> uint32", "Process id (thread group id), in our PID namespace (curr_ns) or outside (init).",
    _check, _pid, variable=True, words=NAMESPACES,
)  # fmt: skip
TID = Builtin(
    "tid", "([namespace]) -> uint32", "Thread id, in our PID namespace (curr_ns) or outside (init).",
    _check, _tid, variable=True, words=NAMESPACES,
)  # fmt: skip
CPID = Builtin(
    "cpid", "() -> uint32", "Process id of the command given with -c, 0 if there is none.",
    always(U32), lambda gen, call: gen.start("cpid"), variable=True,
)  # fmt: skip
HAS_CPID = Builtin(
    "has_cpid", "() -> bool", "Whether a command was given with -c.", always(BOOL), _has_cpid, variable=True
)
