"""Who runs: user, CPU, cgroup, and what the probe itself knows."""

from __future__ import annotations

from pbt.bundle import Map
from pbt.feature import Builtin, Call, Context, Mem, Presentation
from pbt.types import U32, U64, Int, Opaque, Pointer, Str, Type
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pbt.ir.core import Value
    from pbt.views import Checks, Gen, World

TASK_COMM_LEN = 16  # include/linux/sched.h
MAX_ARGS = 32

USERNAME = Opaque("username", 8)
KSYM = Opaque("ksym", 8)
USYM = Opaque("usym", 16)


def always(type_: Type) -> Callable[[Checks, Call], Type]:
    """A `check` for builtins that have one type everywhere."""
    return lambda checks, call: type_


def _uid(gen: Gen, call: Call) -> Value:
    return gen.b.zext(gen.b.call("get_current_uid_gid"), 4)


def _gid(gen: Gen, call: Call) -> Value:
    return gen.b.op("lshr", gen.b.call("get_current_uid_gid"), 32)


def _username(gen: Gen, call: Call, to: Mem) -> None:
    gen.b.store(to.base, to.offset, 8, _uid(gen, call))


def _draw_username(world: World, raw: bytes, detail: str) -> bytes:
    import pwd

    uid = int.from_bytes(raw, "little")
    try:
        return pwd.getpwuid(uid).pw_name.encode(errors="surrogateescape")
    except (KeyError, OverflowError):
        return b"%d" % uid


_TYPED = {"kprobe": "fentry", "kretprobe": "fexit"}  # probes → those that know the names of arguments


def _named_by(probe: Context) -> str:
    """Which probe has the arguments of this one by their names, if any, to be said in a hint."""
    typed, (_, _, place) = _TYPED.get(probe.provider), probe.label.partition(":")
    return f"; {typed}:{place} has them by name" if typed and "+" not in place else ""


def _check_args(checks: Checks, call: Call) -> Type:
    if call.probe.args is None:
        raise checks.error(
            "The args builtin can only be used with tracepoint, rawtracepoint, fentry/fexit, and uprobe probes",
            call.span,
            "elsewhere use arg0, arg1, ..., or retval" + _named_by(call.probe),
        )
    return Pointer(call.probe.args, "ctx")


def _check_ctx(checks: Checks, call: Call) -> Type:
    if call.probe.prog_type == "TRACEPOINT":
        raise checks.error("Use args instead of ctx in tracepoint", call.span, "args.NAME, or print(args)")
    if call.probe.prog_type == "RAW_TRACEPOINT":
        raise checks.error(
            f"The ctx builtin can not be used with '{call.probe.provider.lower()}' probes", call.span
        )
    return Pointer(call.probe.ctx or Int(8), "ctx")


def _ctx(gen: Gen, call: Call) -> Value:
    return gen.b.ctx()


def _check_arg(checks: Checks, call: Call) -> Type:
    if call.probe.arg is None:
        raise checks.error(
            f"The {call.name} builtin can only be used with 'kprobes', 'uprobes' and 'usdt' probes",
            call.span,
            "rawtracepoint probes have it, too; tracepoints have args.NAME",
        )
    known = call.probe.args if call.probe.prog_type == "RAW_TRACEPOINT" else None
    passed = tuple(known.names()) if known is not None else ()
    if passed and int(call.name.removeprefix("arg")) >= len(passed):
        raise checks.error(
            f"{call.probe.label} passes {len(passed)} argument{'s'[: len(passed) > 1]}",
            call.span,
            ", ".join(f"arg{n} is {name}" for n, name in enumerate(passed)),
        )
    return call.probe.arg_type


def _arg(index: int) -> Callable[[Gen, Call], Value]:
    def value(gen: Gen, call: Call) -> Value:
        assert gen.probe.arg is not None
        return gen.probe.arg(gen, index)

    return value


def _check_retval(checks: Checks, call: Call) -> Type:
    if call.probe.retval is None:
        raise checks.error(
            "The retval builtin can only be used with 'kretprobe' and 'uretprobe' and 'fexit' probes",
            call.span,
            "in tracepoint:syscalls:sys_exit_* the value is args.ret",
        )
    return call.probe.retval


def _retval(gen: Gen, call: Call) -> Value:
    assert gen.probe.read_retval is not None
    return gen.probe.read_retval(gen)


def _check_func(checks: Checks, call: Call) -> Type:
    if call.probe.func is None:
        raise checks.error(
            f"The func builtin can not be used with '{call.probe.provider.lower()}' probes",
            call.span,
            "those of functions have it; the probe builtin is the name of the attach point",
        )
    return USYM if call.probe.user else KSYM


def _func(gen: Gen, call: Call, to: Mem) -> None:
    assert gen.probe.func is not None
    gen.b.store(to.base, to.offset, 8, gen.probe.func(gen))
    if gen.probe.user:
        gen.b.store(to.base, to.offset + 8, 8, remember(gen))


def _check_probe(checks: Checks, call: Call) -> Type:
    return Str(
        max(len(label.encode(errors="surrogateescape")) for label in call.probe.labels or (call.probe.label,))
        + 1
    )


def _probe(gen: Gen, call: Call, to: Mem) -> None:
    if gen.probe.labels:
        _label_by_cookie(gen, gen.probe.labels, to)
    else:
        gen.bytes(to, gen.probe.label.encode(errors="surrogateescape") + b"\0")


