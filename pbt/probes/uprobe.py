"""uprobe and uretprobe: places in the code of programs and libraries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from errno import EINVAL, ENOENT, ESRCH
from functools import partial
from typing import TYPE_CHECKING

from pbt.feature import AttachHost, Closeable, Context, Place, Provider
from pbt.probes.common import (
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
from pbt.source import KernelError, ScriptError, Span
from pbt.types import U64

if TYPE_CHECKING:
    from pbt.bundle import Program
    from pbt.host.elf import Elf
    from pbt.host.target import Target

MULTI = "TRACE_UPROBE_MULTI"


def _parse(provider: str, parts: Sequence[str], span: Span) -> Place:
    """`path:function`, `path:function+offset`, `path:0xADDRESS`: a place with `path`, `symbol`, `offset`.

    The symbol is "" where the offset is the virtual address itself.
    """
    count_parts(provider, parts, span, 2)
    path, target = parts
    symbol, plus, offset = target.partition("+")
    if symbol[:1].isdigit():
        return {"path": path, "symbol": "", "offset": number(target, span, "address")}
    if plus and provider == "uretprobe":
        raise ScriptError("uretprobe takes no offset: it runs where the function returns", span)
    at = number(offset, span, "offset") if plus and offset not in ("0", "0x0") else 0
    return {"path": path, "symbol": symbol, "offset": at}


# --- what is there ----------------------------------------------------------------------------


def files(path: str) -> list[str]:
    """The files that a path means: itself, a glob, a name from $PATH, or a library's name."""
    from pbt.host.elf import find_library, find_program

    if "/" in path and is_pattern(path):
        from glob import glob

        return sorted(glob(path))
    found = find_program(path)
    if found is None and "/" not in path and path.startswith("lib"):
        found = find_library(path)
    return [found] if found else []


def _elf(path: str) -> Elf | None:
    from pbt.host.elf import Elf, ElfError

    try:
        return Elf(path)
    except (OSError, ElfError):
        return None


def _expand(place: Place, target: Target) -> Sequence[Place]:
    found: list[Place] = []
    for path in files(place["path"]):
        elf = _elf(path)
        if elf is not None:
            found += [{**place, "path": path, "symbol": name} for name in _symbols(elf, place)]
    return found


def _symbols(elf: Elf, place: Place) -> Sequence[str]:
    symbol = place["symbol"]
    if is_pattern(symbol):
        return matching(symbol, (f.name for f in elf.functions()))
    if not symbol:
        return ("",) if elf.offset(place["offset"]) is not None else ()
    return (symbol,) if elf.symbol(symbol) else ()


def _where(place: Place) -> str:
    if not place["symbol"]:
        return f"{place['path']}:{place['offset']:#x}"
    return f"{place['path']}:{place['symbol']}" + (f"+{place['offset']}" if place["offset"] else "")


def _label(provider: str, place: Place) -> str:
    return f"{provider}:{_where(place)}"


def _describe(returns: bool, place: Place, target: Target) -> Context:
    """uprobe_multi links are made by processes without CAP_SYS_ADMIN too; they need their own attach type.

    Both came with 6.6: those links, and the start of a returning function (a3c485a5d8d4).
    """
    multi = target.has("uprobe_multi")
    common = Context(
        "uretprobe" if returns else "uprobe",
        _label("uretprobe" if returns else "uprobe", place),
        "KPROBE",
        expected_attach_type=MULTI if multi else "",
        user=True,
        regs=True,
    )
    if returns:
        func = entry_address if multi else None
        return replace(common, retval=U64, read_retval=register_result, func=func)
    return replace(common, arg=register_argument, func=instruction_pointer)


# --- attaching --------------------------------------------------------------------------------

_HINTS = {
    EINVAL: "the place may not be the start of an instruction, or the file may not be mapped as code",
    ENOENT: "the file or the function is not on this machine",
    ESRCH: "the process is gone",
}


def file_offset(place: Place) -> int:
    """Where in the file the place's instruction stands. KernelError ENOENT if the file has no such place."""
    elf = _elf(place["path"])
    found = elf.symbol(place["symbol"]) if elf is not None and place["symbol"] else (0, 0)
    offset = elf.offset(found[0] + place["offset"]) if elf is not None and found else None
    if offset is None:
        raise KernelError(f"no {place['symbol'] or hex(place['offset'])} in {place['path']}", ENOENT)
    return offset


def _attach(returns: bool, host: AttachHost, fd: int, program: Program) -> Sequence[Closeable]:
    from pbt.sys import bpf, perf
    from pbt.uapi.consts import BPF_F_UPROBE_MULTI_RETURN

    place = program.place
    with explained(program.name, _HINTS):
        offset = file_offset(place)
        if program.expected_attach_type == MULTI:
            flags = BPF_F_UPROBE_MULTI_RETURN if returns else 0
            return (bpf.link_uprobe_multi(fd, place["path"], [offset], pid=host.pid or 0, flags=flags),)
        retprobe = perf.retprobe_bit("uprobe") if returns else 0
        who = {"pid": -1, "cpu": 0} if host.pid is None else {"pid": host.pid, "cpu": -1}
        return on_event(
            fd, type=perf.pmu_type("uprobe"), config=retprobe, name=place["path"], config2=offset, **who
        )


# --- listing ----------------------------------------------------------------------------------


def _list(parts: Sequence[str], target: Target) -> Sequence[str]:
    if not parts or not parts[0]:
        return ()
    pattern = parts[1] if len(parts) > 1 and parts[1] else "*"
    lines: list[str] = []
    for path in files(parts[0]):
        elf = _elf(path)
        if elf is not None:
            lines += [f"{path}:{name}" for name in matching(pattern, [f.name for f in elf.functions()])]
    return lines


def _provider(name: str, alias: str, doc: str) -> Provider:
    return Provider(
        name,
        doc,
        parse=partial(_parse, name),
        expand=_expand,
        label=partial(_label, name),
        describe=partial(_describe, name == "uretprobe"),
        attach=partial(_attach, name == "uretprobe"),
        list=_list,
        aliases=(alias,),
        reverse=True,
        listed=False,
    )


UPROBES = (
    _provider(
        "uprobe",
        "u",
        "A function of a program or library: `uprobe:/bin/bash:readline`, `uprobe:libc:malloc`.",
    ),
    _provider(
        "uretprobe", "ur", "The return of a function of a program or library; `retval` is what it returns."
    ),
)
