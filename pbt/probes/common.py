"""What providers share: part counts, wildcards, register arguments, perf events with a program."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from errno import EACCES, EINVAL, ENODEV, EPERM, ESRCH
from functools import cache

from pbt.feature import find_provider
from pbt.source import KernelError, ScriptError, Span
from pbt.typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from re import Pattern

    from pbt.feature import Place
    from pbt.host.target import Target
    from pbt.ir.core import Value
    from pbt.sys.bpf import Fd
    from pbt.views import Closeable, Gen

NO_TYPES = (
    "/sys/kernel/btf/vmlinux is not there: name a file of BTF, or a vmlinux that has it, with --btf=FILE"
)


# --- text of attach points --------------------------------------------------------------------


def count_parts(provider: str, parts: Sequence[str], span: Span, *allowed: int) -> None:
    """Raise a ScriptError unless the number of parts is one of `allowed`; empty parts do not count."""
    found = len([p for p in parts if p])
    if found not in allowed or found != len(parts):
        need = " or ".join(map(str, allowed))
        noun = "argument" if allowed == (1,) else "arguments"
        kind = find_provider(provider)
        hint = kind.doc if kind else ""
        raise ScriptError(f"{provider} probe type requires {need} {noun}, found {found}", span, hint)


def is_pattern(text: str) -> bool:
    """Whether the text has a wildcard: `*`, `?` or `[...]`."""
    return any(c in text for c in "*?[")


@cache
def _matcher(pattern: str) -> Pattern[str]:
    import re
    from fnmatch import translate

    return re.compile(translate(pattern))


def matching(pattern: str, names: Iterable[str]) -> list[str]:
    """The names that a pattern matches as a whole, sorted, each once."""
    if not is_pattern(pattern):
        return [pattern] if pattern in names else []
    if pattern == "*":
        return sorted(names if isinstance(names, frozenset) else set(names))
    match = _matcher(pattern).match
    return sorted({name for name in names if match(name)})


def number(text: str, span: Span, what: str) -> int:
    """A positive number, decimal, 0x hexadecimal or as 1e6, or a ScriptError that names `what`."""
    digits, exponent, power = text.replace("_", "").partition("e")
    try:
        if exponent and len(digits) == 1 and power.isdecimal() and int(power) < 20:
            value = int(digits + "0" * int(power))
        else:
            value = int(digits + exponent + power, 0)
    except ValueError:
        value = 0
    if value <= 0:
        raise ScriptError(f"Invalid {what}: '{text}' is not a positive number", span)
    return value


# --- struct pt_regs ---------------------------------------------------------------------------


def register_argument(gen: Gen, n: int) -> Value:
    """The n-th argument at a function's entry, a u64: from its register, else from the stack."""
    arch, b = gen.arch, gen.b
    if n < len(arch.args):
        return b.load(b.ctx(), arch.args[n], arch.word)
    where = arch.stack_arg(n)
    if where is None:
        return b.const(0)
    register, beyond = where
    room = gen.temp(8, f"arg{n}")
    gen.zero(room, 8)
    stack = b.add(b.load(b.ctx(), register, arch.word), beyond)
    gen.read(room, arch.word, stack, "user" if gen.probe.user else "kernel")
    return b.load(room.base, room.offset, 8)


def register_result(gen: Gen) -> Value:
    """The returned value at a function's exit, a u64."""
    return gen.b.load(gen.b.ctx(), gen.arch.retval, gen.arch.word)


def instruction_pointer(gen: Gen) -> Value:
    """The address of the probed instruction: `func` at a function's entry."""
    return gen.b.load(gen.b.ctx(), gen.arch.pc, gen.arch.word)


def entry_address(gen: Gen) -> Value:
    """`func` where registers do not tell: the kernel remembers where the function began (5.15)."""
    return gen.b.call("get_func_ip", gen.b.ctx())


def start_of_function(known: bool, release: str) -> dict[str, Any]:
    """What a context says of `func` where only the kernel can tell it; `release`: the first that does."""
    if known:
        return {"func": entry_address}
    reason = f"the traced function is not told here: its start is known since Linux {release}: use the probe builtin"
    return {"lacks": (("func", reason),)}


