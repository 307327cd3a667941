"""The system calls, on the running kernel."""

from __future__ import annotations

import os
import random
import select
import struct
import time
from collections.abc import Iterator

import pytest

from pbt.isa.asm import assemble
from pbt.isa.insn import Insn, encode, wide
from pbt.source import KernelError
from pbt.sys import bpf, links, objects, perf
from pbt.sys.mount import tracefs
from pbt.sys.ring import RingBuffer
from pbt.uapi import consts
from pbt.uapi.helpers import HELPERS
from tests.conftest import PATIENCE
from tests.live.held import link_info

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
]

_IDS = {name: helper.id for name, helper in HELPERS.items()}


def asm(text: str, **maps: int) -> bytes:
    """Instructions; a line `r1 = NAME` loads the map whose descriptor is given, `r1 = &NAME` its value."""
    insns: list[Insn] = []
    for line in text.strip().splitlines():
        left, _, right = line.strip().partition(" = ")
        name = right.lstrip("&")
        if name in maps:
            insns += wide(int(left[1:]), maps[name], "map_value" if right != name else "map_fd")
        else:
            insns += assemble(line, _IDS)
    return encode(insns)


def u32(value: int) -> bytes:
    return struct.pack("=I", value)


def u64(value: int) -> bytes:
    return struct.pack("=Q", value)


@pytest.mark.parametrize("kind", ["HASH", "LRU_HASH"])
def test_a_hash_keeps_what_it_is_given(kind: str) -> None:
    with bpf.map_create(kind, 4, 8, 4096, name="odd name!") as fd:
        map_ = fd.fileno()
        for i in range(1500):
            bpf.map_update(map_, u32(i), u64(i * i))
        assert bpf.map_lookup(map_, u32(7), 8) == u64(49)
        assert bpf.map_lookup(map_, u32(9999), 8) is None
        assert sorted(bpf.map_items(map_, 4, 8)) == sorted((u32(i), u64(i * i)) for i in range(1500))
        assert set(bpf.map_keys(map_, 4)) == {u32(i) for i in range(1500)}
        assert bpf.map_delete(map_, u32(7)) and not bpf.map_delete(map_, u32(7))
        with pytest.raises(KernelError) as refusal:
            bpf.map_update(map_, u32(8), u64(0), consts.BPF_NOEXIST)
        assert refusal.value.name == "EEXIST"
        bpf.map_clear(map_, 4, 8)
        assert bpf.map_items(map_, 4, 8) == []
        info = bpf.map_info(map_)
        assert (info.name, info.key_size, info.max_entries) == ("odd_name_", 4, 4096)


def test_walking_key_by_key_finds_what_batches_find(monkeypatch: pytest.MonkeyPatch) -> None:
    with bpf.map_create("HASH", 8, 4, 100) as fd:
        for i in range(100):
            bpf.map_update(fd.fileno(), u64(i), u32(i))
        batch = bpf.map_items(fd.fileno(), 8, 4)
        monkeypatch.setattr(bpf, "map_batch", lambda *_: None)
        assert sorted(bpf.map_items(fd.fileno(), 8, 4)) == sorted(batch) and len(batch) == 100


def test_a_bucket_larger_than_the_batch_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with bpf.map_create("HASH", 4, 65536, 4) as fd:
        for i in range(4):
            bpf.map_update(fd.fileno(), u32(i), bytes([i]) * 65536)
        assert len(bpf.map_items(fd.fileno(), 4, 65536)) == 4


@pytest.mark.parametrize("kind", ["PERCPU_HASH", "PERCPU_ARRAY"])
def test_per_cpu_values_have_one_part_for_each_cpu(kind: str) -> None:
    size = bpf.percpu_size(5)
    assert size == 8 * len(bpf.possible_cpus())
    parts = b"".join(bytes([cpu + 1] * 5 + [0] * 3) for cpu in range(len(bpf.possible_cpus())))
    with bpf.map_create(kind, 4, 5, 2) as fd:
        bpf.map_update(fd.fileno(), u32(1), parts)
        assert bpf.map_lookup(fd.fileno(), u32(1), size) == parts
        assert (u32(1), parts) in bpf.map_items(fd.fileno(), 4, size)