def _label_by_cookie(gen: Gen, labels: Sequence[str], to: Mem) -> None:
    """The name of the place that the program's attach cookie tells, from a table of them all."""
    b = gen.b
    size = max(len(label.encode(errors="surrogateescape")) for label in labels) + 1
    row = -(-size // 8) * 8
    data = b"".join(label.encode(errors="surrogateescape").ljust(row, b"\0") for label in labels)
    name = f"labels of {labels[0]} and {len(labels) - 1} more"
    table = gen.declare(Map(name, "ARRAY", 4, len(data), 1, data=data))
    cookie = b.call("get_attach_cookie", b.ctx())
    known = b.choose("ult", cookie, len(labels), lambda: cookie, lambda: 0)
    b.copy(to.base, to.offset, b.add(b.map_value(table), b.op("mul", known, row)), 0, size)


def _check_probetype(checks: Checks, call: Call) -> Type:
    return Str(len(_type_of_probe(call.probe)) + 1)


def _type_of_probe(probe: Context) -> bytes:
    return b"special" if probe.provider in ("BEGIN", "END") else probe.provider.encode()


def _probetype(gen: Gen, call: Call, to: Mem) -> None:
    gen.bytes(to, _type_of_probe(gen.probe) + b"\0")


_SEEN = Map("processes", "LRU_HASH", 4, 4, 4096)
"""Processes whose addresses are to be named, once they are known to user space."""


def remember(gen: Gen) -> Value:
    """The current process, which user space is told of when it comes up first: its mappings, which give its
    addresses their names, are gone when it ends."""
    b = gen.b
    pid = b.op("lshr", b.call("get_current_pid_tgid"), 32)
    key, name = Mem(b.slot(4, "process", 4)), gen.declare(_SEEN)
    b.store(key.base, key.offset, 4, pid)
    with b.when("eq", b.call("map_lookup_elem", b.map(name), gen.address(key), kind="value")):
        b.call("map_update_elem", b.map(name), gen.address(key), gen.address(key), 0)
        with gen.event("ustack", [("pid", U64)]) as (place,):
            b.store(place.base, place.offset, 8, pid)
    return pid


def helper(name: str) -> Callable[[Gen, Call], Value]:
    """The kernel half of a builtin that is one helper without arguments."""
    return lambda gen, call: gen.b.call(name)


def helper32(name: str) -> Callable[[Gen, Call], Value]:
    """The same for helpers whose result is a u32."""
    return lambda gen, call: gen.b.zext(gen.b.call(name), 4)


UID = Builtin("uid", "() -> uint64", "Real user id.", always(U64), _uid, variable=True)
GID = Builtin("gid", "() -> uint64", "Real group id.", always(U64), _gid, variable=True)
USER = Builtin(
    "username",
    "() -> username_t",
    "Name of the current user.",
    always(USERNAME),
    into=_username,
    variable=True,
)
CPU = Builtin(
    "cpu", "() -> uint32", "Number of the CPU that runs the probe.",
    always(U32), helper32("get_smp_processor_id"), variable=True,
)  # fmt: skip
NCPUS = Builtin(
    "ncpus", "() -> uint64", "How many CPUs the machine can have.",
    always(U64), lambda gen, call: gen.b.const(len(gen.target.cpus)), variable=True,
)  # fmt: skip
NUMAID = Builtin(
    "numaid",
    "() -> uint32",
    "Number of the NUMA node.",
    always(U32),
    helper32("get_numa_node_id"),
    variable=True,
)
RAND = Builtin(
    "rand", "() -> uint32", "A pseudo-random number.", always(U32), helper32("get_prandom_u32"), variable=True
)
JIFFIES = Builtin(
    "jiffies", "() -> uint64", "Kernel ticks since boot.", always(U64), helper("jiffies64"), variable=True
)
ARGS = Builtin(
    "args", "struct", "Typed arguments of the probe: args.NAME.", _check_args, _ctx, variable=True, typed=True
)
CTX = Builtin(
    "ctx", "pointer", "The program's context: raw, or typed in iter probes.", _check_ctx, _ctx, variable=True
)
ARG = tuple(
    Builtin(
        f"arg{n}", "uint64", f"Argument {n} of the probed function, counted from 0.",
        _check_arg, _arg(n), variable=True,
    )
    for n in range(MAX_ARGS)
)  # fmt: skip
RETVAL = Builtin(
    "retval", "uint64 or typed", "What the probed function returns.", _check_retval, _retval, variable=True
)
FUNC = Builtin(
    "func", "() -> ksym_t or usym_t", "Name of the probed function.", _check_func, into=_func, variable=True
)
PROBE = Builtin(
    "probe", "() -> string", "Full name of the probe that fired.",
    _check_probe, into=_probe, variable=True, per_place=True, by_cookie=True,
)  # fmt: skip
PROBETYPE = Builtin(
    "probetype", "() -> string", "Provider of the probe that fired.",
    _check_probetype, into=_probetype, variable=True,
)  # fmt: skip

DRAW_USERNAME = Presentation(
    "username",
    _draw_username,
    lambda world, raw, detail: _draw_username(world, raw, detail).decode("utf-8", "replace"),
    spelled="username_t",
)
