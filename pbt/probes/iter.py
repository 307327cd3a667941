"""iter:task, iter:task_file, ...: a program run once for each of the kernel's objects of a kind.

Reading the iterator runs the program; the script ends when the iterator does. What it prints goes through
the ring buffer like that of all programs; what is read are marks, one byte an object, which make the
kernel pause so that no more is recorded than the buffer holds.

`iter:task:name` leaves the iterator in a bpf file system instead, as the file `name`: whoever reads the file runs
the program, and what it prints is what they read.
Source: Documentation/bpf/bpf_iterators.rst (Linux 5.8).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from errno import EAGAIN, EEXIST, EINTR, ENOENT, EPERM

from pbt.feature import Context, Iteration, Place, Provider
from pbt.probes.common import count_parts, explained, is_pattern, matching, without_types
from pbt.source import KernelError, ScriptError, Span
from pbt.types import Member, Pointer, Struct
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.bundle import Program
    from pbt.host.target import Target
    from pbt.ir.core import Value
    from pbt.sys.bpf import Fd
    from pbt.views import AttachHost, Closeable, Gen

_FUNCTION, _STRUCT = "bpf_iter_", "bpf_iter__"  # what BTF calls the target and its context
_META = "meta"  # the first member: the sequence file and where it stands
_BPFFS = "/sys/fs/bpf"
_OBJECTS = 512  # bytes, and so objects, between two looks at the buffer
_KINDS_OF_THEIR_OWN = ("bpf_map_elem", "bpf_sk_storage_map", "sockmap", "cgroup")  # they want parameters


def _parse(parts: Sequence[str], span: Span) -> Place:
    """`kind`, or `kind:file`; a file that begins with no slash is one of the usual bpf file system."""
    count_parts("iter", parts, span, 1, 2)
    if len(parts) == 1:
        return {"kind": parts[0]}
    if is_pattern(parts[0]):
        raise ScriptError(
            "one file can be one iterator alone", span, f"write the kind out: {parts[0]} is a wildcard"
        )
    return {"kind": parts[0], "pin": os.path.join(_BPFFS, parts[1])}


def _kinds(target: Target) -> Sequence[str]:
    """Kinds of objects: those with a struct for the context and a function for the verifier."""
    types = target.types
    if types is None:
        return ()
    found = {*types.names_after("func", _FUNCTION)} - {*_KINDS_OF_THEIR_OWN}
    return [name for name in types.names_after("struct", _STRUCT) if name in found]


def _expand(place: Place, target: Target) -> Sequence[Place]:
    return [{**place, "kind": kind} for kind in matching(place["kind"], _kinds(target))]


def _label(place: Place) -> str:
    return ":".join(("iter", place["kind"], *filter(None, (place.get("pin"),))))


def _struct(place: Place, target: Target) -> Struct | None:
    return target.types.struct(f"struct {_STRUCT}{place['kind']}") if target.types is not None else None


def _members(struct: Struct) -> tuple[Member, ...]:
    """Pointers stand in unions, so that programs of 32 bits see 8 bytes too."""
    return tuple(member for name in struct.names() if (member := struct.find(name)) is not None)


def _describe(place: Place, target: Target) -> Context:
    struct = _struct(place, target)
    pointers = [m for m in _members(struct) if isinstance(m.type, Pointer)] if struct is not None else []
    return Context(
        "iter",
        _label(place),
        "TRACING",
        expected_attach_type="TRACE_ITER",
        attach_btf=("func", _FUNCTION + place["kind"]),
        anyone=True,
        ctx=struct,
        enter=_there if "pin" in place else _enter,
        detail=tuple((m.offset, m.type) for m in pointers if m.name != _META),
        sequence=_sequence if "pin" in place else None,
    )


def _enter(gen: Gen) -> Value:
    """Leave a mark; then the body, if there is an object."""
    room = gen.temp(8, "mark")
    gen.b.store(room.base, room.offset, 8, 0)
    gen.b.call("seq_write", _sequence(gen), gen.address(room), 1)
    return _there(gen)


def _sequence(gen: Gen) -> Value:
    """The file that is being read: ctx->meta->seq."""
    return gen.b.load(gen.b.load(gen.b.ctx(), 0, 8), 0, 8)


def _there(gen: Gen) -> Value:
    """No object is missing: the kernel calls once more at the end."""
    for offset, type_ in gen.probe.detail:
        gen.object(offset, type_)
    return gen.b.const(1)


# --- running ----------------------------------------------------------------------------------


class _Reading(Iteration):
    """An iterator under way: its link, and the file that runs the program as it is read."""

    def __init__(self, link: Fd, file: Fd) -> None:
        self._link, self._file = link, file

    def read(self) -> bool:
        """Run the program for some more objects; False at the end."""
        try:
            return bool(os.read(self._file.fileno(), _OBJECTS))
        except OSError as error:
            if error.errno in (EAGAIN, EINTR):
                return True
            raise KernelError("cannot read an iterator", error.errno or 0) from error

    def close(self) -> None:
        self._file.close()
        self._link.close()


class _Pinned(Iteration):
    """An iterator left in a file: nothing is to be read here, and closing it leaves the file."""

    def read(self) -> bool:
        return False

    def close(self) -> None:
        pass


_HINTS = {ENOENT: "the running kernel has no such iterator: pbt -l 'iter:*'"}


def _attach(host: AttachHost, fd: int, program: Program) -> Sequence[Closeable]:
    from pbt.sys.links import iter_create, link_create

    with explained(program.name, _HINTS):
        link = link_create(fd, 0, "TRACE_ITER")
    with ExitStack() as stack:
        stack.callback(link.close)
        path = program.place.get("pin")
        if path:
            _pin(link, str(path))
            host.say(f"Program pinned to {path}")
            return (_Pinned(),)
        with explained(program.name, _HINTS):
            reading = _Reading(link, iter_create(link.fileno()))
        stack.pop_all()
        return (reading,)


def _pin(link: Fd, path: str) -> None:
    from pbt.sys.links import obj_pin

    try:
        obj_pin(link.fileno(), path)
    except KernelError as error:
        raise KernelError(error.what, error.errno, _pin_hint(path, error.errno) or error.hint) from error


def _pin_hint(path: str, number: int) -> str:
    """What to do about a file that cannot be; the kernel says EPERM where it is in no bpf file system."""
    from pbt.sys.mount import mounts

    if number == EEXIST:
        return f"to end that iterator: rm {path}"
    if number not in (ENOENT, EPERM):
        return ""
    known = mounts("bpf")
    if not known:
        return f"no bpf file system is mounted: mount -t bpf bpf {_BPFFS}"
    if number == ENOENT:
        return f"there is no such folder: mkdir {os.path.dirname(path)}"
    return f"the file must be in a bpf file system: {', '.join(known)}"


def _list(parts: Sequence[str], target: Target) -> Sequence[str]:
    return matching((parts[0] if parts else "") or "*", _kinds(target))


def _fields(place: Place, target: Target) -> Sequence[str]:
    struct = _struct(place, target)
    return [f"{m.ctype} {m.name}" for m in _members(struct)] if struct is not None else ()


ITER = Provider(
    "iter",
    "The kernel's objects of a kind, one after another: `iter:task { print(ctx.task.comm); }`, `iter:task:file`.",
    parse=_parse,
    expand=_expand,
    label=_label,
    describe=_describe,
    attach=_attach,
    absent=without_types,
    list=_list,
    fields=_fields,
    aliases=("it",),
    feature="iter",
    reverse=True,
)
