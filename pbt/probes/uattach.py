"""How places in programs and libraries are attached to: by a link for many of a file, or a perf event."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from errno import EINVAL, ENOENT, ESRCH
from functools import partial

from pbt.data import NamedTuple
from pbt.feature import Place
from pbt.probes.common import all_or_none, explained, on_event
from pbt.probes.uprobe import MULTI, PMU, SESSION, elf_of
from pbt.source import KernelError
from pbt.sys import perf
from pbt.sys.links import link_uprobe_multi
from pbt.typing import TYPE_CHECKING, Any
from pbt.uapi.consts import BPF_F_UPROBE_MULTI_RETURN

if TYPE_CHECKING:
    from pbt.bundle import Program
    from pbt.views import AttachHost, Closeable

_COUNTER_BIT = 32  # of the PMU's config: where the offset of the counter stands (4.20)
ENOTSUPP = 524  # the kernel's own (include/linux/errno.h): an instruction that uprobes cannot step over
_HINTS = {
    ENOTSUPP: "the kernel has no way to run the instruction there elsewhere, one with a `lock` prefix for instance",
    EINVAL: "the place may not be the start of an instruction, or the file may not be mapped as code",
    ENOENT: "the file or the function is not on this machine",
    ESRCH: "the process is gone",
}


def file_offset(place: Place) -> int:
    """Where in the file the place's instruction stands. KernelError ENOENT if the file has no such place."""
    elf = elf_of(place["path"])
    found = elf.symbol(place["symbol"]) if elf is not None and place["symbol"] else (0, 0)
    offset = elf.offset(found[0] + place["offset"]) if elf is not None and found else None
    if offset is None:
        raise KernelError(f"no {place['symbol'] or hex(place['offset'])} in {place['path']}", ENOENT)
    return offset


class Spot(NamedTuple):
    """Where a program goes: bytes from the start of the file to the instruction, and to the counter of users
    that the kernel is to keep there (0: none)."""

    path: str
    offset: int
    counter: int = 0


def spot(place: Place) -> Spot:
    return Spot(place["path"], file_offset(place))


def _mapped(spot: Spot) -> Spot:
    """The same in the file that processes map: for a library in an archive, the archive."""
    if "!/" not in spot.path:
        return spot
    from pbt.host.archive import member

    found = member(spot.path)
    if found is None:
        return spot
    counter = spot.counter + found.offset if spot.counter else 0
    return Spot(found.archive, spot.offset + found.offset, counter)


def attach(
    find: Callable[[Place], Spot], returns: bool, host: AttachHost, fd: int, program: Program
) -> Sequence[Closeable]:
    """By a uprobe_multi link where the program was made for one (6.6), else by the uprobe PMU (4.17)."""
    if program.expected_attach_type in (MULTI, SESSION):
        return attach_many(find, returns, host, fd, (program,))[0]
    with explained(program.name, _HINTS):
        spot = _mapped(find(program.place))
        flags = (perf.retprobe_bit(PMU) if returns else 0) | spot.counter << _COUNTER_BIT
        who = {"pid": -1, "cpu": 0} if host.pid is None else {"pid": host.pid, "cpu": -1}
        where: dict[str, Any] = {"name": spot.path, "config2": spot.offset, **who}
        try:
            return on_event(fd, cookie=program.cookie, type=perf.pmu_type(PMU), config=flags, **where)
        except KernelError as error:
            if program.place.get("matched") and error.errno == ENOTSUPP:
                return ()
            raise


def attach_many(
    find: Callable[[Place], Spot], returns: bool, host: AttachHost, fd: int, programs: Sequence[Program]
) -> tuple[Sequence[Closeable], int]:
    """One link for all places of a file, or, in a session, for both ends of its functions; where the kernel refuses
    some that a wildcard matched, as few links as leave those out."""
    kind, count = programs[0].expected_attach_type, 0
    if kind not in (MULTI, SESSION):
        with all_or_none() as links:
            for program in programs:
                added = attach(find, returns, host, fd, program)
                links += added
                count += bool(added)
        return links, count
    with explained(programs[0].name, _HINTS), all_or_none() as links:
        marked = [(_mapped(find(program.place)), program.cookie) for program in programs]
        ends = (
            {"session": True} if kind == SESSION else {"flags": BPF_F_UPROBE_MULTI_RETURN if returns else 0}
        )
        spots, paths = sorted(set(marked)), dict.fromkeys(spot.path for spot, _ in marked)
        linked: set[tuple[Spot, int]] = set()
        must = not programs[0].place.get("matched")
        for path in paths:
            link = partial(_link, fd, path, ends=ends, host=host)
            linked.update(_links(links, link, [s for s in spots if s[0].path == path], must))
        return links, sum(mark in linked for mark in marked)


def _links(
    links: list[Closeable],
    link: Callable[[Sequence[tuple[Spot, int]]], Closeable],
    spots: Sequence[tuple[Spot, int]],
    must: bool,
) -> Sequence[tuple[Spot, int]]:
    """Add links to places; to which. Instructions that the kernel cannot run elsewhere (with a `lock` before them)
    are left out, unless they `must` be."""
    try:
        links.append(link(spots))
        return spots
    except KernelError as error:
        if must or error.errno != ENOTSUPP:
            raise
        if len(spots) == 1:
            return ()
    half = len(spots) // 2
    return [*_links(links, link, spots[:half], must), *_links(links, link, spots[half:], must)]


def _link(
    fd: int, path: str, spots: Sequence[tuple[Spot, int]], ends: Mapping[str, Any], host: AttachHost
) -> Closeable:
    """`spots`: places of the file, each with its cookie; `ends`: which of the functions' ends, as
    `link_uprobe_multi` takes it."""
    counters, cookies = [spot.counter for spot, _ in spots], [cookie for _, cookie in spots]
    return link_uprobe_multi(
        fd,
        path,
        [spot.offset for spot, _ in spots],
        ref_ctr_offsets=counters if any(counters) else (),
        cookies=cookies if any(cookies) else (),
        pid=host.pid or 0,
        **ends,
    )