def test_a_frozen_map_refuses_writes() -> None:
    with bpf.map_create("ARRAY", 4, 4, 1) as fd:
        bpf.map_freeze(fd.fileno())
        with pytest.raises(KernelError, match="EPERM"):
            bpf.map_update(fd.fileno(), u32(0), u32(1))


def test_a_program_runs_on_a_packet_and_tells_about_itself() -> None:
    code = asm("r0 = *(u32 *)(r1 +0)\nexit")
    with bpf.prog_load("SOCKET_FILTER", code, name="length") as fd:
        run = bpf.prog_test_run(fd.fileno(), bytes(100), repeat=3)
        assert (run.retval, run.data) == (86, bytes(100))  # the Ethernet header is taken off
        info = objects.prog_info(fd.fileno(), xlated=True)
        assert (info.type, info.name, info.verified_insns) == (1, "length", 2)
        assert len(info.xlated) == info.xlated_len >= 16
        assert info.id in objects.ids("prog")
        with objects.fd_by_id("prog", info.id) as again:
            assert objects.prog_info(again.fileno()).tag == info.tag


def test_a_refused_program_brings_the_log() -> None:
    with pytest.raises(KernelError) as refusal:
        bpf.prog_load("SOCKET_FILTER", asm("r0 = r5\nexit"))
    assert refusal.value.name == "EACCES" and "R5 !read_ok" in refusal.value.log


def test_a_long_log_fits_at_last() -> None:
    logs: list[str] = []
    text = "r0 = 0\n" + "r0 += 1\n" * 3000 + "exit"
    bpf.prog_load("SOCKET_FILTER", asm(text), log_level=2, log=logs.append).close()
    assert len(logs[0]) > 1 << 16 and "processed 3002 insns" in logs[0]


def test_a_raw_tracepoint_counts_what_happens() -> None:
    with bpf.map_create("ARRAY", 4, 8, 1) as map_:
        code = asm("r1 = &m\nr2 = 1\nlock *(u64 *)(r1 +0) += r2\nr0 = 0\nexit", m=map_.fileno())
        with objects.enable_stats(), bpf.prog_load("RAW_TRACEPOINT", code) as prog:
            link = links.raw_tracepoint_open("sys_enter", prog.fileno())
            for _ in range(10):
                os.getppid()
            info = link_info(link.fileno())
            link.close()
            assert (info.type, info.prog_id) == (1, objects.prog_info(prog.fileno()).id)
            count = bpf.map_lookup(map_.fileno(), u32(0), 8)
            assert count is not None and int.from_bytes(count, "little") >= 10
            assert objects.prog_info(prog.fileno()).run_cnt >= 10
        with pytest.raises(KernelError, match="no_such_event"):
            links.raw_tracepoint_open("no_such_event", prog.fileno())


# --- buffers ---------------------------------------------------------------------------------

_WRITE = """
r8 = *(u64 *)(r1 +0)
r8 &= 0x1fff
r1 = buffer
r2 = &source
r3 = r8
r4 = 0
call ringbuf_output
exit
"""


@pytest.fixture
def ring() -> Iterator[tuple[int, int, RingBuffer]]:
    """The map a program copies from, the program, and a ring buffer of 16 KiB."""
    with bpf.map_create("RINGBUF", 0, 0, 16384) as buffer, bpf.map_create("ARRAY", 4, 8192, 1) as source:
        code = asm(_WRITE, buffer=buffer.fileno(), source=source.fileno())
        with bpf.prog_load("RAW_TRACEPOINT", code) as prog:
            reader = RingBuffer(buffer.fileno(), 16384)
            yield source.fileno(), prog.fileno(), reader
            reader.close()
            reader.close()


def send(prog: int, size: int) -> int:
    return bpf.prog_test_run(prog, ctx=u64(size)).retval


