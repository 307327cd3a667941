"""The readers of shared buffers, on buffers that the test writes itself."""

from __future__ import annotations

import errno
import mmap
import os
import struct
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbt.source import KernelError
from pbt.sys.perf import PerfBuffer, _Ring
from pbt.sys.ring import RingBuffer
from pbt.sys.syscall import Fd

SIZE = mmap.PAGESIZE
WRAP = 1 << 8 * struct.calcsize("L")
BUSY, DISCARDED = 1 << 31, 1 << 30


class Producer:
    """The kernel's half of a ring buffer, in a file: every byte is written to both copies of the data."""

    def __init__(self, at: int = 0) -> None:
        """`at`: how many bytes there have been before."""
        self.fd = os.memfd_create("ring")
        os.ftruncate(self.fd, 2 * mmap.PAGESIZE + 2 * SIZE)
        self.at = at
        for page in (0, mmap.PAGESIZE):
            os.pwrite(self.fd, struct.pack("L", at), page)

    def room(self) -> int:
        consumer = struct.unpack("L", os.pread(self.fd, struct.calcsize("L"), 0))[0]
        return int(SIZE - (self.at - consumer) % WRAP)

    def write(self, data: bytes, flags: int = 0) -> bool:
        record = struct.pack("=II", len(data) | flags, 0) + data
        record += bytes(-len(record) % 8)
        if len(record) > self.room():
            return False
        start = self.at % SIZE
        image = bytearray(os.pread(self.fd, 2 * SIZE, 2 * mmap.PAGESIZE))
        image[start : start + len(record)] = record
        for i in range(start, start + len(record)):
            image[i % SIZE] = image[i % SIZE + SIZE] = image[i]
        os.pwrite(self.fd, image, 2 * mmap.PAGESIZE)
        self.at = (self.at + len(record)) % WRAP
        os.pwrite(self.fd, struct.pack("L", self.at), mmap.PAGESIZE)
        return True


def test_a_ring_that_cannot_be_mapped_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    producer, made = Producer(), list[mmap.mmap]()

    def once(*args: Any, **more: Any) -> mmap.mmap:
        if made:
            raise OSError(errno.ENOMEM, "no memory")
        made.append(whole(*args, **more))
        return made[0]

    whole = mmap.mmap
    with monkeypatch.context() as patched, pytest.raises(KernelError, match="cannot map the ring buffer"):
        patched.setattr(mmap, "mmap", once)
        RingBuffer(producer.fd, SIZE)
    assert made[0].closed
    os.close(producer.fd)


def test_an_event_that_cannot_be_mapped_is_closed() -> None:
    reading, writing = map(Fd, os.pipe())
    with writing, pytest.raises(KernelError, match="cannot map 2 pages"):
        _Ring(reading, 2)
    assert reading.fileno() == -1


@given(st.lists(st.tuples(st.binary(max_size=900), st.booleans(), st.booleans()), max_size=30))
def test_a_ring_gives_back_what_was_written(steps: Sequence[tuple[bytes, bool, bool]]) -> None:
    producer, sent, got = Producer(), list[bytes](), list[bytes]()
    reader = RingBuffer(producer.fd, SIZE)
    for data, discard, read_now in steps:
        if read_now:
            got += reader.drain()
        flags = DISCARDED if discard else 0
        if not producer.write(data, flags):
            got += reader.drain()
            assert producer.room() == SIZE and producer.write(data, flags)
        if not discard:
            sent.append(data)
    got += reader.drain()
    assert got == sent and producer.room() == SIZE
    reader.close()
    os.close(producer.fd)


def test_a_ring_stops_at_an_unfinished_record() -> None:
    producer = Producer()
    reader = RingBuffer(producer.fd, SIZE)
    producer.write(b"first")
    at = producer.at
    producer.write(b"second", BUSY)
    producer.write(b"third")
    assert reader.drain() == [b"first"] and reader.drain() == []
    for copy in (0, SIZE):
        os.pwrite(producer.fd, struct.pack("=I", 6), 2 * mmap.PAGESIZE + at + copy)
    assert reader.drain() == [b"second", b"third"]
    reader.close()
    os.close(producer.fd)


def test_nothing_is_taken_while_the_very_first_record_is_being_written() -> None:
    producer = Producer()
    reader = RingBuffer(producer.fd, SIZE)
    producer.write(b"first", BUSY)
    assert reader.runs() == [] and producer.room() == SIZE - 16
    assert reader.rest()
    for copy in (0, SIZE):
        os.pwrite(producer.fd, struct.pack("=I", 5), 2 * mmap.PAGESIZE + copy)
    assert [run.records() for run in reader.runs()] == [[b"first"]]
    reader.close()
    os.close(producer.fd)


def sample(data: bytes) -> bytes:
    raw = data + bytes(-(len(data) + 4) % 8)
    return struct.pack("=IHHI", 9, 0, 12 + len(raw), len(raw)) + raw


@given(st.lists(st.one_of(st.binary(max_size=50), st.integers(1, 1000)), max_size=20))
def test_perf_records_are_told_apart(steps: Sequence[bytes | int]) -> None:
    image = b"".join(
        sample(step) if isinstance(step, bytes) else struct.pack("=IHHQQ", 2, 0, 24, 1, step)
        for step in steps
    )
    buffer, got = PerfBuffer(-1, 1, ()), list[bytes]()
    count = buffer._records(image, got.append)
    texts = [step for step in steps if isinstance(step, bytes)]
    assert count == len(texts) == len(got)
    assert all(record.startswith(text) for record, text in zip(got, texts, strict=True))
    assert buffer.lost == sum(step for step in steps if isinstance(step, int))


def test_who_takes_runs_is_not_woken_until_it_rests() -> None:
    """The kernel wakes for a record that begins at the consumer's position: none does before `rest`."""
    producer = Producer()
    reader = RingBuffer(producer.fd, SIZE)
    producer.write(b"first")
    assert [run.records() for run in reader.runs()] == [[b"first"]]
    assert 0 < SIZE - producer.room() < 16  # less than any record: it is where none begins
    producer.write(b"second")
    assert not reader.rest()  # it is there already, nobody will tell
    assert [run.records() for run in reader.runs()] == [[b"second"]]
    assert reader.rest() and producer.room() == SIZE
    producer.write(b"third", BUSY)
    assert reader.rest() and reader.runs() == []  # whoever submits it will tell
    reader.close()
    os.close(producer.fd)


def test_positions_may_begin_again() -> None:
    """As they do after 4 GiB where longs have 32 bits."""
    producer = Producer(WRAP - 40)
    reader = RingBuffer(producer.fd, SIZE)
    for number in range(9):
        assert producer.write(b"%d" % number * 10)
        assert [run.records() for run in reader.runs()] == [[b"%d" % number * 10]]
    assert reader.rest() and producer.room() == SIZE and reader.runs() == []
    reader.close()
    os.close(producer.fd)
