"""Records for user space: reserved in the ring buffer and filled in place, or built in scratch
memory and sent through the perf buffer where the kernel has no ring buffer (before v5.8)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pbt.bundle import Event, Map
from pbt.feature import Mem
from pbt.record import Record
from pbt.source import NOWHERE, ScriptError
from pbt.types import U32, Type
from pbt.typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pbt.ir.core import Value
    from pbt.lower.body import Body

RING, LOST = "ringbuf", "lost"
_CURRENT_CPU = 0xFFFFFFFF  # BPF_F_CURRENT_CPU
_RING_BYTES = 4 << 20


@contextmanager
def event(
    body: Body, action: str, fields: Sequence[tuple[str, Type]], text: str, args: Sequence[Any]
) -> Iterator[Sequence[Mem]]:
    """One record: u32 id, u32 reserved, then the fields; sent when the `with` ends."""
    if body.probe.sequence is not None:
        raise ScriptError(
            f"{action}() is for pbt to do, but a pinned iterator runs for whoever reads its file",
            body.b.span or NOWHERE,
            "printf() alone works there; without the name of a file all do",
        )
    record = Record.of([("id", U32), ("_", U32), *fields], wide=True)
    number = body.add_event(Event(action, record, text, tuple(args), body.place_of(body.b.span)))
    send = _ring if body.has("ringbuf") else _perf
    with send(body, record.size) as base:
        body.b.store(base.base, base.offset, 8, number)
        yield [base + field.offset for field in record.fields[2:]]


@contextmanager
def _ring(body: Body, size: int) -> Iterator[Mem]:
    b = body.b
    ring = body.declare(Map(RING, "RINGBUF", 0, 0, _RING_BYTES))
    record = b.call("ringbuf_reserve", b.map(ring), size, 0, kind="mem")
    room, full, after = b.block("room"), b.block("full"), b.block("sent")
    b.branch("ne", record, 0, room, full)
    b.place(full)
    _count_lost(body)
    b.jump(after)
    b.place(room)
    yield Mem(record)
    b.call("ringbuf_submit", record, 0)
    b.jump(after)
    b.place(after)


@contextmanager
def _perf(body: Body, size: int) -> Iterator[Mem]:
    """What is lost is counted here, too: the perf buffer itself tells it with the next record, which may never come."""
    b = body.b
    ring = body.declare(Map(RING, "PERF_EVENT_ARRAY", 4, 4, 0))
    room = body.temp(size, "record")
    yield room
    refusal = b.call("perf_event_output", b.ctx(), b.map(ring), _CURRENT_CPU, body.address(room), size)
    with b.when("ne", refusal, 0):
        _count_lost(body)


def _count_lost(body: Body) -> None:
    lost: Value = body.b.map_value(body.declare(Map(LOST, "ARRAY", 4, 8, 1)))
    body.b.atomic_add(lost, 0, 8, 1)
