"""kprobe and kretprobe: the entry and the return of kernel functions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial

from pbt.data import replace
from pbt.feature import Context, Joint, Place, Provider, Substitute
from pbt.probes.common import (
    IS_RETURN,
    count_parts,
    entry_address,
    instruction_pointer,
    is_pattern,
    matching,
    number,
    register_argument,
    register_result,
    start_of_function,
    tells_return,
)
from pbt.source import ScriptError, Span, UsageError
from pbt.types import U64
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.bundle import Program
    from pbt.host.target import Target
    from pbt.views import AttachHost, Closeable

KERNEL = "vmlinux"
PMU = "kprobe"
MULTI, SESSION = "TRACE_KPROBE_MULTI", "TRACE_KPROBE_SESSION"
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


def name_of(place: Place) -> str:
    """The place without its provider, as the user writes it."""
    if "address" in place:
        return f"{place['address']:#x}"
    offset = f"+{place['offset']}" if place["offset"] else ""
    return ":".join(filter(None, (place["module"], place["function"] + offset)))


def _unsafe(place: Place) -> bool:
    """An address may be within an instruction, and then the kernel dies."""
    return "address" in place


def _label(provider: str, place: Place) -> str:
    return f"{provider}:{name_of(place)}"


def _describe(returns: bool, place: Place, target: Target) -> Context:
    """What a wildcard stands for is attached by one link where the kernel can (FPROBE, 5.18)."""
    multi = bool(place.get("matched")) and target.has("kprobe_multi")
    provider = "kretprobe" if returns else "kprobe"
    common = Context(
        provider, _label(provider, place), "KPROBE", expected_attach_type=MULTI if multi else "", regs=True
    )
    start = start_of_function(target.has("get_func_ip"), "5.15")
    if returns:
        return replace(common, retval=U64, read_retval=register_result, **start)
    return replace(common, arg=register_argument, **(start if multi else {"func": instruction_pointer}))


_FULL = frozenset({"reg", "kstack", "override"})
"""Builtins that want more of the registers than ftrace saves (since 6.14)."""


def _in_session(
    places: Sequence[Place], context: Context, used: frozenset[str], target: Target
) -> Context | None:
    """Where one program, attached by one link, runs at the entry and at the return of functions (6.10).

    What a wildcard stands for is attached through ftrace anyway; functions by name are if ftrace has them.
    """
    if "address" in places[0] or not target.has("kprobe_session") or not tells_return(target):
        return None
    if context.expected_attach_type != MULTI:
        if used & _FULL or any(place["offset"] or place["module"] for place in places):
            return None
        listed = traceable(target).get(KERNEL, frozenset())
        names = {place["function"] for place in places}
        where = target.kallsyms.addresses(names)
        if not names <= listed or any(len(where.get(name, ())) != 1 for name in names):
            return None
    return replace(context, expected_attach_type=SESSION, func=entry_address)


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
    there = bool(place.get("matched")) or _exists(place["function"], place["module"], target)
    there = there and not in_pieces(place["function"], target)
    if target.has("kprobe") if there else place["module"] not in ("", KERNEL):
        return ()  # what stands in stands in for the kernel's own functions
    from pbt.probes.instead import substitutes

    return substitutes(provider, _label(provider, place), place, target)


# --- attaching --------------------------------------------------------------------------------


def _attach(returns: bool, host: AttachHost, fd: int, program: Program) -> Sequence[Closeable]:
    from pbt.probes.kattach import attach

    return attach(returns, host, fd, program)


def _attach_many(
    returns: bool, host: AttachHost, fd: int, programs: Sequence[Program]
) -> tuple[Sequence[Closeable], int]:
    from pbt.probes.kattach import attach_many

    return attach_many(returns, host, fd, programs)


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
    joint=Joint("kretprobe", IS_RETURN, _in_session),
    cookies="get_attach_cookie",
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
    cookies="get_attach_cookie",
    list=_list,
    fields=partial(_fields, True),
    aliases=("kr",),
    feature="kprobe",
    listed=False,
)
