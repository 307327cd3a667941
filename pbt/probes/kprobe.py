"""kprobe and kretprobe: the entry and the return of kernel functions."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from errno import EADDRNOTAVAIL, EBUSY, EILSEQ, EINVAL, ENOENT, EOPNOTSUPP, EPERM
from functools import partial
from typing import TYPE_CHECKING

from pbt.feature import AttachHost, Closeable, Context, Place, Provider
from pbt.probes.common import (
    bind,
    count_parts,
    entry_address,
    explained,
    instruction_pointer,
    is_pattern,
    matching,
    number,
    on_event,
    register_argument,
    register_result,
)
from pbt.source import KernelError, ScriptError, Span, UsageError
from pbt.types import U64

if TYPE_CHECKING:
    from pbt.bundle import Program
    from pbt.host.target import Target

KERNEL = "vmlinux"
_SPLIT = (".part.", ".cold")  # pieces that the compiler cut out of functions: not worth a wildcard's while


def _parse(provider: str, parts: Sequence[str], span: Span) -> Place:
    """`fn`, `fn+off`, `module:fn`; what listings append to names, ` [module]`, is dropped."""
    count_parts(provider, parts, span, 1, 2)
    module = parts[0] if len(parts) == 2 else ""
    function, plus, offset = parts[-1].partition(" [")[0].partition("+")
    if not plus:
        return {"module": module, "function": function.strip(), "offset": 0}
    if provider == "kretprobe":
        raise ScriptError("kretprobe takes no offset: it runs where the function returns", span)
    return {"module": module, "function": function.strip(), "offset": _offset(offset.strip(), span)}


def _offset(text: str, span: Span) -> int:
    return 0 if text in ("0", "0x0") else number(text, span, "offset")


def functions(target: Target) -> Iterable[str]:
    """Traceable functions, as far as this machine tells.

    Where ftrace's list cannot be read: the kernel's text symbols of which BTF knows the prototype.
    """
    try:
        listed = target.tracefs.functions()
    except UsageError:  # not mounted and not to be mounted: kprobes do not need it
        listed = []
    if listed:
        return listed
    known = set(target.types.functions()) if target.types is not None else set()
    names = target.kallsyms.names()
    return [name for name in names if name in known] if known else names


def _expand(place: Place, target: Target) -> Sequence[Place]:
    function = place["function"]
    if is_pattern(function) or is_pattern(place["module"]):
        module = "" if is_pattern(place["module"]) else place["module"]
        names = matching(function, functions(target))
        places = [{**place, "module": module, "function": name, "matched": True} for name in names]
        return [p for p in places if not any(piece in p["function"] for piece in _SPLIT)]
    return (place,) if _exists(function, target) else ()


def _exists(function: str, target: Target) -> bool:
    """Whether the kernel has a symbol of this name; yes, too, when its symbols cannot be read."""
    if target.kallsyms.address(function):
        return True
    names = target.kallsyms.names()  # addresses may be hidden
    return not names or function in names


def _name(place: Place) -> str:
    offset = f"+{place['offset']}" if place["offset"] else ""
    return ":".join(filter(None, (place["module"], place["function"] + offset)))


def _label(provider: str, place: Place) -> str:
    return f"{provider}:{_name(place)}"


def _entry(place: Place, target: Target) -> Context:
    return Context(
        "kprobe",
        _label("kprobe", place),
        "KPROBE",
        arg=register_argument,
        func=instruction_pointer,
        regs=True,
    )


def _exit(place: Place, target: Target) -> Context:
    return Context(
        "kretprobe",
        _label("kretprobe", place),
        "KPROBE",
        retval=U64,
        read_retval=register_result,
        func=entry_address if target.has("get_func_ip") else None,
        regs=True,
    )


# --- attaching --------------------------------------------------------------------------------

_HINTS = {
    ENOENT: "the kernel has no such function, or does not let it be traced: pbt -l 'kprobe:NAME*'",
    EINVAL: "the function may be inlined or not traceable (/sys/kernel/debug/kprobes/blacklist)",
    EADDRNOTAVAIL: "the kernel has several functions of this name",
    EILSEQ: "the offset is not the start of an instruction",
    EPERM: "run as root; kernel lockdown also forbids kprobes",
}


_UNTRACEABLE = (ENOENT, EINVAL, EADDRNOTAVAIL, EOPNOTSUPP, EBUSY)


def _attach(returns: bool, host: AttachHost, fd: int, program: Program) -> Sequence[Closeable]:
    """Through the kprobe PMU (4.17), or without it through tracefs's kprobe_events."""
    from pbt.sys import perf

    with explained(program.name, _HINTS):
        try:
            pmu = perf.pmu_type("kprobe")
        except KernelError:
            return _attach_text(returns, host, fd, program.place)
        try:
            return _attach_pmu(pmu, returns, host, fd, program.place)
        except KernelError as error:
            if program.place.get("matched") and error.errno in _UNTRACEABLE:
                return ()  # a wildcard stands for what can be traced
            raise