def test_ring_buffer_records_of_random_sizes_survive_the_wrap(ring: tuple[int, int, RingBuffer]) -> None:
    source, prog, reader = ring
    dice, sent, got = random.Random(7), [], []
    for _ in range(600):
        size = dice.choice((0, 1, 7, 8, 9, 100, 1000, 3000, dice.randrange(8192)))
        value = dice.randbytes(8192)
        bpf.map_update(source, u32(0), value)
        if send(prog, size):
            got += reader.drain()
            assert send(prog, size) == 0
        sent.append(value[:size])
    got += reader.drain()
    assert got == sent and reader.drain() == []


def test_ring_buffer_skips_discarded_records_and_stops_at_reserved_ones() -> None:
    text = "r6 = r1\nr1 = b\nr2 = 8\nr3 = 0\ncall ringbuf_reserve\nif r0 == 0 goto +5\nr1 = *(u64 *)(r6 +0)\n"
    text += "*(u64 *)(r0 +0) = r1\nr1 = r0\nr2 = 0\ncall {}\nr0 = 0\nexit"
    with bpf.map_create("RINGBUF", 0, 0, 4096) as buffer:
        progs = [
            bpf.prog_load("RAW_TRACEPOINT", asm(text.format(name), b=buffer.fileno()))
            for name in ("ringbuf_submit", "ringbuf_discard")
        ]
        reader = RingBuffer(buffer.fileno(), 4096)
        for i in range(1000):
            send(progs[i % 2].fileno(), i)
            assert reader.drain() == ([] if i % 2 else [u64(i)])
        reader.close()


def test_waiting_ends_when_a_record_comes(ring: tuple[int, int, RingBuffer]) -> None:
    _, prog, reader = ring
    with select.epoll() as epoll:
        epoll.register(reader.fileno(), select.EPOLLIN)
        assert epoll.poll(0) == []
        send(prog, 4)
        assert epoll.poll(1) == [(reader.fileno(), select.EPOLLIN)]
        reader.drain()
        assert epoll.poll(0) == []


def test_ring_buffer_is_read_fast() -> None:
    text = "r6 = 10000\nr7 = b\n"
    text += (
        "r1 = r7\nr2 = r10\nr2 += -40\nr3 = 40\nr4 = 1\ncall ringbuf_output\nr6 += -1\nif r6 != 0 goto -8\n"
    )
    with bpf.map_create("RINGBUF", 0, 0, 1 << 20) as buffer:
        prefix = "".join(f"*(u64 *)(r10 {-at}) = 0\n" for at in (8, 16, 24, 32, 40))
        prog = bpf.prog_load("RAW_TRACEPOINT", asm(prefix + text + "r0 = 0\nexit", b=buffer.fileno()))
        reader = RingBuffer(buffer.fileno(), 1 << 20)
        spent, count = 0.0, 0
        for _ in range(10):
            send(prog.fileno(), 0)
            start = time.process_time()
            count += len(reader.drain())
            spent += time.process_time() - start
        reader.close()
    assert count == 100_000 and spent < 0.5  # 0.05 s


def test_perf_buffer_brings_records_and_counts_lost_ones() -> None:
    text = "r2 = b\nr3 = 0xffffffff ll\nr4 = r10\nr4 += -16\nr5 = 12\ncall perf_event_output\nexit"
    store = "r6 = *(u64 *)(r1 +0)\n*(u64 *)(r10 -16) = r6\n*(u64 *)(r10 -8) = 0\n"
    entries = max(bpf.possible_cpus()) + 1
    with bpf.map_create("PERF_EVENT_ARRAY", 4, 4, entries) as array:
        prog = bpf.prog_load("RAW_TRACEPOINT", asm(store + text, b=array.fileno()))
        buffer = perf.PerfBuffer(array.fileno(), 1, bpf.online_cpus())
        got: list[bytes] = []
        with select.epoll() as epoll:
            for fd in buffer.fds:
                epoll.register(fd, select.EPOLLIN)
            for i in range(1000):
                send(prog.fileno(), i)
                if i % 5 == 4:
                    assert epoll.poll(1)
                    buffer.drain(got.append)
        assert sorted(int.from_bytes(r[:8], "little") for r in got) == list(range(1000))
        assert {len(r) for r in got} == {12} and buffer.lost == 0
        for i in range(1000):
            send(prog.fileno(), i)
        kept = buffer.drain(got.append)
        send(prog.fileno(), 0)
        assert kept + buffer.drain(got.append) - 1 + buffer.lost == 1000 and buffer.lost > 0
        buffer.close()
        buffer.close()


