"""usdt:file:provider:name: static probes that programs were built with, each with arguments of its own.

A probe may stand at several places of a file, with its arguments elsewhere at each: every place gets a
program of its own where they differ. The kernel counts the semaphores up and down (4.20), so that none stays
counted when the tracer dies.
"""

from __future__ import annotations

from collections.abc import Sequence

from pbt.feature import Context, Place, Provider
from pbt.probes import uprobe
from pbt.probes.common import count_parts, instruction_pointer, is_pattern, matching
from pbt.source import Span
from pbt.types import I64
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.bundle import Program
    from pbt.host.target import Target
    from pbt.host.usdt import Operand, Probe
    from pbt.ir.core import Value
    from pbt.probes.uattach import Spot
    from pbt.views import AttachHost, Closeable, Gen


def _parse(parts: Sequence[str], span: Span) -> Place:
    """`file:provider:name`, `file:name`; with a process, `*:name` is a probe in any of its files, as is one without
    a file: `name`, `:provider:name`."""
    if len(parts) == 1 and "/" not in parts[0]:
        parts = ("", *parts)
    anywhere = len(parts) > 1 and not parts[0]
    count_parts("usdt", parts[anywhere:], span, *((1, 2) if anywhere else (2, 3)))
    return {"path": parts[0], "namespace": parts[1] if len(parts) == 3 else "*", "name": parts[-1]}


def _found(place: Place) -> Sequence[tuple[str, Probe]]:
    """(path, probe) of all that a place means, in the order of files."""
    from pbt.host import usdt

    found: list[tuple[str, Probe]] = []
    for path, elf in uprobe.elves(place):
        rows = usdt.probes(elf)
        namespaces = set(matching(place["namespace"], {row.provider for row in rows}))
        names = set(matching(place["name"], {row.name for row in rows}))
        found += [(path, row) for row in rows if row.provider in namespaces and row.name in names]
    return found


def _expand(place: Place, target: Target) -> Sequence[Place]:
    return [
        {
            "path": path,
            "namespace": row.provider,
            "name": row.name,
            "offset": row.offset,
            "semaphore": row.semaphore,
            "arguments": list(row.arguments),
        }
        for path, row in _found(place)
    ]


def _of_process(place: Place, pid: int) -> Place:
    return uprobe.of_process({**place, "path": place["path"] or "*"}, pid)


def _absent(place: Place, target: Target) -> tuple[str, str] | None:
    from pbt.host import usdt

    if not place["path"]:
        name = place["name"]
        return (
            "a static probe without a file is one of the process of -p",
            f"write usdt:FILE:{name}, or -p PID",
        )
    for path, elf in () if is_pattern(place["path"]) else uprobe.elves(place):
        if not usdt.probes(elf):
            return f"{path} has no static probes", f"its functions are places too: pbt -l 'uprobe:{path}:*'"
    return uprobe.unusable(place["path"])


def _label(place: Place) -> str:
    return ":".join(("usdt", place["path"], place["namespace"], place["name"]))


def _describe(place: Place, target: Target) -> Context:
    from pbt.host.usdt import operand

    registers = target.arch.regs
    return Context(
        "usdt",
        _label(place),
        "KPROBE",
        expected_attach_type=uprobe.MULTI if target.has("uprobe_multi") else "",
        arg=_arg,
        arg_type=I64,
        func=instruction_pointer,
        user=True,
        regs=True,
        detail=tuple(operand(text, target.arch.name, registers) for text in place.get("arguments", ())),
    )


def _arg(gen: Gen, n: int) -> Value:
    """The n-th argument from 0, sign-extended where it is signed; 0 where the probe has fewer."""
    if n >= len(gen.probe.detail):
        return gen.b.const(0)
    what: Operand = gen.probe.detail[n]
    if what.kind == "const":
        return gen.b.extend(gen.b.const(what.offset), what.size, what.signed)
    if what.kind == "reg":
        return gen.b.extend(_register(gen, what.register), what.size, what.signed)
    if what.kind == "mem":
        room = gen.temp(8, f"arg{n}")
        gen.zero(room, 8)
        gen.read(room, what.size, _address(gen, what), "user")
        return gen.b.load(room.base, room.offset, what.size, what.signed)
    return gen.b.const(0)


def _register(gen: Gen, name: str) -> Value:
    return gen.b.load(gen.b.ctx(), gen.arch.regs[name], gen.arch.word)


def _address(gen: Gen, what: Operand) -> Value:
    at = _register(gen, what.register) if what.register else gen.b.const(0)
    if what.other:
        at = gen.b.add(at, gen.b.op("mul", _register(gen, what.other), what.scale))
    return gen.b.add(at, what.offset) if what.offset else at


# --- attaching --------------------------------------------------------------------------------


def _spot(place: Place) -> Spot:
    """As compiled, if the file still has it there; else where the file has the probe now."""
    from errno import ENOENT

    from pbt.probes.uattach import Spot
    from pbt.source import KernelError

    rows = [row for _, row in _found(place)]
    known = [row for row in rows if row.offset == place["offset"] and row.semaphore == place["semaphore"]]
    same = known or [row for row in rows if list(row.arguments) == place["arguments"]]
    if not same:
        raise KernelError(f"no {place['namespace']}:{place['name']} in {place['path']}", ENOENT)
    return Spot(place["path"], same[0].offset, same[0].semaphore)


def _attach(host: AttachHost, fd: int, program: Program) -> Sequence[Closeable]:
    from pbt.probes.uattach import attach

    return attach(_spot, False, host, fd, program)


def _attach_many(host: AttachHost, fd: int, programs: Sequence[Program]) -> tuple[Sequence[Closeable], int]:
    from pbt.probes.uattach import attach_many

    return attach_many(_spot, False, host, fd, programs)


# --- listing ----------------------------------------------------------------------------------


def _list(parts: Sequence[str], target: Target) -> Sequence[str]:
    if not parts or not parts[0]:
        return ()
    namespace = parts[1] if len(parts) > 2 else "*"
    name = parts[-1] if len(parts) > 1 else "*"
    place = {"path": parts[0], "namespace": namespace or "*", "name": name or "*"}
    return sorted({f"{path}:{row.provider}:{row.name}" for path, row in _found(place)})


def _fields(place: Place, target: Target) -> Sequence[str]:
    """Where each argument is, at the first place."""
    found = _found(place)
    return [f"{text} arg{n}" for n, text in enumerate(found[0][1].arguments)] if found else ()


USDT = Provider(
    "usdt",
    "Static probes of programs and libraries: `usdt:/usr/bin/python3:python:gc__start`.",
    parse=_parse,
    expand=_expand,
    label=_label,
    describe=_describe,
    attach=_attach,
    attach_many=_attach_many,
    of_process=_of_process,
    absent=_absent,
    list=_list,
    fields=_fields,
    aliases=("U",),
    files=True,
    reverse=True,
    listed=False,
    cookies="get_attach_cookie",
)