def _attach_pmu(pmu: int, returns: bool, host: AttachHost, fd: int, place: Place) -> Sequence[Closeable]:
    """config1 points to the name or is 0, and config2 is the offset or the address (perf_event_attr)."""
    from pbt.sys import perf

    symbol = (
        place["function"] if place["module"] in ("", KERNEL) else f"{place['module']}:{place['function']}"
    )
    retprobe = perf.retprobe_bit("kprobe") if returns else 0
    try:
        return on_event(fd, type=pmu, config=retprobe, name=symbol, config2=place["offset"])
    except KernelError as error:
        address = host.target.kallsyms.address(place["function"]) if error.errno == EADDRNOTAVAIL else 0
        if not address:
            raise
        return on_event(fd, type=pmu, config=retprobe, config2=address + place["offset"])


class _TextProbe:
    """A probe written into kprobe_events, removed by `close`."""

    def __init__(self, root: str, name: str, definition: str) -> None:
        self._path, self._name = f"{root}/kprobe_events", name
        self._write(definition)

    def _write(self, line: str) -> None:
        """Appended by hand: Python's mode "a" seeks to the end, which this file cannot."""
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(file, line.encode() + b"\n")
        finally:
            os.close(file)

    def close(self) -> None:
        self._write(f"-:pbt/{self._name}")


def _attach_text(returns: bool, host: AttachHost, fd: int, place: Place) -> Sequence[Closeable]:
    """`p:GROUP/NAME MODULE:FUNCTION+OFFSET` makes a tracepoint (Documentation/trace/kprobetrace.rst)."""
    from pbt.sys import perf
    from pbt.uapi.consts import PERF_TYPE_TRACEPOINT

    root = host.target.tracefs.root
    name = f"{'r' if returns else 'p'}{os.getpid()}_{fd}_{place['function'].replace('.', '_')}"
    with ExitStack() as stack:
        try:
            probe = _TextProbe(root, name, f"{name[0]}:pbt/{name} {_name(place)}")
        except FileNotFoundError:
            raise KernelError("this kernel has no kprobes", EOPNOTSUPP, NO_KPROBES) from None
        except OSError as error:
            raise KernelError(f"kprobe_events refused {_name(place)}", error.errno or EINVAL) from None
        stack.callback(probe.close)
        with open(f"{root}/events/pbt/{name}/id") as file:
            event = perf.perf_event_open(PERF_TYPE_TRACEPOINT, int(file.read()), cpu=0, sample_period=1)
        bind(stack, event, fd)
        return (stack.pop_all(),)


NO_KPROBES = "it was built without CONFIG_KPROBES: use a tracepoint (pbt -l 'tracepoint:*') or fentry instead"


# --- listing ----------------------------------------------------------------------------------


def _list(parts: Sequence[str], target: Target) -> Sequence[str]:
    return matching((parts[-1] if parts else "") or "*", functions(target))


def _fields(returns: bool, place: Place, target: Target) -> Sequence[str]:
    types = target.types
    id = types.id_of_func(place["function"]) if types is not None else None
    if types is None or id is None:
        return []
    arguments = [f"{p.ctype} {p.name}" for p in types.params(id)]
    return [*arguments, f"{types.result(id).ctype} retval"] if returns else arguments


KPROBE = Provider(
    "kprobe",
    "Entry of a kernel function: `kprobe:vfs_read`, `kprobe:module:function`, `kprobe:function+0x10`.",
    parse=partial(_parse, "kprobe"),
    expand=_expand,
    label=partial(_label, "kprobe"),
    describe=_entry,
    attach=partial(_attach, False),
    list=_list,
    fields=partial(_fields, False),
    aliases=("k",),
    reverse=True,
)

KRETPROBE = Provider(
    "kretprobe",
    "Return of a kernel function: `kretprobe:vfs_read`; `retval` is what it returns.",
    parse=partial(_parse, "kretprobe"),
    expand=_expand,
    label=partial(_label, "kretprobe"),
    describe=_exit,
    attach=partial(_attach, True),
    list=_list,
    fields=partial(_fields, True),
    aliases=("kr",),
    listed=False,
)
