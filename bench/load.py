"""Known work for the probes of bench/scripts to see: `load.py KIND COUNT`.

With `--bursts`, that work for every line of standard input; after each, the pace of the CPU (see `pace`) is printed.
"""

import os
import socket
import struct
import sys
import time
from collections.abc import Callable
from contextlib import suppress


def reads(count: int) -> None:
    """read() of sizes from 1 to 512 bytes."""
    fd, sizes = os.open("/dev/zero", os.O_RDONLY), [1 << n for n in range(10)]
    for n in range(count):
        os.read(fd, sizes[n % 10])
    os.close(fd)


def opens(count: int) -> None:
    """openat() of a file that is not there, with paths of several lengths."""
    names = ["/nowhere/" + "x" * n for n in (1, 8, 20, 40)]
    for n in range(count):
        with suppress(OSError):
            os.open(names[n % 4], os.O_RDONLY)


def kills(count: int) -> None:
    pid = os.getpid()
    for _ in range(count):
        os.kill(pid, 0)


def writes(count: int) -> None:
    fd = os.open("/dev/null", os.O_WRONLY)
    for n in range(count):
        os.write(fd, b"x" * (n % 64))
    os.close(fd)


def parents(count: int) -> None:
    """getppid(), as fast as one process can."""
    getppid = os.getppid
    for _ in range(count):
        getppid()


def steadily(count: int) -> None:
    """getppid() 100,000 times a second, a thousand at a time."""
    getppid, start = os.getppid, time.monotonic()
    for n in range(count // 1000):
        for _ in range(1000):
            getppid()
        time.sleep(max(0.0, start + (n + 1) * 0.01 - time.monotonic()))


def mixed(count: int) -> None:
    """A little of all that the packaged tools look at: calls, processes, connections, sleep."""
    for n in range(count // 20):
        for kind in (reads, opens, kills, writes, parents):
            kind(4)
        with suppress(OSError):
            os.stat(f"/nowhere/{n}")
        if n % 20 == 0:
            time.sleep(1e-4)
            os.setuid(os.getuid())
        if n % 100 == 0:
            os.waitpid(os.spawnv(os.P_NOWAIT, "/bin/true", ["true"]), 0)
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", 9), 0.1).close()


def stacks(count: int) -> None:
    """bpf_trace_printk() with as many different kernel stacks, at most 10,000: one of 100 calls in one of 100 calls."""
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from pbt.sys import bpf

    with bpf.prog_load("RAW_TRACEPOINT", _calls()) as prog:
        for n in range(count):
            bpf.prog_test_run(prog.fileno(), ctx=struct.pack("=QQ", *divmod(n, 100)))


def _calls() -> bytes:
    """main(a, b) → outer(b) from its a-th place → inner() from its b-th place → bpf_trace_printk("x")."""

    def slot(opcode: int, dst: int = 0, src: int = 0, offset: int = 0, imm: int = 0) -> bytes:
        return struct.pack("=BBhi", opcode, dst | src << 4, offset, imm)

    leave = slot(0xB7) + slot(0x95)  # r0 = 0; exit
    # 100 times: if r != n goto +2; call what stands behind this function; exit
    ways = [
        [slot(0x55, r, 0, 2, n), slot(0x85, 0, 1, 0, 300 - 3 * n), slot(0x95)]
        for r in (2, 1)
        for n in range(100)
    ]
    outer, inner = (b"".join(b"".join(way) for way in half) for half in (ways[:100], ways[100:]))
    begin = slot(0x79, 2, 1, 0) + slot(0x79, 1, 1, 8)  # r2 = context[0]; r1 = context[1]
    say = (
        slot(0x6A, 10, 0, -8, ord("x")) + slot(0xBF, 1, 10) + slot(0x07, 1, 0, 0, -8) + slot(0xB7, 2, 0, 0, 2)
    )
    return begin + outer + leave + inner + leave + say + slot(0x85, imm=6) + leave


def nothing(count: int) -> None:
    """For the pace alone."""


SMALL = 3**4000
LARGE = SMALL * SMALL + 7


def pace() -> int:
    """Nanoseconds that one and the same computation takes now, without a system call: of several, the least.

    Where another thread of the host shares the core it takes a fifth longer, and so do programs in the kernel.
    """
    taken = []
    for _ in range(5):
        start = time.perf_counter_ns()
        divmod(LARGE, SMALL)
        taken.append(time.perf_counter_ns() - start)
    return min(taken)


def bursts(kind: Callable[[int], None], count: int) -> None:
    """As many as lines come. Nobody else has the CPU meanwhile, where that may be asked for."""
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    for _ in sys.stdin:
        before = pace()
        kind(count)
        print(max(before, pace()), flush=True)


def main() -> None:
    known = {f.__name__: f for f in (reads, opens, kills, writes, parents, steadily, mixed, stacks, nothing)}
    kind, count = known[sys.argv[1]], int(sys.argv[2])
    if "--bursts" in sys.argv:
        bursts(kind, count)
        return
    start = time.monotonic()
    kind(count)
    print(time.monotonic() - start)


main()
