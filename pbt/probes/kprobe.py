"""kprobe and kretprobe: the entry and the return of kernel functions."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from errno import EADDRNOTAVAIL, EBUSY, EILSEQ, EINVAL, ENOENT, EOPNOTSUPP, EPERM, ESRCH
from functools import partial

from pbt.data import replace
from pbt.feature import AttachHost, Closeable, Context, Place, Provider, Substitute
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
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.bundle import Program
    from pbt.host.target import Target

KERNEL = "vmlinux"
MULTI = "TRACE_KPROBE_MULTI"
_MADE_AT_RUN_TIME = ("bpf", "__builtin__ftrace", "__builtin__kprobes")  # modules only by name, in kallsyms
_PIECES = re.compile(r"\.(part|cold)\b")


def _parse(provider: str, parts: Sequence[str], span: Span) -> Place:
    """`fn`, `fn+off`, `module:fn`, an address; what listings append to names, ` [module]`, is dropped."""
    count_parts(provider, parts, span, 1, 2)
    module = parts[0] if len(parts) == 2 else ""
    if not module and parts[0][:1].isdigit():
        return {"address": number(parts[0], span, "address")}
    function, plus, offset = parts[-1].partition(" [")[0].partition("+")
    if not plus:
        return {"module": module, "function": function.strip(), "offset": 0}
    if provider == "kretprobe":
        raise ScriptError("kretprobe takes no offset: it runs where the function returns", span)
    return {"module": module, "function": function.strip(), "offset": _offset(offset.strip(), span)}


def _offset(text: str, span: Span) -> int:
    return 0 if text in ("0", "0x0") else number(text, span, "offset")


def traceable(target: Target) -> Mapping[str, frozenset[str]]:
    """Names of what can be traced, by module, as far as this machine tells.

    Where ftrace's list cannot be read: the kernel's text symbols of which BTF knows the prototype.
    """
    try:
        listed = target.tracefs.traced()
    except UsageError:  # not mounted and not to be mounted: kprobes do not need it
        listed = {}
    if listed:
        return listed
    known = target.types.function_names if target.types is not None else frozenset()
    found = {m: names for m, names in target.kallsyms.functions().items() if m not in _MADE_AT_RUN_TIME}
    return {**found, KERNEL: found.get(KERNEL, frozenset()) & known} if known else found


def functions(target: Target, module: str = "") -> frozenset[str]:
    """Names of the functions that kprobes may be at, those of the modules that a pattern means or all."""
    try:
        forbidden = target.tracefs.forbidden
    except UsageError:
        forbidden = frozenset()
    known = traceable(target)
    wanted = matching(module, known) if module else known
    found = [known[name] for name in wanted] or [frozenset()]
    every = frozenset().union(*found) if len(found) > 1 else found[0]  # which may be large: no copies
    return every - forbidden if forbidden else every


def whole(names: Sequence[str]) -> Sequence[str]:
    """The names but those of pieces that the compiler cut out of functions: not worth a wildcard's while."""
    piece = _PIECES.search
    return [name for name in names if "." not in name or not piece(name)]


def _expand(place: Place, target: Target) -> Sequence[Place]:
    if "address" in place:
        return (place,)
    function, module = place["function"], place["module"]
    if is_pattern(function) or is_pattern(module):
        names = whole(matching(function, functions(target, module)))
        plain = "" if is_pattern(module) else module
        return [{**place, "module": plain, "function": name, "matched": True} for name in names]
    return (place,) if _exists(function, module, target) else ()


def _exists(function: str, module: str, target: Target) -> bool:
    """Whether the kernel has a symbol of this name; yes, too, when its symbols cannot be read."""
    if module not in ("", KERNEL):
        known = target.kallsyms.functions()
        return not known or function in known.get(module, ())
    return target.kallsyms.has(function)


def _name(place: Place) -> str:
    if "address" in place:
        return f"{place['address']:#x}"
    offset = f"+{place['offset']}" if place["offset"] else ""
    return ":".join(filter(None, (place["module"], place["function"] + offset)))


def _unsafe(place: Place) -> bool:
    """An address may be within an instruction, and then the kernel dies."""
    return "address" in place


def _label(provider: str, place: Place) -> str:
    return f"{provider}:{_name(place)}"


def _describe(returns: bool, place: Place, target: Target) -> Context:
    """What a wildcard stands for is attached by one link where the kernel can (FPROBE, 5.18)."""
    multi = bool(place.get("matched")) and target.has("kprobe_multi")
    provider = "kretprobe" if returns else "kprobe"
    common = Context(
        provider, _label(provider, place), "KPROBE", expected_attach_type=MULTI if multi else "", regs=True
    )
    start = entry_address if target.has("get_func_ip") else None
    if returns:
        return replace(common, retval=U64, read_retval=register_result, func=start)
    return replace(common, arg=register_argument, func=start if multi else instruction_pointer)


def in_pieces(function: str, target: Target) -> bool:
    """Whether the compiler took a function apart, so that nothing of this name can be traced."""
    from pbt.uapi.functions import IN_PIECES

    if function not in IN_PIECES:
        return False
    listed = traceable(target)
    return bool(listed) and not any(function in names for names in listed.values())


def _instead(provider: str, place: Place, target: Target) -> Sequence[Substitute]:
    """Where there are no kprobes, or the kernel has no such function (any more, or inlined)."""
    if "address" in place or is_pattern(place["module"] + place["function"]):
        return ()
    there = _exists(place["function"], place["module"], target) and not in_pieces(place["function"], target)
    if target.has("kprobe") and there:
        return ()
    from pbt.probes.instead import substitutes

    return substitutes(provider, _label(provider, place), place, target)


# --- attaching --------------------------------------------------------------------------------

