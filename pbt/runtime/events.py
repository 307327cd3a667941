"""Records from the kernel → decoded values, and in bulk straight to text."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Iterator, Sequence

from pbt.bundle import Bundle, Event
from pbt.printf import Draw, Format, Narrow
from pbt.sys import bpf
from pbt.sys.ring import RingBuffer, Run
from pbt.types import Str
from pbt.typing import TYPE_CHECKING, Any, Literal
from pbt.uapi.consts import BPF_RINGBUF_HDR_SZ

if TYPE_CHECKING:
    from pbt.runtime.load import Loaded
    from pbt.sys.perf import PerfBuffer

BUFFER, LOST = "ringbuf", "lost"  # maps that the compiled script may bring
_ORDER: Literal["little", "big"] = sys.byteorder
_HEAD = BPF_RINGBUF_HDR_SZ
_PIECE = 1024
_PERF_PAGES = 64  # for each CPU
_PAUSE = 0.005  # seconds: nobody who reads along notices


class Reader:
    """The buffer through which a script's records come, whichever kind the bundle asks for.

    A script that sends nothing has none: no descriptors, no records.
    """

    def __init__(self, bundle: Bundle, loaded: Loaded) -> None:
        self._ring: RingBuffer | None = None
        self._perf: PerfBuffer | None = None
        self._lost_map = loaded.map(LOST) if LOST in loaded.maps else None
        found = next((m for m in bundle.maps if m.name == BUFFER), None)
        if found is None:
            return
        if found.map_type == "RINGBUF":
            fd = loaded.map(BUFFER)
            self._ring = RingBuffer(fd, bpf.map_info(fd).max_entries)
        else:
            from pbt.sys.perf import PerfBuffer

            pages = int(bundle.config.get("perf_rb_pages") or _PERF_PAGES)
            self._perf = PerfBuffer(loaded.map(BUFFER), 1 << (pages - 1).bit_length(), bpf.online_cpus())

    @property
    def fds(self) -> Sequence[int]:
        """Descriptors that become readable when records are there."""
        if self._ring is not None:
            return (self._ring.fileno(),)
        return tuple(self._perf.fds) if self._perf is not None else ()

    def read(self) -> Sequence[Run]:
        """All records there are now, each buffer's in order."""
        if self._ring is not None:
            return self._ring.runs()
        found: list[Run] = []
        if self._perf is not None:
            self._perf.drain(
                lambda data: found.append(Run(len(data), _HEAD + len(data), bytes(_HEAD) + data))
            )
        return found

    @property
    def pause(self) -> float:
        """Seconds that records which keep coming may wait to be taken together; 0: none."""
        return 0.0 if self._ring is None else min(_PAUSE, self._ring.pause)

    def rest(self) -> bool:
        """Want to be told of the next record; False if there is one already."""
        return self._ring is None or self._ring.rest()

    def lost(self) -> int:
        """How many records have found no room since the start."""
        data = bpf.map_lookup(self._lost_map, bytes(4), 8) if self._lost_map is not None else None
        counted = int.from_bytes(data, _ORDER) if data else 0
        if self._perf is not None:
            # Programs hear of it since Linux 5.2; the buffer's own count comes late.
            return max(counted, self._perf.lost)
        return counted

    def close(self) -> None:
        for buffer in (self._ring, self._perf):
            if buffer is not None:
                buffer.close()
        self._ring = self._perf = None


def values(event: Event, record: bytes) -> tuple[Any, ...]:
    """A record's own fields, decoded (those after the two of its header)."""
    return event.record.decode(record)[2:]


def parts(run: Run) -> Iterator[tuple[int, Run]]:
    """A run cut where the event changes, with the event's number, and into pieces that fit a CPU's cache."""
    length, stride, block = run
    numbers = memoryview(block).cast("I")[_HEAD >> 2 :: stride >> 2].tolist()
    start, count = 0, len(numbers)
    while start < count:
        number, end = numbers[start], min(count, start + _PIECE)
        if numbers[start:end].count(number) < end - start:
            end = next(i for i in range(start, end) if numbers[i] != number)
        whole = start == 0 and end == count
        yield number, run if whole else Run(length, stride, block[start * stride : end * stride])
        start = end


Bulk = Callable[[Run], Sequence[bytes]]


def bulk(event: Event, draw: Callable[[Any], Draw]) -> Bulk | None:
    """A function from runs of records of a printf-like event to their texts.

    `draw` gives how a type prints. None if some field cannot be unpacked in bulk. It works in
    columns: what a field must go through is done for all records at once, then one formatting
    operation of the interpreter joins each row.
    """
    layout = event.record.struct
    if layout is None:
        return None
    form = Format.parse(event.text)
    types = [field.type for field in event.record.fields[2:]]
    prepare = form.bind(types, [draw(type_) for type_ in types])
    columns = [
        _column(type_.size if isinstance(type_, Str) else 0, change)
        for type_, change in zip(types, prepare, strict=True)
    ]
    return _bulk(layout, form.template, columns)


Column = Callable[[Sequence[Any]], Sequence[Any]]


def _bulk(layout: struct.Struct, template: bytes, columns: Sequence[Column | None]) -> Bulk:
    strided: dict[int, struct.Struct] = {}
    render = template.__mod__
    constant = b"" if columns else template % ()

    def texts(run: Run) -> Sequence[bytes]:
        if not columns:
            return [constant] * (len(run.block) // run.stride)
        if run.stride not in strided:
            strided[run.stride] = _strided(layout, run.stride)
        fields = zip(*strided[run.stride].iter_unpack(run.block), strict=True)
        ready = [f if change is None else change(f) for f, change in zip(fields, columns, strict=True)]
        return list(map(render, zip(*ready, strict=True)))

    return texts


def _strided(layout: struct.Struct, stride: int) -> struct.Struct:
    """The layout of a record's own fields where it lies in a run: behind two headers, before its padding."""
    assert layout.format.startswith("<II"), layout.format
    return struct.Struct(f"<{_HEAD + 8}x{layout.format[3:]}{stride - _HEAD - layout.size}x")


def _column(text: int, change: Draw | None) -> Column | None:
    """What a whole column goes through: text is cut at its NUL, then each value is drawn."""
    if isinstance(change, Narrow):
        return change.column
    if not text:
        return None if change is None else lambda column: list(map(change, column))
    if change is None or change is bytes:
        return lambda column: [value.partition(b"\0")[0] for value in column]
    draw = change
    return lambda column: [draw(value.partition(b"\0")[0]) for value in column]
