"""perf_event_open, what is done to its descriptors, and the buffer of perf events."""

from __future__ import annotations

import ctypes
import errno
import mmap
import struct
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import cache

from pbt.source import KernelError
from pbt.sys import bpf
from pbt.sys.fence import fence
from pbt.sys.hints import hint
from pbt.sys.syscall import Fd, call
from pbt.uapi import consts, structs

_DEVICES = "/sys/bus/event_source/devices"


def perf_event_open(
    type: int,
    config: int,
    *,
    pid: int = -1,
    cpu: int = -1,
    group: int = -1,
    sample_period: int = 0,
    sample_freq: int = 0,
    sample_type: int = 0,
    wakeup_events: int = 0,
    config1: int = 0,
    config2: int = 0,
    name: str | bytes = "",
    bp_type: int = 0,
    bp_addr: int = 0,
    bp_len: int = 0,
    attr_flags: Iterable[str] = ("disabled",),
    flags: int = consts.PERF_FLAG_FD_CLOEXEC,
) -> Fd:
    """Open a perf event, disabled unless `attr_flags` says otherwise (names of PERF_ATTR_FLAGS).

    pid -1: every process, 0: this one; cpu -1: any. `sample_freq` (per second) and `sample_period`
    exclude each other. `name`: a path or function name for the uprobe and kprobe devices, which read
    it through config1. `bp_addr` and `bp_len` are other names of config1 and config2.
    """
    text = (
        ctypes.create_string_buffer(name.encode(errors="surrogateescape") if isinstance(name, str) else name)
        if name
        else None
    )
    bits = {*attr_flags, "freq"} if sample_freq else set(attr_flags)
    attr = structs.PerfEventAttr(
        type=type, size=ctypes.sizeof(structs.PerfEventAttr), config=config, sample_type=sample_type,
        sample_period=sample_freq or sample_period, flags=_flags(bits), wakeup_events=wakeup_events,
        bp_type=bp_type, config1=ctypes.addressof(text) if text is not None else config1 or bp_addr,
        config2=config2 or bp_len,
    )  # fmt: skip
    result = _open(attr, pid, cpu, group, flags)
    if result == -errno.E2BIG:  # an older kernel: every field that is used here is in the first 72 bytes
        attr.size = 72
        result = _open(attr, pid, cpu, group, flags)
    if result < 0:
        raise KernelError(f"cannot open a perf event (type {type}, config {config})", -result, _why(-result))
    return Fd(result)


def _open(attr: structs.PerfEventAttr, pid: int, cpu: int, group: int, flags: int) -> int:
    return call("perf_event_open", ctypes.byref(attr), pid, cpu, group, flags)


def _flags(names: Iterable[str]) -> int:
    """Bit fields as the compilers of this machine lay them out."""
    little = sys.byteorder == "little"
    return sum(1 << (bit if little else 63 - bit) for bit in (structs.PERF_ATTR_FLAGS[n] for n in names))


def _why(number: int) -> str:
    if number in (errno.EACCES, errno.EPERM):
        return hint(errno.EPERM) + "; see also kernel.perf_event_paranoid"
    if number == errno.ENOENT:
        return "this machine does not have that event"
    if number == errno.ESRCH:
        return "no such process"
    return hint(number)


def _ioctl(fd: int, request: int, argument: int, what: str) -> None:
    import fcntl

    try:
        fcntl.ioctl(fd, request, argument)
    except OSError as error:
        number = error.errno or 0
        raise KernelError(what, number, hint(number)) from error


def ioctl_set_bpf(fd: int, prog_fd: int) -> None:
    """Run a program at each overflow of the event, which then holds the program."""
    _ioctl(fd, _number(consts.PERF_EVENT_IOC_SET_BPF), prog_fd, "cannot attach a program to a perf event")


def enable(fd: int) -> None:
    """Start the event."""
    _ioctl(fd, _number(consts.PERF_EVENT_IOC_ENABLE), 0, "cannot start a perf event")


def disable(fd: int) -> None:
    """Stop the event."""
    _ioctl(fd, _number(consts.PERF_EVENT_IOC_DISABLE), 0, "cannot stop a perf event")


_MOST_LEFT = 64  # events: they keep others waiting who start or end tracepoints, about 3 s in all


def let_go(events: Sequence[Fd]) -> None:
    """Close perf events of tracepoints. Those whose programs are detached already run nowhere when this returns.

    At the end of each, the kernel waits until every CPU has passed, under one lock (event_mutex), which is 40 ms
    and more. So only one is waited for (and those beyond `_MOST_LEFT`): an array, which is gone at once, is made
    the last to hold the others, and the kernel ends what an array held in a thread of its own.
    """
    left, waited = events[1 : 1 + _MOST_LEFT], [*events[:1], *events[1 + _MOST_LEFT :]]
    if left:
        with suppress(KernelError), bpf.map_create("PERF_EVENT_ARRAY", 4, 4, len(left)) as array:
            for i, event in enumerate(left):
                bpf.map_update(array.fileno(), struct.pack("=I", i), struct.pack("=I", event.fileno()))
            for event in left:
                event.close()
    for event in (*left, *waited):
        event.close()