_HINTS = {
    ENOENT: "the kernel has no such function, or does not let it be traced: pbt -l 'kprobe:NAME*'",
    EINVAL: "the function may be inlined or not traceable (/sys/kernel/debug/kprobes/blacklist)",
    EADDRNOTAVAIL: "the kernel has several functions of this name",
    EILSEQ: "the offset is not the start of an instruction",
    EPERM: "run as root; kernel lockdown also forbids kprobes",
}


_UNTRACEABLE = (ENOENT, ESRCH, EINVAL, EADDRNOTAVAIL, EOPNOTSUPP, EBUSY)


def _attach(returns: bool, host: AttachHost, fd: int, program: Program) -> Sequence[Closeable]:
    """Through the kprobe PMU (4.17), or without it through tracefs's kprobe_events."""
    from pbt.sys import perf

    if program.expected_attach_type == MULTI:
        return _attach_many(returns, host, fd, (program,))[0]
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


def _attach_many(
    returns: bool, host: AttachHost, fd: int, programs: Sequence[Program]
) -> tuple[Sequence[Closeable], int]:
    """One link for all functions; where the kernel refuses some, as few as leave those out."""
    if programs[0].expected_attach_type != MULTI:
        each = [_attach(returns, host, fd, program) for program in programs]
        return [link for links in each for link in links], sum(map(bool, each))
    with explained(programs[0].name, _HINTS), ExitStack() as stack:
        names = sorted({program.place["function"] for program in programs})
        links, count = _links(returns, fd, names)
        for link in links:
            stack.callback(link.close)
        stack.pop_all()
        return links, count


def _links(returns: bool, fd: int, names: Sequence[str]) -> tuple[list[Closeable], int]:
    from pbt.sys import bpf
    from pbt.uapi.consts import BPF_F_KPROBE_MULTI_RETURN

    flags = BPF_F_KPROBE_MULTI_RETURN if returns else 0
    try:
        return [bpf.link_kprobe_multi(fd, syms=names, flags=flags)], len(names)
    except KernelError as error:
        if error.errno not in _UNTRACEABLE:
            raise
        if len(names) == 1:
            return [], 0
    half = len(names) // 2
    first, second = _links(returns, fd, names[:half]), _links(returns, fd, names[half:])
    return [*first[0], *second[0]], first[1] + second[1]


def _attach_pmu(pmu: int, returns: bool, host: AttachHost, fd: int, place: Place) -> Sequence[Closeable]:
    """config1 points to the name or is 0, and config2 is the offset or the address (perf_event_attr)."""
    from pbt.sys import perf

    if "address" in place:
        return on_event(
            fd, type=pmu, config=perf.retprobe_bit("kprobe") if returns else 0, config2=place["address"]
        )
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
    name = f"{'r' if returns else 'p'}{os.getpid()}_{fd}_{_identifier(_name(place))}"
    with ExitStack() as stack:
        try:
            probe = _TextProbe(root, name, f"{name[0]}:pbt/{name} {_name(place)}")
        except FileNotFoundError:
            raise KernelError("this kernel has no kprobes", EOPNOTSUPP, NO_KPROBES) from None
        except OSError as error:
            raise KernelError(f"kprobe_events refused {_name(place)}", error.errno or EINVAL) from None
        stack.callback(probe.close)
        with open(f"{root}/events/pbt/{name}/id") as file:
            event = perf.perf_event_open(PERF_TYPE_TRACEPOINT, int(file.read()), cpu=0)
        bind(stack, event, fd)
        return (stack.pop_all(),)


def _identifier(text: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in text)


NO_KPROBES = "it was built without CONFIG_KPROBES: use a tracepoint (pbt -l 'tracepoint:*') or fentry instead"


# --- listing ----------------------------------------------------------------------------------


def _list(parts: Sequence[str], target: Target) -> Sequence[str]:
    """Functions; with a module, each with it."""
    module, function = ("", *parts)[-2:] if parts else ("", "*")
    names = whole(matching(function or "*", functions(target, module)))
    return [f"{module}:{name}" for name in names] if module and not is_pattern(module) else names


def _fields(returns: bool, place: Place, target: Target) -> Sequence[str]:
    """As the program reads them: arguments by number."""
    if "address" in place:
        return []
    module = place["module"]
    types = target.types if module in ("", KERNEL) else target.module_types(module)
    id = types.id_of_func(place["function"]) if types is not None else None
    if types is None or id is None:
        return []
    if returns:
        return [f"{types.result(id).ctype} retval"]
    return [f"{param.ctype} arg{n}" for n, param in enumerate(types.params(id))]


KPROBE = Provider(
    "kprobe",
    "Entry of a kernel function: `kprobe:vfs_read`, `kprobe:module:function`, `kprobe:function+0x10`.",
    parse=partial(_parse, "kprobe"),
    expand=_expand,
    label=partial(_label, "kprobe"),
    describe=partial(_describe, False),
    attach=partial(_attach, False),
    attach_many=partial(_attach_many, False),
    unsafe=_unsafe,
    instead=partial(_instead, "kprobe"),
    list=_list,
    fields=partial(_fields, False),
    aliases=("k",),
    feature="kprobe",
    reverse=True,
)

KRETPROBE = Provider(
    "kretprobe",
    "Return of a kernel function: `kretprobe:vfs_read`; `retval` is what it returns.",
    parse=partial(_parse, "kretprobe"),
    expand=_expand,
    label=partial(_label, "kretprobe"),
    describe=partial(_describe, True),
    attach=partial(_attach, True),
    attach_many=partial(_attach_many, True),
    unsafe=_unsafe,
    instead=partial(_instead, "kretprobe"),
    list=_list,
    fields=partial(_fields, True),
    aliases=("kr",),
    feature="kprobe",
    listed=False,
)
