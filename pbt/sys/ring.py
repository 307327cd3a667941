"""The BPF ring buffer, read through its memory maps.

The file of a map of type RINGBUF offers one page with the consumer's position, which the reader
writes, then one with the producer's, then the data area twice, so that no record is ever split.
A record is a header of 8 bytes and its data, rounded up to 8; the header's first word is the length
and two flags. Source: kernel/bpf/ringbuf.c.
"""

from __future__ import annotations

import mmap

from pbt.data import NamedTuple
from pbt.source import KernelError
from pbt.sys.fence import fence
from pbt.sys.hints import hint
from pbt.uapi.consts import BPF_RINGBUF_BUSY_BIT, BPF_RINGBUF_DISCARD_BIT, BPF_RINGBUF_HDR_SZ

_LENGTH = BPF_RINGBUF_DISCARD_BIT - 1
_HELD = 8  # bytes that stay taken, so that the consumer's position is that of no record


class Run(NamedTuple):
    """Records of `length` bytes each, one every `stride` bytes of `block`, each behind its header."""

    length: int
    stride: int
    block: bytes

    def records(self) -> list[bytes]:
        """The data of each record."""
        head, block = BPF_RINGBUF_HDR_SZ, self.block
        return [block[at + head : at + head + self.length] for at in range(0, len(block), self.stride)]


def _mapped(
    map_fd: int, length: int, prot: int = mmap.PROT_READ | mmap.PROT_WRITE, offset: int = 0
) -> mmap.mmap:
    try:
        return mmap.mmap(map_fd, length, prot=prot, offset=offset)
    except OSError as error:
        number = error.errno or 0
        raise KernelError("cannot map the ring buffer", number, hint(number)) from error


class RingBuffer:
    """The reading end of the ring buffer map `map_fd`, whose data area has `size` bytes.

    The map's descriptor stays the caller's; it becomes readable when there are records.
    """

    def __init__(self, map_fd: int, size: int) -> None:
        self._fd, self._mask = map_fd, size - 1
        page = mmap.PAGESIZE
        self._own = _mapped(map_fd, page)
        try:
            self._data = _mapped(map_fd, page + 2 * size, prot=mmap.PROT_READ, offset=page)
        except KernelError:
            self._own.close()
            raise
        self._consumer = memoryview(self._own).cast("L")  # both positions are unsigned longs
        # Where these have 32 bits, they begin again after 4 GiB.
        self._wrap = 1 << 8 * self._consumer.itemsize
        self._producer = memoryview(self._data)[:page].cast("L")
        self._words = memoryview(self._data)[page:].cast("I")
        self._at = self._consumer[0]

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._fd

    @property
    def pause(self) -> float:
        """Seconds in which even a gigabyte of records a second cannot fill the buffer."""
        return (self._mask + 1) / 1e9

    def drain(self) -> list[bytes]:
        """The data of all finished records, in order; frees their room, and wants to be woken for the next.

        Stops at a record that a program has reserved but not yet submitted.
        """
        records = [record for run in self.runs() for record in run.records()]
        self.rest()
        return records

    def rest(self) -> bool:
        """Free the room of all records taken, so that the next one wakes whoever waits; False if it is there already.

        The kernel wakes the reader for a record that begins where the consumer's position is.
        """
        self._consumer[0] = self._at
        fence()  # whoever submits now has seen that position, or its record is seen here
        at = self._at & self._mask
        return self._producer[0] == self._at or bool(self._words[at >> 2] & BPF_RINGBUF_BUSY_BIT)

    def runs(self) -> list[Run]:
        """The same records as `drain`, those of equal length that follow each other in one piece.

        Nothing is done for each single record of a run, so the room is free again within microseconds.
        Who takes records this way is not woken for the next, which costs the traced program more than all
        else about it: the consumer's position stays `_HELD` bytes behind until `rest`.
        """
        produced = self._producer[0]
        if produced == self._at:
            return []
        fence()  # the producer wrote its records before its position
        start = self._at & self._mask
        found, end = self._scan(start, start + (produced - self._at) % self._wrap)
        if end == start:  # the first is still being written: its end wakes the reader
            return []
        fence()  # the headers were seen finished before the data is read
        base = mmap.PAGESIZE
        taken = [Run(length, stride, self._data[base + at : base + to]) for length, stride, at, to in found]
        fence()  # the data has been copied before the producer may write over it
        self._at = (self._at + end - start) % self._wrap
        self._consumer[0] = (self._at - _HELD) % self._wrap
        return taken

    def _scan(self, start: int, end: int) -> tuple[list[tuple[int, int, int, int]], int]:
        """(length, stride, from, to) of each run of finished records, and where the finished ones end."""
        words, at = self._words, start
        found: list[tuple[int, int, int, int]] = []
        while at < end:
            head = words[at >> 2]
            if head & BPF_RINGBUF_BUSY_BIT:
                break
            first, stride, window = at, ((head & _LENGTH) + 15) & -8, 1
            while at < end:  # look at as many headers at a time as have been equal so far
                heads = words[at >> 2 : min(end, at + window * stride) >> 2 : stride >> 2].tolist()
                if heads.count(head) < len(heads):
                    at += stride * next(i for i, other in enumerate(heads) if other != head)
                    break
                at, window = at + stride * len(heads), 2 * window
            if not head & BPF_RINGBUF_DISCARD_BIT:
                found.append((head, stride, first, at))
        return found, at

    def close(self) -> None:
        """Give the memory back; a second time does nothing."""
        for view in (self._consumer, self._producer, self._words):
            view.release()
        self._own.close()
        self._data.close()