# --- perf events -----------------------------------------------------------------------------


def test_a_program_runs_on_a_software_event() -> None:
    with bpf.map_create("ARRAY", 4, 8, 1) as map_:
        code = asm("r1 = &m\nr2 = 1\nlock *(u64 *)(r1 +0) += r2\nr0 = 0\nexit", m=map_.fileno())
        clock = consts.PERF_COUNT_SW["CPU_CLOCK"]
        with bpf.prog_load("PERF_EVENT", code) as prog:
            event = perf.perf_event_open(consts.PERF_TYPE_SOFTWARE, clock, pid=0, sample_freq=5000)
            with event, links.link_create(prog.fileno(), event.fileno(), "PERF_EVENT", cookie=7):
                perf.enable(event.fileno())
                end = time.process_time() + 0.05
                while time.process_time() < end:
                    pass
                perf.disable(event.fileno())
        count = bpf.map_lookup(map_.fileno(), u32(0), 8)
        assert count is not None and int.from_bytes(count, "little") > 5


def test_an_unknown_event_says_so() -> None:
    with pytest.raises(KernelError, match="does not have that event"):
        perf.perf_event_open(consts.PERF_TYPE_SOFTWARE, 999, pid=0)
    with pytest.raises(KernelError, match="cannot read"):
        perf.pmu_type("no_such_device")


def test_a_tracepoint_can_be_attached_by_its_number() -> None:
    with open(f"{tracefs()}/events/syscalls/sys_enter_getppid/id") as file:
        number = int(file.read())
    with bpf.map_create("ARRAY", 4, 8, 1) as map_:
        code = asm("r1 = &m\nr2 = 1\nlock *(u64 *)(r1 +0) += r2\nr0 = 0\nexit", m=map_.fileno())
        kind = consts.PERF_TYPE_TRACEPOINT
        with (
            bpf.prog_load("TRACEPOINT", code) as prog,
            perf.perf_event_open(kind, number, cpu=0, sample_period=1) as event,
        ):
            perf.ioctl_set_bpf(event.fileno(), prog.fileno())
            perf.enable(event.fileno())
            for _ in range(25):
                os.getppid()
        count = bpf.map_lookup(map_.fileno(), u32(0), 8)
        assert count is not None and int.from_bytes(count, "little") >= 25


def test_events_that_are_let_go_of_hold_nothing_and_attach_again() -> None:
    folders = [f"{tracefs()}/events/syscalls/sys_enter_{name}" for name in ("getppid", "getpgid", "getsid")]
    with bpf.map_create("ARRAY", 4, 8, 1) as map_:
        code = asm("r1 = &m\nr2 = 1\nlock *(u64 *)(r1 +0) += r2\nr0 = 0\nexit", m=map_.fileno())

        def count() -> int:
            return int.from_bytes(bpf.map_lookup(map_.fileno(), u32(0), 8) or b"", "little")

        def calls() -> None:
            for ask in (os.getppid, lambda: os.getpgid(0), lambda: os.getsid(0)):
                ask()

        for _ in range(2):
            with bpf.prog_load("TRACEPOINT", code) as prog:
                number, events = objects.prog_info(prog.fileno()).id, []
                for folder in folders:
                    with open(f"{folder}/id") as file:
                        event = perf.perf_event_open(consts.PERF_TYPE_TRACEPOINT, int(file.read()), cpu=0)
                    events.append((links.link_create(prog.fileno(), event.fileno(), "PERF_EVENT"), event))
                    perf.enable(event.fileno())
                before = count()
                calls()
                assert count() >= before + 3
                for link, _event in events:
                    link.close()
                perf.let_go([event for _, event in events])
            assert [event.fileno() for _, event in events] == [-1] * 3
            before = count()
            calls()
            assert count() == before
            end = time.monotonic() + PATIENCE
            while number in objects.ids("prog") and time.monotonic() < end:
                time.sleep(0.01)
            assert number not in objects.ids("prog")