def _number(request: int) -> int:
    """An ioctl's number on this machine: POWER, MIPS and SPARC encode the direction differently."""
    import os

    if not os.uname().machine.startswith(("ppc", "mips", "sparc")):
        return request
    direction = {0: 1, 1: 4, 2: 2}[request >> 30]  # _IOC_NONE, _IOC_WRITE, _IOC_READ
    return direction << 29 | request & (1 << 29) - 1


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError as error:
        raise KernelError(
            f"cannot read {path}", error.errno or 0, "this kernel is built without it"
        ) from error


@cache
def pmu_type(name: str) -> int:
    """The perf type number of a device ("kprobe", "uprobe", "msr"), which the kernel chooses at boot."""
    return int(_read(f"{_DEVICES}/{name}/type"))


@cache
def retprobe_bit(name: str) -> int:
    """The bit of `config` that asks the device "kprobe" or "uprobe" for function returns."""
    return 1 << int(_read(f"{_DEVICES}/{name}/format/retprobe").removeprefix("config:"))


# --- the buffer ------------------------------------------------------------------------------

_HEADER = struct.Struct("=IHH")  # perf_event_header: type, misc, size
_RAW = struct.Struct("=I")
_LOST = struct.Struct("=QQ")  # id, lost
_HEAD = structs.PerfMmapPage.data_head.offset // 8  # type: ignore[attr-defined]
_TAIL = structs.PerfMmapPage.data_tail.offset // 8  # type: ignore[attr-defined]


class _Ring:
    """One CPU's buffer: a page with the positions, then a power of two of pages with records. Owns the event."""

    def __init__(self, event: Fd, pages: int) -> None:
        self.event, self._size = event, pages * mmap.PAGESIZE
        try:
            self._map = mmap.mmap(event.fileno(), mmap.PAGESIZE + self._size)
        except OSError as error:
            event.close()
            number = error.errno or 0
            raise KernelError(
                f"cannot map {pages} pages of a perf buffer", number,
                "ask for fewer pages, or raise kernel.perf_event_mlock_kb",
            ) from error  # fmt: skip
        self._positions = memoryview(self._map)[: mmap.PAGESIZE].cast("Q")

    def take(self) -> bytes:
        """All that was written since the last time; frees its room. Positions only ever grow."""
        head, tail = self._positions[_HEAD], self._positions[_TAIL]
        if head == tail:
            return b""
        fence()  # the kernel wrote the records before the head
        start, length, page = tail % self._size, head - tail, mmap.PAGESIZE
        data = self._map[page + start : page + min(start + length, self._size)]
        if len(data) < length:  # the rest is at the beginning
            data += self._map[page : page + length - len(data)]
        fence()  # the records have been copied before the kernel may write over them
        self._positions[_TAIL] = head
        return data

    def close(self) -> None:
        self._positions.release()
        self._map.close()
        self.event.close()


class PerfBuffer:
    """The reading end of a PERF_EVENT_ARRAY: one buffer of `pages` (a power of two) for each CPU.

    `fds` become readable when there are records; `lost` counts those that found no room.
    """

    def __init__(self, map_fd: int, pages: int, cpus: Sequence[int]) -> None:
        self.lost = 0
        self._rings: list[_Ring] = []
        try:
            for cpu in cpus:
                self._add(map_fd, pages, cpu)
        except BaseException:
            self.close()
            raise

    def _add(self, map_fd: int, pages: int, cpu: int) -> None:
        try:
            event = perf_event_open(
                consts.PERF_TYPE_SOFTWARE, consts.PERF_COUNT_SW["BPF_OUTPUT"], cpu=cpu, sample_period=1,
                sample_type=consts.PERF_SAMPLE_RAW, wakeup_events=1,
            )  # fmt: skip
        except KernelError as error:
            if error.errno != errno.ENODEV:
                raise
            return  # the CPU went offline after it was listed
        self._rings.append(_Ring(event, pages))
        bpf.map_update(map_fd, struct.pack("=I", cpu), struct.pack("=I", event.fileno()))
        enable(event.fileno())

    @property
    def fds(self) -> tuple[int, ...]:
        return tuple(ring.event.fileno() for ring in self._rings)

    def drain(self, callback: Callable[[bytes], object]) -> int:
        """Hand over the data of every record, CPU by CPU; how many there were.

        The kernel pads data to 4 bytes less than a multiple of 8.
        """
        return sum(self._records(ring.take(), callback) for ring in self._rings)

    def _records(self, data: bytes, callback: Callable[[bytes], object]) -> int:
        at, count, end = 0, 0, len(data)
        while at < end:
            kind, _, size = _HEADER.unpack_from(data, at)
            if kind == consts.PERF_RECORD_SAMPLE:
                callback(data[at + 12 : at + 12 + _RAW.unpack_from(data, at + 8)[0]])
                count += 1
            elif kind == consts.PERF_RECORD_LOST:
                self.lost += _LOST.unpack_from(data, at + 8)[1]
            at += size
        return count

    def close(self) -> None:
        """Give everything back; a second time does nothing."""
        rings, self._rings = self._rings, []
        for ring in rings:
            ring.close()
