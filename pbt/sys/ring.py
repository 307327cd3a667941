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


class Run(NamedTuple):
    """Records of `length` bytes each, one every `stride` bytes of `block`, each behind its header."""

    length: int
    stride: int
    block: bytes

    def records(self) -> list[bytes]:
        """The data of each record."""
        starts = range(BPF_RINGBUF_HDR_SZ, len(self.block), self.stride)
        return [self.block[at : at + self.length] for at in starts]


class RingBuffer:
    """The reading end of the ring buffer map `map_fd`, whose data area has `size` bytes.

    The map's descriptor stays the caller's; it becomes readable when there are records.
    """

    def __init__(self, map_fd: int, size: int) -> None:
        self._fd, self._mask = map_fd, size - 1
        page = mmap.PAGESIZE
        try:
            self._own = mmap.mmap(map_fd, page)
            self._data = mmap.mmap(map_fd, page + 2 * size, prot=mmap.PROT_READ, offset=page)
        except OSError as error:
            number = error.errno or 0
            raise KernelError("cannot map the ring buffer", number, hint(number)) from error
        self._consumer = memoryview(self._own).cast("L")  # both positions are unsigned longs
        self._producer = memoryview(self._data)[:page].cast("L")
        self._words = memoryview(self._data)[page:].cast("I")
        self._at = self._consumer[0]

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._fd

    def drain(self) -> list[bytes]:
        """The data of all finished records, in order; frees their room.

        Stops at a record that a program has reserved but not yet submitted.
        """
        produced = self._producer[0]
        left = produced - self._at
        if not left:
            return []
        fence()  # the producer wrote its records before its position
        records: list[bytes] = []
        add, words, data, mask = records.append, self._words, self._data, self._mask
        base = mmap.PAGESIZE + BPF_RINGBUF_HDR_SZ
        while left > 0:
            at = (produced - left) & mask
            head = words[at >> 2]
            if head & BPF_RINGBUF_BUSY_BIT:
                break
            length = head & _LENGTH
            if not head & BPF_RINGBUF_DISCARD_BIT:
                # the address that is read depends on the header, so it cannot be read before it
                end = base + at + length
                add(data[end - length : end])
            left -= (length + 15) & -8
        fence()  # the data has been copied before the producer may write over it
        self._at = self._consumer[0] = produced - left
        return records

    def runs(self) -> list[Run]:
        """The same records as `drain`, those of equal length that follow each other in one piece.

        Nothing is done for each single record of a run, so the room is free again within microseconds.
        """
        produced = self._producer[0]
        if produced == self._at:
            return []
        fence()  # the producer wrote its records before its position
        start = self._at & self._mask
        found, end = self._scan(start, start + produced - self._at)
        fence()  # the headers were seen finished before the data is read
        base = mmap.PAGESIZE
        taken = [Run(length, stride, self._data[base + at : base + to]) for length, stride, at, to in found]
        fence()  # the data has been copied before the producer may write over it
        self._at = self._consumer[0] = self._at + end - start
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
