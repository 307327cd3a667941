"""Records for user space: their layout, both ways of sending them, and those that find no room."""

from __future__ import annotations

import struct
from typing import Any

from pbt.types import Str
from tests.unit.lower.machine import MODERN, Ran, compiled, machine


def test_records_carry_the_number_of_their_event() -> None:
    ran = Ran('BEGIN { printf("a %d\\n", pid); printf("b %s %d\\n", comm, (int8)-1); printf("c\\n"); }')
    assert [struct.unpack_from("<II", record) for record in ran.records] == [(0, 0), (1, 0), (2, 0)]
    assert ran.sent == [("printf", 11), ("printf", b"bash", -1), ("printf",)]
    assert [event.text for event in ran.made.events] == ["a %d\n", "b %s %d\n", "c\n"]
    assert all(len(record) % 8 == 0 for record in ran.records)


def test_events_know_their_place_in_the_script() -> None:
    script = 'BEGIN { printf("x"); print(pid); }'
    events = Ran(script).made.events
    assert [script[e.span.start : e.span.end].partition("(")[0] for e in events] == ["printf", "print"]


def test_the_layout_is_that_of_the_types() -> None:
    (event,) = Ran("BEGIN { print((pid, comm)); }").made.events
    field = event.record.fields[2]
    assert (field.offset, event.record.size % 8) == (8, 0) and isinstance(field.type.elements[1], Str)  # type: ignore[attr-defined]


def test_a_full_ring_buffer_counts_what_is_lost() -> None:
    class Full(Ran):
        def _ringbuf_reserve(self, *_: Any) -> int:
            return 0

    ran = Full("BEGIN { print(1); print(2); @after = 1; }", times=[{}, {}])
    assert ran.records == [] and ran.maps == {"@after": 1}
    assert ran.contents("lost") == {bytes(4): (4).to_bytes(8, "little")}


def test_arguments_are_evaluated_only_if_there_is_room() -> None:
    """A record's fields are written in place."""
    ran = Ran('BEGIN { printf("%d %d\\n", @x++, @x++); }')
    assert ran.sent == [("printf", 0, 1)] and ran.maps == {"@x": 2}


OLD = machine(tuple(f for f in MODERN if f not in ("ringbuf", "probe_read_kernel", "cpu_v4")))


def test_without_a_ring_buffer_records_go_through_the_perf_buffer() -> None:
    ran = Ran('BEGIN { print((pid, comm)); printf("%s\\n", str({p})); }', memory={"p": b"text\0"}, target=OLD)
    assert ran.sent == [("print", (11, b"bash")), ("printf", b"text")]
    assert {m.map_type for m in ran.made.maps if m.name == "ringbuf"} == {"PERF_EVENT_ARRAY"}


def test_a_full_perf_buffer_counts_what_is_lost() -> None:
    class Full(Ran):
        def _perf_event_output(self, *_: Any) -> int:
            return -28 & (1 << 64) - 1  # ENOSPC

    ran = Full("BEGIN { print(1); print(2); @after = 1; }", target=OLD)
    assert ran.maps == {"@after": 1} and ran.contents("lost") == {bytes(4): (2).to_bytes(8, "little")}


def test_old_kernels_get_no_new_helper() -> None:
    work = compiled(
        'BEGIN { printf("%s\\n", str(pid)); @a = *(uint64 *)5; '
        '@k["a long enough key for a copy by call of a helper, and even more"] = 1; }',
        target=OLD,
    )
    assert work.bundle is not None
    called = {op.name for p in work.passed for f in p.functions for op in f.ops() if op.code == "call"}
    assert "perf_event_output" in called and "probe_read_str" in called and "probe_read" in called
    assert not called & {
        "ringbuf_reserve",
        "probe_read_kernel",
        "probe_read_kernel_str",
        "probe_read_user",
        "probe_read_user_str",
    }
    assert "ringbuf" not in work.bundle.features


def test_features_that_code_relies_on_are_named() -> None:
    bundle = compiled("BEGIN { print(1); @c = count(); print(@c + 1); @x = nsecs(tai); }").bundle
    assert bundle is not None and {"ringbuf", "map_lookup_percpu_elem", "ktime_get_tai_ns"} <= set(
        bundle.features
    )