# --- both ends of a function in one program ---------------------------------------------------

IS_RETURN = "bpf_session_is_return"
"""The kernel's function that tells a program at both ends of a function which it is at; 0: the entry (6.10)."""


def tells_return(target: Target) -> bool:
    """Whether this kernel has it; link types are features of their own."""
    return target.types is not None and target.types.find("func", IS_RETURN) is not None


# --- the kernel's types -----------------------------------------------------------------------


def without_types(place: Place, target: Target) -> tuple[str, str] | None:
    """Why probes whose places and contexts are in BTF are not there (see Provider.absent)."""
    if target.types is not None:
        return None
    from pbt.host.target import misnamed_btf

    wrong = misnamed_btf()
    reason = "this kernel has no type information (BTF), without which there are no such probes"
    return (wrong, "") if wrong else (reason, NO_TYPES)


# --- attaching --------------------------------------------------------------------------------


@contextmanager
def explained(what: str, hints: Mapping[int, str]) -> Iterator[None]:
    """Say of any KernelError inside what was being attached, and by errno what helps."""
    try:
        yield
    except KernelError as error:
        hint = _missing_rights(error.errno) or hints.get(error.errno, "") or error.hint
        raise KernelError(f"Unable to attach {what}: {error.what}", error.errno, hint, error.log) from error


def _missing_rights(number: int) -> str:
    if number not in (EACCES, EPERM):
        return ""
    from pbt.sys.hints import restriction

    return restriction()


@contextmanager
def all_or_none() -> Iterator[list[Closeable]]:
    """A list for what holds programs attached; if an error leaves the block, all that is in it is closed again."""
    held: list[Closeable] = []
    try:
        yield held
    except BaseException:
        for each in held:
            each.close()
        raise


def bind(stack: ExitStack, event: Fd, prog: int, cookie: int = 0) -> Fd | None:
    """Run a program at each overflow of a perf event; `stack` closes both, the link first, which is returned.

    A link needs 5.15, and so does a cookie; before it the event itself carries the program (None).
    """
    from pbt.sys import perf
    from pbt.sys.links import link_create

    stack.callback(event.close)
    link = None
    try:
        link = link_create(prog, event.fileno(), "PERF_EVENT", cookie=cookie)
    except KernelError as error:
        if error.errno != EINVAL or cookie:
            raise
        perf.ioctl_set_bpf(event.fileno(), prog)
    else:
        stack.callback(link.close)
    perf.enable(event.fileno())
    return link


def on_event(prog: int, *, pid: int = -1, cpu: int = 0, cookie: int = 0, **event: Any) -> Sequence[Closeable]:
    """One perf event that is the same on every CPU: tracepoints, kprobes, uprobes."""
    from pbt.sys import perf

    with ExitStack() as stack:
        bind(stack, perf.perf_event_open(pid=pid, cpu=cpu, **event), prog, cookie)
        return (stack.pop_all(),)


def on_cpus(prog: int, cpus: Sequence[int], pid: int | None, **event: Any) -> Sequence[Closeable]:
    """One perf event on each CPU; with a process, one on each of its threads, whatever the CPU.

    CPUs and threads that are gone since they were listed are left out, as long as there are others.
    """
    from pbt.sys import perf

    places = [(-1, cpu) for cpu in cpus] if pid is None else [(tid, -1) for tid in threads(pid)]
    bits = ("disabled",) if pid is None else ("disabled", "inherit")  # new threads and children too
    missed, found = None, False
    with ExitStack() as stack:
        for tid, cpu in places:
            try:
                opened = perf.perf_event_open(pid=tid, cpu=cpu, attr_flags=bits, **event)
            except KernelError as error:
                if error.errno not in (ENODEV, ESRCH):  # the CPU is offline; there is no such thread
                    raise
                missed = error
            else:
                bind(stack, opened, prog)
                found = True
        if missed is not None and not found:
            raise missed
        return (stack.pop_all(),)


def threads(pid: int) -> list[int]:
    """Thread ids of a process; [pid] when it has just gone, so that the kernel names the error."""

    try:
        return sorted(map(int, os.listdir(f"/proc/{pid}/task")))
    except OSError:
        return [pid]
